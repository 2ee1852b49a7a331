//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"tamada/internal/config"
	"tamada/internal/guardian"
	"tamada/internal/logging"
	"tamada/internal/node"
	"tamada/internal/postgres/proc"
)

// agentMemory is what the Go runtime of an agent tries to stay below; it is a
// wish, not a limit that stops anything.
const agentMemory = 24 << 20

func runCommand(code *int) *cobra.Command {
	var alone bool
	c := &cobra.Command{
		Use:   "run [FILE]",
		Short: "Run a node: guardian, agent and, if configured, an etcd member.",
		Long: `Runs one node of a cluster in the foreground. FILE is its configuration, a file or
a folder; without one it comes from the environment (PATRONI_… or TAMADA_…).

The started process is the guardian. It starts the agent and enforces its lease:
when the agent cannot renew it, PostgreSQL is killed before anybody else may lead.`,
		Example: "  tamada run /etc/tamada/node.yml\n  tamada run --no-guardian node.yml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var err error
			*code, err = runNode(first(args), alone)
			return err
		},
	}
	c.Flags().BoolVar(&alone, "no-guardian", false, "Run the agent alone, in one process; nothing enforces the lease when it is frozen or killed.")
	return c
}

// agentCommand is what a guardian starts.
func agentCommand(code *int) *cobra.Command {
	return &cobra.Command{Use: "agent [FILE]", Hidden: true, Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if !guardian.Underneath() {
				return errors.New("this command is started by `tamada run` only")
			}
			var err error
			*code, err = runAgent(first(args))
			return err
		}}
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// load reads the configuration and opens the log. guards: this process becomes
// the guardian, whose agent rotates the log.
func load(path string, guards bool) (_ *config.Config, log *logging.Log, err error) {
	cfg, err := config.Load(path, os.Environ())
	if err != nil {
		return nil, nil, err
	}
	opened := logging.Open(cfg.Log, os.Stderr, guards && cfg.Guardian.Mode != "off")
	log = opened
	defer func() {
		if err != nil {
			_ = opened.Close() // a return with an error has set log to nil
		}
	}()
	for _, w := range cfg.Warnings {
		log.Warn(w.String())
	}
	if os.Geteuid() == 0 {
		return nil, nil, errors.New("PostgreSQL refuses to run as root, so tamada must not run as root either: start it as the user that owns the data folder (usually postgres)")
	}
	return cfg, log, nil
}

// makeStateDir makes the state folder, once nothing speaks against it: a node that
// is refused leaves nothing behind. Where there is something in it already this
// node has run, and runs perhaps; then its agent is the one to find faults.
func makeStateDir(cfg *config.Config, log *logging.Log) error {
	if files, err := os.ReadDir(cfg.StateDir); err != nil || len(files) == 0 {
		if err := node.Preflight(cfg, log); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return fmt.Errorf("state folder %s: %w; make it belong to the user that this program runs as, or set state_dir to a folder that does", cfg.StateDir, err)
	}
	if err := os.Chmod(cfg.StateDir, 0o700); err != nil {
		return fmt.Errorf("state folder %s: %w; it must belong to the user that this program runs as", cfg.StateDir, err)
	}
	return nil
}

func runNode(path string, alone bool) (code int, err error) {
	cfg, log, err := load(path, !alone)
	if err != nil {
		return 1, err
	}
	defer func() { code = closeLog(log, code) }()
	if alone && cfg.Guardian.Mode == "required" {
		return 1, errors.New("guardian.mode is required, and --no-guardian runs without one: leave the option out, or set guardian.mode to automatic")
	}
	if err := makeStateDir(cfg, log); err != nil {
		return 1, err
	}
	if alone || cfg.Guardian.Mode == "off" {
		return node.Run(node.Options{ConfigPath: path, Config: cfg, Log: log})
	}
	self, err := os.Executable()
	if err != nil {
		return 1, fmt.Errorf("find this program's own file: %w", err)
	}
	// The guardian does next to nothing: one thread of Go code is enough.
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(25)
	o := guardian.Options{Log: logging.Named(log.Logger, "patroni.guardian"), StateDir: cfg.StateDir, DataDir: cfg.Postgresql.DataDir, Listen: cfg.RestAPI.Listen.String(),
		Agent: command(self, "agent", path)}
	if name := cfg.Postgresql.BinName["postgres"]; name != "" {
		o.Names = []string{name}
	}
	if cfg.Etcd3.Embedded != nil {
		o.Etcd = command(self, "etcd-member", path)
	}
	time.AfterFunc(startIsOver, func() {
		slimDown()
		// What fences is never run before it is needed, which may be when the disk that
		// its program would be read from hangs. A rehearsal brings it back into memory.
		if err := proc.Rehearse(o.DataDir, o.Names...); err != nil {
			o.Log.Warn("the rehearsal of fencing did not reach every process of PostgreSQL: the guardian might not be able to kill it", "error", err)
		}
	})
	return guardian.Run(o)
}

func command(self, verb, path string) []string {
	if path == "" {
		return []string{self, verb}
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return []string{self, verb, path}
}

func runAgent(path string) (code int, err error) {
	cfg, log, err := load(path, false)
	if err != nil {
		return 1, err
	}
	defer func() { code = closeLog(log, code) }()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(75)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(agentMemory)
	}
	runtime.GOMAXPROCS(1)
	time.AfterFunc(startIsOver, slimDown)
	return node.Run(node.Options{ConfigPath: path, Config: cfg, Log: log})
}

// codeLogFull is the exit code of a process that ends without having written its
// log to the end (reference configuration.md 5.6).
const codeLogFull = 5

func closeLog(log *logging.Log, code int) int {
	if err := log.Close(); err != nil && code == 0 {
		return codeLogFull
	}
	return code
}
