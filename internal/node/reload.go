//go:build linux

package node

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/dcs"
	"tamada/internal/postgres"
)

// problems tell why a new configuration is not in force. The one before it is,
// and the member says so in its key, because nobody reads a log before
// something is broken.
type problems struct {
	mu     sync.Mutex // guards the rest
	local  string     // the node's own file
	server string     // what PostgreSQL makes of its files
}

func (p *problems) set(of *string, text string) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed = *of != text
	*of = text
	return changed
}

func (p *problems) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.local != "" && p.server != "" {
		return p.local + "; " + p.server
	}
	return p.local + p.server
}

// brief is the first line of an error, as it fits into the member key.
func brief(err error) string {
	const limit = 300
	first, rest, more := strings.Cut(err.Error(), "\n")
	if len(first) > limit {
		first = first[:limit] + "…"
	}
	if more {
		first += fmt.Sprintf(" (and %d more)", strings.Count(rest, "\n")+1)
	}
	return first
}

// refused tells why a dynamic configuration cannot be put in force on this node.
func (n *node) refused(doc *cluster.Object) []string {
	if list := config.Unsupported(doc); len(list) > 0 {
		return list
	}
	if _, err := config.Merge(n.cfg.Load(), doc); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// applyConfig puts a dynamic configuration in force: for the store at once, for
// PostgreSQL in the background. The document was judged by the agent already.
func (n *node) applyConfig(e agent.ApplyConfig) {
	n.store.SetTimes(dcs.Times{TTL: e.Settings.TTL, LoopWait: e.Settings.LoopWait, RetryTimeout: e.Settings.RetryTimeout})
	n.sayShortage(e.Settings.TTL, e.Settings.LoopWait)
	cfg := n.cfg.Load()
	m, err := config.Merge(cfg, e.Doc)
	if err != nil {
		n.log.Error("Exception when setting dynamic_configuration: " + err.Error())
		return
	}
	n.sayCorrected(m.Warnings)
	for _, w := range m.Postgresql.RoleWarnings() {
		n.log.Warn(w)
	}
	n.pg.SetSettings(instanceSettings(cfg, &m.Postgresql))
	n.dynamic.Store(e.Doc)
	go n.reloadPostgres(e.Doc, n.snapshot.Load().Role, false)
}

// sayCorrected logs which values of the dynamic configuration were replaced by
// defaults, unless that is what was said the last time: the same document is put
// in force again whenever the limits of its times change.
func (n *node) sayCorrected(warnings []string) {
	if slices.Equal(warnings, n.corrected) {
		return
	}
	n.corrected = warnings
	for _, w := range warnings {
		n.log.Warn(w)
	}
}

// reloadPostgres writes the configuration files and lets the server read them;
// then the document is kept beside the data, so that maintenance mode and the
// like survive a restart without the store. force: write and reload although
// nothing differs.
func (n *node) reloadPostgres(doc *cluster.Object, role cluster.Role, force bool) {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	if doc != n.dynamic.Load() {
		return // a newer one is on its way
	}
	if n.foreignData() {
		return // it is about to be refused, and is not ours to write to
	}
	if _, err := n.pg.Postmaster(); err == nil {
		n.reloadServer(role, force)
	}
	dir := n.pg.Settings().DataDir
	if state, _ := n.pg.DataDir(); state != postgres.DirPresent || doc == n.cached {
		return
	}
	if err := config.SaveCache(dir, doc, fileMode(dir)); err != nil {
		n.log.Warn("could not keep the dynamic configuration beside the data", "error", err)
		return
	}
	n.cached = doc
}

// foreignData tells whether the data folder is known to be another cluster's: its
// system identifier is not the one in the store.
func (n *node) foreignData() bool {
	c := n.seen.Load()
	if c == nil || c.Initialize == nil || !cluster.ValidSysid(c.Initialize.Value) {
		return false
	}
	head, err := n.pg.ControlHead()
	return err == nil && fmt.Sprint(head.SystemIdentifier) != c.Initialize.Value
}

func (n *node) reloadServer(role cluster.Role, force bool) {
	reloaded, err := n.pg.Reload(n.ctx, role, force)
	problem := ""
	switch {
	case err != nil:
		n.log.Error("could not put the new configuration of PostgreSQL in force", "error", err)
		problem = brief(err)
	case reloaded:
		if err := n.pg.FileErrors(n.ctx); err != nil {
			n.log.Error("PostgreSQL does not accept its configuration files and goes on with the settings before", "error", err)
			problem = brief(err)
		}
		n.pg.RunCallback("on_reload", role)
	default:
		return
	}
	if n.problems.set(&n.problems.server, problem) {
		n.send(n.localChanged())
	}
}

// roleChanged puts the settings of a new role in force, if there are any.
func (n *node) roleChanged(before, after cluster.Role) {
	if n.pg.RoleMatters(before, after) {
		go n.reloadPostgres(n.dynamic.Load(), after, false)
	}
}

// reload reads the node's own configuration again (SIGHUP, POST /reload). A
// mistake in it leaves the old one in force; PostgreSQL's files are written and
// read again in any case.
func (n *node) reload() {
	n.notifyReloading()
	problem := ""
	if err := n.reloadLocal(); err != nil {
		problem = brief(err)
	}
	n.problems.set(&n.problems.local, problem)
	// Files that the configuration names, such as certificates, are read again in
	// any case (reference configuration.md 1.7).
	go n.reloadRest(n.cfg.Load())
	n.step(n.localChanged())
	role := n.snapshot.Load().Role
	go func() {
		n.reloadPostgres(n.dynamic.Load(), role, true)
		n.notify(daemon.SdNotifyReady)
	}()
}

// reloadLocal puts the node's own configuration in force as far as that can be
// done without a restart of the agent.
func (n *node) reloadLocal() error {
	cfg, later, err := config.Reload(n.cfg.Load(), n.path, n.environ)
	if err != nil {
		n.log.Error("Exception when reloading local configuration from "+n.path+", the old one stays in force", "error", err)
		return err
	}
	if cluster.Equal(cfg.Source, n.cfg.Load().Source) {
		n.log.Info("No local configuration items changed.")
		return nil
	}
	m, err := config.Merge(cfg, n.dynamic.Load())
	if err != nil {
		n.log.Error("Failed to reload config_file="+n.path, "error", err)
		return err
	}
	for _, w := range cfg.Warnings {
		n.log.Warn(w.String())
	}
	for _, key := range later {
		n.log.Warn("a changed value takes effect when the agent is restarted", "key", key)
	}
	n.reloadAPI(cfg)
	n.cfg.Store(cfg)
	n.sayShortage(n.settings().TTL, n.settings().LoopWait)
	n.logs.Reload(cfg.Log)
	n.pg.SetSettings(instanceSettings(cfg, &m.Postgresql))
	return nil
}

// localChanged tells the agent what the node's configuration says by now.
func (n *node) localChanged() agent.LocalChanged {
	cfg := n.cfg.Load()
	p := &cfg.Postgresql
	if m, err := config.Merge(cfg, n.dynamic.Load()); err == nil {
		p = &m.Postgresql
	}
	return agent.LocalChanged{Local: n.localRules(cfg, p), Identity: n.identity(cfg, n.problems.text())}
}
