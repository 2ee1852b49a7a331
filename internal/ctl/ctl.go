package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/dcs"
)

// loadTimeout is how long a command waits for the store.
const loadTimeout = 10 * time.Second

// Deps is what the commands need from outside.
type Deps struct {
	Program        string // tamada or patronictl: the name in usage lines
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Terminal       bool // Stdout is a terminal
	// Hide stops a terminal on Stdin from showing what is typed and returns what
	// undoes that; nil when Stdin is no terminal.
	Hide    func() (restore func(), err error)
	Environ []string
	Now     func() time.Time
	// Open makes the store that a configuration names, for its Scope.
	Open func(*config.Config) (dcs.Store, error)

	// tick is the time between two looks of a command that waits for something; 0
	// is what the reference takes. Tests shorten it.
	tick time.Duration
}

// Root is the tree of commands.
func Root(deps Deps) *cobra.Command {
	a := &app{Deps: deps}
	root := a.command("", "[OPTIONS] COMMAND [ARGS]...", "Command line for a PostgreSQL cluster.")
	root.Use = deps.Program
	root.Args = cobra.ArbitraryArgs // RunE has its own words for them
	root.TraverseChildren = true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true})
	root.SetHelpFunc(printHelp)
	root.SetIn(deps.Stdin)
	root.SetOut(deps.Stdout)
	root.SetErr(deps.Stderr)
	f := root.Flags()
	f.SetInterspersed(false)
	f.StringVarP(&a.file, "config-file", "c", a.env("PATRONICTL_CONFIG_FILE"), "Configuration file or folder.")
	f.StringVarP(&a.url, "dcs-url", "d", a.env("DCS_URL"), "Store to use instead of the configured one.")
	f.BoolVarP(&a.insecure, "insecure", "k", false, "Do not verify server certificates.")
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "dcs" {
			name = "dcs-url"
		}
		return pflag.NormalizedName(name)
	})
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage(cmd, "No such command '%s'.", args[0])
		}
		return usage(cmd, "Missing command.")
	}
	root.AddCommand(a.listCommand(), a.topologyCommand(), a.historyCommand(), a.versionCommand(), a.dsnCommand(), a.queryCommand(),
		a.switchoverCommand(), a.failoverCommand(), a.restartCommand(), a.reinitCommand(), a.reloadCommand(), a.flushCommand(),
		a.pauseCommand(), a.resumeCommand(), a.showConfigCommand(), a.editConfigCommand(), a.removeCommand(),
		a.demoteClusterCommand(), a.promoteClusterCommand())
	if a.ours() {
		root.AddCommand(a.completionCommand(), a.whyCommand())
	}
	a.addExamples(root)
	a.addCompletions(root)
	return root
}

// Execute runs a tree of commands with arguments (without the program's name)
// and returns the exit code.
func Execute(ctx context.Context, root *cobra.Command, args []string) int {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if c := helpBefore(root, args); c != nil {
		_ = c.Help()
		return 0
	}
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	stderr := root.ErrOrStderr()
	// A command that the caller added (one that runs a node) has its own way with
	// signals, and its error is worth more than that there was one.
	interrupted := ctx.Err() != nil && cmd.Annotations[annotationArgs] != ""
	var u *usageError
	switch err = flagProblem(cmd, err); {
	case err == nil:
		return 0
	case errors.As(err, &u):
		fmt.Fprintf(stderr, "Usage: %s\nTry '%s --help' for help.\n\nError: %s\n", usageLine(u.cmd), u.cmd.CommandPath(), u.text)
		return 2
	case errors.Is(err, errAborted), interrupted:
		fmt.Fprintln(stderr, "Aborted!")
	default:
		fmt.Fprintln(stderr, "Error:", err)
	}
	return 1
}

// helpBefore is the command whose --help stands before the name of another one,
// as in "--help pause"; nil if there is none. The library would read the option
// and carry the other command out.
func helpBefore(root *cobra.Command, args []string) (asked *cobra.Command) {
	cmd, _, err := root.Traverse(args)
	if err != nil {
		return nil // told when it is executed
	}
	for c := cmd.Parent(); c != nil; c = c.Parent() {
		if help, err := c.Flags().GetBool("help"); err == nil && help {
			asked = c
		}
	}
	return asked
}

// errAborted is the end of the input, or an interrupt, at a prompt.
var errAborted = errors.New("aborted")

// ours tells whether the program runs by its own name: what the reference's tool
// does not have is there only then.
func (a *app) ours() bool { return a.Program != "patronictl" }

// app is the state of one run.
type app struct {
	Deps
	file, url string
	insecure  bool
	cfg       *config.Config
}

func (a *app) env(name string) string {
	for _, e := range a.Environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

func (a *app) print(args ...any) { fmt.Fprintln(a.Stdout, args...) }

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.Stdout, format, args...) }

// warn logs a warning unless the level in the environment is higher.
func (a *app) warn(format string, args ...any) {
	level := "WARNING"
	for _, name := range []string{"LOGLEVEL", "PATRONI_LOGLEVEL", "PATRONI_LOG_LEVEL"} {
		if v := a.env(name); v != "" {
			level = strings.ToUpper(v)
		}
	}
	switch level {
	case "ERROR", "FATAL", "CRITICAL":
		return
	}
	now := a.Now()
	fmt.Fprintf(a.Stderr, "%s,%03d - WARNING - %s\n", now.Format("2006-01-02 15:04:05"), now.Nanosecond()/1e6, fmt.Sprintf(format, args...))
}

// load reads the configuration, once.
func (a *app) load(cmd *cobra.Command) error {
	if a.cfg != nil {
		return nil
	}
	path, err := a.configPath()
	if err != nil {
		return err
	}
	var store *config.StoreURL
	if flag := cmd.Root().Flags().Lookup("dcs-url"); a.url != "" || flag.Changed {
		if store, err = a.storeURL(); err != nil {
			return err
		}
	}
	if a.cfg, err = config.LoadClient(path, a.Environ, store); err != nil {
		return err
	}
	for _, w := range a.cfg.Warnings {
		a.warn("%s", w)
	}
	a.cfg.Ctl.Insecure = a.cfg.Ctl.Insecure || a.insecure
	return nil
}

// storeURL reads --dcs-url. A URL without a scheme whose port does not tell the
// kind of store means etcd's old API to the reference's tool, and its present one
// to us (docs/decisions.md).
func (a *app) storeURL() (*config.StoreURL, error) {
	u, err := config.ParseStoreURL(a.url)
	if err == nil && a.ours() && u.Section == "etcd" && !strings.Contains(a.url, "://") {
		u.Section = "etcd3"
	}
	return u, err
}

// configPath is the file to read, "" when there is none. Only the default one
// may be missing.
func (a *app) configPath() (string, error) {
	path, fallback := a.file, false
	if path == "" {
		dir := a.env("XDG_CONFIG_HOME")
		if dir == "" {
			dir = filepath.Join(a.env("HOME"), ".config")
		}
		path, fallback = filepath.Join(dir, "patroni", "patronictl.yaml"), true
	}
	f, err := os.Open(path)
	if err == nil {
		f.Close()
		return path, nil
	}
	if fallback {
		return "", nil
	}
	return "", refuse("Provided config file %s not existing or no read rights. Check the -c/--config-file parameter", path)
}

// open makes the store of one cluster; the caller closes it.
func (a *app) open(scope string) (dcs.Store, error) {
	if a.cfg.Store == "" {
		return nil, refuse("Can not find suitable configuration of distributed configuration store\nAvailable implementations: etcd3")
	}
	cfg := *a.cfg
	cfg.Scope = scope
	store, err := a.Open(&cfg)
	if err != nil {
		return nil, fmt.Errorf("open the store of cluster %s: %w", scope, err)
	}
	return store, nil
}

// read reads a cluster once.
func (a *app) read(ctx context.Context, store dcs.Store, scope string) (*cluster.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	c, err := store.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("read cluster %s from %s: %w (is the store running, and is it where %s says?)", scope, a.cfg.Store, err, a.storeSource())
	}
	return c, nil
}

// storeSource is where the store's address comes from, for hints.
func (a *app) storeSource() string {
	switch {
	case a.url != "":
		return "--dcs-url"
	case a.file != "":
		return a.file
	}
	return "the configuration"
}

// scope is the cluster named by an argument, by default the configured one.
func (a *app) scope(args []string) (string, error) {
	switch {
	case len(args) > 0:
		return args[0], nil
	case a.cfg.Scope != "":
		return a.cfg.Scope, nil
	}
	return "", refuse("No cluster name was provided: give it as an argument, or scope in the configuration")
}

// refusal is an error whose text is the reference's, capital letters included.
type refusal string

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

func (r refusal) Error() string { return string(r) }
