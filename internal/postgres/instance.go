//go:build linux

package postgres

import (
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/postgres/conf"
	"tamada/internal/postgres/proc"
)

// Supported major versions. One newer is let through with a warning, so that
// a new PostgreSQL can be tried before we support it.
const (
	minVersion       = 130000
	maxVersion       = 180000
	toleratedVersion = 190000
)

// Instance is one PostgreSQL instance. See the package comment for what may
// be called at the same time.
type Instance struct {
	log     *slog.Logger
	dir     string // Deps.StateDir
	journal Journal

	links    map[Purpose]*link // fixed after New
	binaries binaryCache
	callback callbacks

	// files is held while the configuration is computed and written: a reload must
	// not write what it computed before a start wrote for another role.
	files sync.Mutex

	// mu guards what follows. It is never held during a query or a wait.
	mu         sync.Mutex
	settings   Settings
	postmaster *proc.Handle
	syncNames  string
	syncKnown  bool     // syncNames was told or read back
	timeline   struct { // of a standby, by IDENTIFY_SYSTEM
		known   cluster.Timeline
		started uint64 // of the postmaster that said so
	}
	follow        followCache
	recovery      conf.Params // recovery block of the generated file; nil: none
	recoveryKnown bool        // recovery is what we wrote or read back
	unmarked      time.Time   // since when a running standby has no standby.signal
	lifted        []conf.Lifted
	warned        map[string]bool // texts logged since the settings changed
	explained     map[string]bool // parameters whose pending restart was announced
	arguments     []string        // of the next postmaster
	keepRecovery  bool            // custom bootstrap: recovery settings are the script's
	pointInTime   *cluster.Object // custom bootstrap: recovery settings to start with
	bootstrapping bool            // custom bootstrap: trust and no reload until PostBootstrap
}

// New makes the instance. It touches nothing.
func New(s Settings, d Deps) *Instance {
	p := &Instance{log: d.Log, dir: d.StateDir, journal: d.Journal, settings: s}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.links = map[Purpose]*link{Heartbeat: {}, RestAPI: {}}
	return p
}

// SetSettings replaces the settings. What runs is changed by [Instance.Reload]
// or by the next start.
func (p *Instance) SetSettings(s Settings) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settings = s
	p.warned = nil
}

// warnOnce logs texts that were not logged since the settings were set: the
// configuration is computed each time that a standby gets another source.
func (p *Instance) warnOnce(texts []string) {
	p.mu.Lock()
	if p.warned == nil {
		p.warned = map[string]bool{}
	}
	texts = slices.DeleteFunc(texts, func(t string) bool { return p.warned[t] })
	for _, t := range texts {
		p.warned[t] = true
	}
	p.mu.Unlock()
	for _, t := range texts {
		p.log.Warn(t)
	}
}

// Settings are the settings in force; they must not be changed.
func (p *Instance) Settings() Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings
}

// Close gives up the connections; PostgreSQL goes on.
func (p *Instance) Close() {
	for _, l := range p.links {
		l.close()
	}
}

// Postmaster is the running postmaster, or a single-user server, of the data
// folder: [proc.ErrNotRunning] when there is none. The handle stays valid when
// the process ends, and needs no closing.
func (p *Instance) Postmaster() (*proc.Handle, error) {
	p.mu.Lock()
	h, dir, name := p.postmaster, p.settings.DataDir, p.settings.BinName["postgres"]
	p.mu.Unlock()
	if h != nil && h.Alive() {
		return h, nil
	}
	h, _, err := proc.Find(dir, serverNames(name)...)
	if err != nil {
		return nil, err
	}
	p.adopt(h)
	return h, nil
}

// adopt remembers a postmaster and forgets what was known about another one.
func (p *Instance) adopt(h *proc.Handle) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.postmaster != nil && p.postmaster.PID() == h.PID() && p.postmaster.Start() == h.Start() {
		return
	}
	p.postmaster = h
	p.timeline.known = 0
	p.follow = followCache{}
	p.explained = nil
}

// serverNames are the further names of the server program, for package proc.
func serverNames(binName string) []string {
	if binName == "" {
		return nil
	}
	return []string{binName}
}

// environment is what programs that we start get: ours without what only
// concerns us. Secrets of our configuration may stand in our variables, and a
// server that knows NOTIFY_SOCKET would speak to the service manager in our
// name.
func environment(add ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case name == "NOTIFY_SOCKET", name == "WATCHDOG_PID", name == "WATCHDOG_USEC",
			strings.HasPrefix(name, "LISTEN_"), strings.HasPrefix(name, "PATRONI_"),
			strings.HasPrefix(name, "TAMADA_"), strings.HasPrefix(name, "KUBERNETES_"):
		default:
			env = append(env, kv)
		}
	}
	return append(env, add...)
}
