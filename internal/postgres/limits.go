//go:build linux

package postgres

import (
	"context"
	"strconv"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/postgres/conf"
)

// limitsTime is how long a restart of a standby waits for the primary's lower
// limits to arrive; they come with the WAL that the primary writes when it
// starts.
const limitsTime = 10 * time.Second

// AwaitLowerLimits waits, before a standby is restarted, until the lower limits
// that its upstream already runs with have been replayed here. Started a moment
// earlier it would have to take the old, higher ones from pg_control once more,
// and wait for a second restart (reference configuration.md 4.9). When the
// upstream still has the higher ones there is nothing to wait for: the standby
// must not be below them.
func (p *Instance) AwaitLowerLimits(ctx context.Context, up *Upstream) {
	if up == nil || up.Host == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, limitsTime)
	defer cancel()
	higher := p.higherThanWanted(ctx)
	if len(higher) == 0 || !p.runsWith(ctx, up, higher) {
		return
	}
	p.log.Info("waiting until the primary's lower limits are replayed here", "parameters", len(higher))
	poll := adaptive{20 * time.Millisecond, 200 * time.Millisecond}
	for len(p.higherThanWanted(ctx)) > 0 {
		if !poll.wait(ctx, nil) {
			p.log.Warn("the primary's lower limits did not arrive in time; this standby will need another restart", "after", limitsTime.String())
			return
		}
	}
}

// higherThanWanted are the limits of pg_control that are above the configured
// ones, with the latter.
func (p *Instance) higherThanWanted(ctx context.Context) map[string]int {
	version, err := p.settingsVersion()
	if err != nil {
		return nil
	}
	s := p.Settings()
	s.overlay(cluster.RoleReplica)
	params, _ := conf.Compute(conf.Input{Version: version, Scope: s.Scope, Parameters: s.Parameters})
	d, err := p.ControlData(ctx)
	if err != nil {
		return nil
	}
	m := map[string]int{}
	for _, l := range conf.Raise(&params, d.Limits) {
		m[l.Name] = l.Configured
	}
	return m
}

// runsWith tells whether a server runs with limits no higher than these. It is
// asked over a replication connection, which every upstream grants us.
func (p *Instance) runsWith(ctx context.Context, up *Upstream, limits map[string]int) bool {
	s := p.Settings()
	c, err := p.connect(ctx, connOptions{replication: true, user: &s.Replication, host: up.Host, port: up.Port})
	if err != nil {
		return false
	}
	defer closeConn(c)
	for name, limit := range limits {
		results, err := c.Exec(ctx, "SHOW "+name).ReadAll()
		if err != nil || len(results) != 1 || len(results[0].Rows) != 1 {
			return false
		}
		if n, err := strconv.Atoi(string(results[0].Rows[0][0])); err != nil || n > limit {
			return false
		}
	}
	return true
}
