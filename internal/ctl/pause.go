package ctl

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tamada/internal/cluster"
)

func (a *app) pauseCommand() *cobra.Command {
	return a.maintenance(&maintenance{app: a, verb: "pause", on: true}, "Switch maintenance mode on: nothing is started, stopped or promoted by itself.")
}

func (a *app) resumeCommand() *cobra.Command {
	return a.maintenance(&maintenance{app: a, verb: "resume"}, "Switch maintenance mode off.")
}

// maintenance is one run of pause or resume.
type maintenance struct {
	*app
	verb  string
	on    bool
	group group
	wait  bool
	dry   *bool
	// silent is a leader whose agent has just not answered.
	silent string
}

func (a *app) maintenance(p *maintenance, short string) *cobra.Command {
	c := a.command(p.verb, "[OPTIONS] [CLUSTER_NAME]", short)
	c.Flags().Var(&p.group, "group", "Citus group.")
	c.Flags().BoolVar(&p.wait, "wait", false, "Wait until every member knows.")
	p.dry = a.dryRunFlag(c)
	c.RunE = p.run
	return c
}

func (p *maintenance) run(cmd *cobra.Command, args []string) error {
	ctx := cmd.Context()
	w, err := p.begin(cmd, args, &p.group)
	if err != nil {
		return err
	}
	defer w.close()
	switch {
	case p.on && w.settings.Pause:
		return refuse("Cluster is already paused")
	case !p.on && !w.settings.Pause:
		return refuse("Cluster is not paused")
	}
	if !p.on {
		p.warnOfDeadLeader(ctx, w)
	}
	if *p.dry {
		return p.dryRun(ctx, w)
	}
	got, err := p.patch(ctx, w)
	switch {
	case err != nil:
		return err
	case got.status != http.StatusOK:
		p.printf("Failed: %s cluster management status code=%d, (%s)\n", p.verb, got.status, got.text())
		return nil
	case p.wait:
		return p.await(ctx, w)
	}
	p.succeeded()
	return nil
}

func (p *maintenance) succeeded() {
	p.printf("Success: cluster management is %s\n", map[bool]string{true: "paused", false: "resumed"}[p.on])
}

func (p *maintenance) body() *cluster.Object {
	if p.on {
		return cluster.NewObject("pause", true)
	}
	return cluster.NewObject("pause", nil)
}

// patch sends the change to one member after the other, the leader first (last,
// if it is known to be silent: a frozen agent costs the whole time limit), until
// one answers.
func (p *maintenance) patch(ctx context.Context, w *work) (*answer, error) {
	order := reachable(w.view)
	if len(order) > 1 && order[0].Name == p.silent {
		order = append(order[1:], order[0])
	}
	for _, m := range order {
		got, err := w.members.do(ctx, quick, m, http.MethodPatch, "/config", p.body())
		if err == nil {
			return got, nil
		}
		if ctx.Err() != nil {
			return nil, errAborted
		}
		p.warn("%v", err)
		p.warn("Member %s is not accessible", m.Name)
	}
	return nil, refuse("Can not find accessible cluster member")
}

// warnOfDeadLeader speaks up before maintenance mode ends without the leader's
// agent. In maintenance mode PostgreSQL runs on when its agent dies, and nobody
// takes its place; once it is over another member is promoted when the key has
// expired, while the old primary still accepts writes and nobody fences it.
func (p *maintenance) warnOfDeadLeader(ctx context.Context, w *work) {
	const advice = "If its PostgreSQL still runs, it goes on accepting writes that will be lost: start the agent there, or stop that PostgreSQL, before another member is promoted"
	switch leader := w.view.LeaderMember(); {
	case leader == nil && w.view.LeaderName() == "":
		last := "The last leader"
		if h := w.view.History; h != nil && len(h.Lines) > 0 && h.Lines[len(h.Lines)-1].Leader != "" {
			last = "The last leader, by the history " + h.Lines[len(h.Lines)-1].Leader + ","
		}
		p.warn("Nobody holds the leader key. %s may have lost it because its agent is not running. %s", last, advice)
	case leader == nil:
		p.warn("The leader %s has no member key: its agent does not run or is not well. %s", w.view.LeaderName(), advice)
	default:
		if _, err := w.members.status(ctx, leader); err != nil && ctx.Err() == nil {
			p.silent = leader.Name
			p.warn("The agent of the leader %s does not answer: %v. %s", leader.Name, err, advice)
		}
	}
}

// await waits until every member that has an API publishes the mode, for
// loop_wait and a second. Members that are silent altogether are not waited for
// beyond that and not reported; those that have published something else are.
func (p *maintenance) await(ctx context.Context, w *work) error {
	p.printf("'%s' request sent, waiting until it is recognized by all nodes\n", p.verb)
	before := map[string]string{}
	for _, m := range reachable(w.view) {
		before[m.Name] = string(m.JSON())
	}
	limit, cancel := context.WithTimeout(ctx, w.settings.LoopWait+time.Second)
	defer cancel()
	view := w.view
	for update := range w.store.Watch(limit) {
		if update.Err != nil {
			continue
		}
		view = update.Cluster
		if len(p.different(view, before)) == 0 {
			break
		}
	}
	if ctx.Err() != nil {
		return errAborted
	}
	var slow []string
	for _, m := range p.different(view, before) {
		if before[m.Name] != string(m.JSON()) {
			slow = append(slow, m.Name)
		}
	}
	if len(slow) > 0 {
		p.printf("%s members didn't recognized %s state after %.0f seconds\n", strings.Join(slow, ", "), p.verb, w.settings.LoopWait.Seconds())
		return nil
	}
	p.succeeded()
	return nil
}

// different are the members that were there at the beginning and do not publish
// the mode.
func (p *maintenance) different(c *cluster.Cluster, before map[string]string) []*cluster.Member {
	var list []*cluster.Member
	for name := range before {
		if m := c.Member(name); m != nil && m.Pause != p.on {
			list = append(list, m)
		}
	}
	return sorted(list)
}
