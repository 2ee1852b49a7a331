//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/dcs"
	"tamada/internal/dcs/open"
	"tamada/internal/guardian"
	"tamada/internal/logging"
	"tamada/internal/postgres"
	"tamada/internal/rest"
	"tamada/internal/rest/peer"
	"tamada/internal/rest/tlsfile"
	"tamada/internal/watchdog"
)

const (
	farewellTimeout = 2 * time.Second        // for the last member key
	requestsTimeout = 300 * time.Millisecond // for requests in work
)

// Run is the life of an agent, below a guardian or alone. It returns the exit
// code of the process.
func Run(o Options) (int, error) {
	n := &node{path: o.ConfigPath, environ: os.Environ(), logs: o.Log, log: logging.Named(o.Log.Logger, "patroni"), events: make(chan agent.Event, 256),
		looks: make(chan observedNow, 4), fatal: make(chan error, 4), looking: make(chan struct{}, 1), reloads: make(chan struct{}, 1), reading: make(chan struct{}, ledgerReaders)}
	n.decisions = logging.Named(n.log, "patroni.ha")
	n.cfg.Store(o.Config)
	n.manager = guardian.ServiceManager(n.log)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n.ctx = ctx
	signals := notifySignals()
	if err := n.prepare(); err != nil {
		n.bye(agent.Exit{Code: 1, LeavePostgres: true})
		return 1, err
	}
	defer n.store.Close()
	go n.serve(n.listener)
	go n.watchStore()
	n.startEtcdLeaderCare()
	n.startProber()
	n.notify(daemon.SdNotifyReady) // the handlers of signals are in place: an early SIGHUP would have ended us
	exit := n.loop(signals)
	n.farewell(exit)
	cancel()
	return exit.Code, nil
}

// prepare makes everything that the loop needs, and refuses what would fail
// later, before anything is changed.
func (n *node) prepare() error {
	cfg := n.cfg.Load()
	if err := n.connectGuardian(cfg); err != nil {
		return err
	}
	n.agentInfo.Store(&cluster.AgentInfo{Version: cluster.ProgramVersion, Guardian: n.guard != nil})
	n.countCrashes()
	initial, err := initialDynamic(cfg)
	if err != nil {
		n.log.Warn("Exception when loading file: " + err.Error() + "; it is ignored")
	}
	m, err := config.Merge(cfg, initial)
	if err != nil {
		return err
	}
	n.sayCorrected(m.Warnings)
	n.dynamic.Store(initial)
	n.snapshot.Store(&rest.Snapshot{Settings: m.Settings, Failsafe: &cluster.Object{}})
	journal, last, err := OpenJournal(cfg.StateDir)
	if err != nil {
		return err
	}
	n.journal = journal
	n.openLedger(cfg, last)
	n.pg = postgres.New(instanceSettings(cfg, &m.Postgresql), postgres.Deps{Log: logging.Named(n.log, "patroni.postgresql"), StateDir: cfg.StateDir, Journal: journal})
	if err := n.checkInstance(); err != nil {
		return err
	}
	n.dog = watchdog.New(logging.Named(n.log, "patroni.watchdog"), watchdog.Open)
	if n.alarm, err = guardian.NewAlarm(); err != nil {
		return err
	}
	session := ""
	if n.guard != nil && n.guard.Inherited != nil {
		session = n.guard.Inherited.Session
	}
	times := dcs.Times{TTL: m.Settings.TTL, LoopWait: m.Settings.LoopWait, RetryTimeout: m.Settings.RetryTimeout}
	store, err := open.Store(n.ctx, cfg, times, session, logging.Named(n.log, "patroni.dcs"))
	if err != nil {
		return err
	}
	n.meters = newMeters(cfg.Scope, cfg.Name)
	n.meters.watch(n, cfg.Scope, cfg.Name)
	n.store = timedStore{store, n.meters}
	client, err := peer.New(peerOptions(cfg))
	if err != nil {
		return err
	}
	n.peers.Store(client)
	if n.rest, err = rest.New(source{n}, restOptions(cfg, n.meters.registry), logging.Named(n.log, "patroni.api")); err != nil {
		return err
	}
	acfg := agent.Config{Name: cfg.Name, Local: n.localRules(cfg, &m.Postgresql), Identity: n.identity(cfg, ""),
		Initial: initial, Unsupported: n.refused, Guarded: n.guard != nil}
	acfg.Promise = n.promised(cfg.StateDir)
	if last != nil {
		if err := n.cleanUp(last, &acfg); err != nil {
			return err
		}
	}
	n.agent = agent.New(acfg)
	n.inherit()
	return nil
}

// connectGuardian finds out whether a guardian started us. Without one the REST
// API's socket is opened here.
func (n *node) connectGuardian(cfg *config.Config) (err error) {
	if guardian.Underneath() {
		if n.guard, n.listener, err = guardian.Connect(cfg.StateDir); err != nil {
			return err
		}
	}
	n.listener, err = inheritedSocket(n.listener, cfg)
	return err
}

// inherit goes on with the lease of the previous agent, if its deadline has not
// passed.
func (n *node) inherit() {
	if n.guard == nil || n.guard.Inherited == nil || n.guard.Inherited.Deadline <= guardian.Now() {
		return
	}
	a := n.guard.Inherited
	n.log.Info("going on with the lease of the previous agent", "deadline_in", guardian.Until(a.Deadline).Round(time.Millisecond).String())
	n.step(agent.Inherited{Hold: dcs.Hold{Session: a.Session, Created: cluster.Version(a.Created)},
		Lease: agent.InheritedLease(a.Deadline, a.TTL)})
}

// initialDynamic is the dynamic configuration to begin with: the one kept beside
// the data, or that of the section bootstrap. An error is worth a warning only: a
// file that somebody spoiled must not keep a node from starting, the store has
// the same.
func initialDynamic(cfg *config.Config) (*cluster.Object, error) {
	doc, err := config.LoadCache(cfg.Postgresql.DataDir)
	if doc != nil {
		if _, bad := config.Merge(cfg, doc); bad != nil {
			doc, err = nil, bad
		}
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", filepath.Join(cfg.Postgresql.DataDir, config.CacheFile), err)
	}
	if doc == nil && cfg.Bootstrap != nil {
		doc = cfg.Bootstrap.DCS
	}
	if doc == nil {
		doc = &cluster.Object{}
	}
	return doc, err
}

// Preflight refuses what [Run] would refuse before it asks the store, and changes
// nothing: programs, data folder, ports. It is for a node that does not run yet.
func Preflight(cfg *config.Config, log *logging.Log) error {
	initial, _ := initialDynamic(cfg)
	m, err := config.Merge(cfg, initial)
	if err != nil {
		return err
	}
	n := &node{ctx: context.Background(), pg: postgres.New(instanceSettings(cfg, &m.Postgresql), postgres.Deps{Log: logging.Named(log.Logger, "patroni.postgresql")})}
	defer n.pg.Close()
	if err := n.checkInstance(); err != nil {
		return err
	}
	l, err := guardian.Listen(cfg.RestAPI.Listen.String())
	if err != nil {
		return err
	}
	return l.Close()
}

// checkInstance refuses programs and folders that PostgreSQL would refuse later.
func (n *node) checkInstance() error {
	ctx, cancel := context.WithTimeout(n.ctx, 30*time.Second)
	defer cancel()
	if err := n.pg.CheckFolder(); err != nil {
		return err
	}
	if err := n.pg.CheckPort(); err != nil {
		return err
	}
	return n.pg.CheckPrograms(ctx)
}

// cleanUp finishes or removes what a predecessor left half-made. Nothing of it
// was ever the only copy of anything: a clone has its source, and a bootstrap
// that was not published has no users.
func (n *node) cleanUp(last *Record, acfg *agent.Config) error {
	n.log.Warn("the previous agent was interrupted while it changed the data folder; cleaning up", "task", string(last.Task), "child", last.Child)
	last.killLeftover()
	switch interrupted(last.Task) {
	case halfCopied:
		if last.Keeps {
			n.log.Warn("the unfinished copy stays for a method with keep_data, and PostgreSQL is not started in it; if it was made whole by hand, remove the journal and start the agent again", "journal", n.journal.path)
			n.journal.ChildEnded(last.Child) // it was killed above
			return nil                       // the record stays until a copy has succeeded
		}
		if err := n.pg.RemoveData(); err != nil {
			return err
		}
		return n.journal.Clear()
	case halfRewound:
		acfg.Broken = true // the journal stays until a rewind or a new copy has succeeded
		return nil
	case halfInitialized:
		return n.cleanUpBootstrap(last, acfg)
	}
	return n.journal.Clear()
}

// cleanUpBootstrap asks the store how far a bootstrap came: with its system
// identifier published it is a cluster, otherwise it is moved aside and begun
// again.
func (n *node) cleanUpBootstrap(last *Record, acfg *agent.Config) error {
	c := n.loadPatiently()
	if c == nil {
		return errors.New("interrupted while waiting for the store")
	}
	var sysid string
	if head, err := n.pg.ControlHead(); err == nil {
		sysid = fmt.Sprint(head.SystemIdentifier)
	}
	if c.Initialize != nil && sysid != "" && c.Initialize.Value == sysid {
		n.log.Info("the bootstrap had been completed")
		return n.journal.Clear()
	}
	if _, err := n.pg.Stop(n.ctx, postgres.StopOptions{Mode: postgres.StopImmediate, Timeout: killTimeout}); err != nil {
		return err
	}
	if state, _ := n.pg.DataDir(); state == postgres.DirPresent {
		if err := n.pg.MoveAside(); err != nil {
			return err
		}
	}
	acfg.Bootstrapping = last.stillOurs(c.Initialize)
	if i := c.Initialize; i != nil && i.Value == "" && acfg.Bootstrapping == 0 {
		n.log.Info("the initialize key is not known to be the one that this node made; waiting as if it were another's")
	}
	return n.journal.Clear()
}

// stillOurs is the version of the empty initialize key if it is exactly the one
// that the interrupted bootstrap was for, 0 otherwise.
//
// What if we are too careful, and the key is ours? Nobody goes on with it, and after
// the usual wait it is taken over. The other mistake would have this node work beside
// another that took the key over while this machine was down, and in the end delete
// its key or write over it.
func (r *Record) stillOurs(i *cluster.Initialize) cluster.Version {
	if i == nil || i.Value != "" || r.Initialize == 0 || i.Version != r.Initialize {
		return 0
	}
	return i.Version
}

// loadPatiently reads the cluster from the store, however long that takes.
func (n *node) loadPatiently() *cluster.Cluster {
	for {
		ctx, cancel := n.budget()
		c, err := n.store.Load(ctx)
		cancel()
		if err == nil {
			return c
		}
		n.log.Warn("Can not get cluster from dcs", "error", err)
		select {
		case <-time.After(time.Second):
		case <-n.ctx.Done():
			return nil
		}
	}
}

// firstView makes sure, before anything is decided on it, that no other node
// runs under our name.
func (n *node) firstView(c *cluster.Cluster) error {
	if n.nameChecked {
		return nil
	}
	n.nameChecked = true
	cfg := n.cfg.Load()
	m := c.Member(cfg.Name)
	if m == nil || m.APIURL == "" || m.APIURL == cfg.RestAPI.URL() {
		return nil // with our own address it cannot be another: its socket is ours
	}
	if n.peers.Load().Lives(n.ctx, m) {
		n.log.Log(n.ctx, logging.LevelCritical, fmt.Sprintf("Can't start; there is already a node named '%s' running", cfg.Name), "at", m.APIURL)
		return fmt.Errorf("the name %s is taken by the node at %s: give each node a name of its own", cfg.Name, m.APIURL)
	}
	return nil
}

// farewell writes the member key a last time and tells the guardian that this
// end is meant.
func (n *node) farewell(exit agent.Exit) {
	if !exit.LeavePostgres {
		ctx, cancel := context.WithTimeout(n.ctx, farewellTimeout)
		if err := n.store.Touch(ctx, n.agent.Farewell()); err != nil {
			n.log.Debug("could not publish the last state", "error", err)
		}
		cancel()
	}
	ctx, cancel := context.WithTimeout(n.ctx, requestsTimeout)
	_ = n.rest.Shutdown(ctx)
	cancel()
	n.pg.Close()
	n.ledger.Close()
	n.bye(exit)
}

func (n *node) bye(exit agent.Exit) {
	if n.guard == nil {
		return
	}
	var err error
	if n.handover {
		err = n.guard.MakeRoom()
	} else {
		err = n.guard.Bye(exit.Code, exit.LeavePostgres)
	}
	if err != nil {
		n.log.Error("could not say goodbye to the guardian", "error", err)
	}
}

func restOptions(cfg *config.Config, metrics prometheus.Gatherer) rest.Options {
	r := &cfg.RestAPI
	return rest.Options{Name: cfg.Name, Scope: cfg.Scope, Version: cluster.CompatVersion, Username: r.Username, Password: string(r.Password),
		Allowlist: r.Allowlist, AllowlistIncludeMembers: r.AllowlistIncludeMembers, HTTPExtraHeaders: headers(r.ExtraHeaders),
		ServerTokens: r.ServerTokens, TLS: serverTLS(r), Metrics: metrics}
}

func headers(o *cluster.Object) map[string]string {
	m := map[string]string{}
	for k, v := range o.All() {
		m[k] = cluster.Text(v)
	}
	return m
}

func serverTLS(r *config.RestAPI) tlsfile.Server {
	return tlsfile.Server{CertFile: r.CertFile, KeyFile: r.KeyFile, KeyPassword: string(r.KeyFilePassword), CAFile: r.CAFile,
		Ciphers: r.Ciphers, VerifyClient: r.VerifyClient}
}

func peerOptions(cfg *config.Config) peer.Options {
	c := &cfg.Ctl
	return peer.Options{Username: c.Username, Password: string(c.Password), Version: cluster.CompatVersion,
		TLS: tlsfile.Client{CertFile: c.CertFile, KeyFile: c.KeyFile, KeyPassword: string(c.KeyFilePassword), CAFile: c.CACert}}
}
