//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"tamada/internal/ctl"
	"tamada/internal/demo"
)

func demoCommand() *cobra.Command {
	o := demo.Options{Program: os.Args[0], Out: os.Stdout}
	c := &cobra.Command{
		Use:   "demo",
		Short: "A whole cluster on this machine to play with: crash it, freeze it",
		Long: `Starts a cluster with its own etcd on this machine and shows how it forms. Ctrl-C
stops it and removes its folder. From another terminal nodes are crashed, frozen,
stopped and started again, and each command tells what happens then.

As root everything runs as the user postgres, to whom the folder belongs.`,
		Example: `  tamada demo
  tamada demo --nodes 5 --port 20000 --dir /var/tmp/five --keep
  tamada demo crash n1      # in another terminal
  tamada demo start n1`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.NodesGiven, o.PortGiven = c.Flags().Changed("nodes"), c.Flags().Changed("port")
			return runDemo(o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Dir, "dir", demo.DefaultDir, "Folder of the demo; with a kept cluster in it, that one goes on. Default: "+demo.DefaultDir)
	f.IntVar(&o.Nodes, "nodes", demo.DefaultNodes, fmt.Sprintf("Number of nodes. Default: %d", demo.DefaultNodes))
	f.IntVar(&o.Port, "port", demo.DefaultPort, fmt.Sprintf("First port: PostgreSQL from it on, REST API 100 and etcd 200 above. Default: %d", demo.DefaultPort))
	f.BoolVar(&o.Keep, "keep", false, "Keep the folder at the end.")
	for _, v := range demo.Verbs {
		c.AddCommand(injectCommand(v[0], v[1], &o.Dir))
	}
	return c
}

func injectCommand(verb, means string, dir *string) *cobra.Command {
	var guardian bool
	c := &cobra.Command{
		Use:     verb + " NODE",
		Short:   strings.ToUpper(means[:1]) + means[1:],
		Long:    "In the running demo: " + means + ".\nPrints what happens until the cluster is healthy again, for at most 60 s.",
		Example: "  tamada demo " + verb + " n1",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("name one node, for example: tamada demo %s n1", verb)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return demo.Inject(ctx, *dir, verb, args[0], guardian, c.OutOrStdout())
		},
	}
	// The same variable as of `demo --dir crash`, whose value is the default here.
	c.Flags().Var(folder{dir}, "dir", "Folder of the demo. Default: "+demo.DefaultDir)
	if verb == "freeze" {
		c.Flags().BoolVar(&guardian, "guardian", false, "Freeze the guardian as well; no process of the node can help against that.")
	}
	return c
}

// folder is a flag that leaves its variable alone unless it is given.
type folder struct{ *string }

func (f folder) String() string {
	if f.string == nil {
		return ""
	}
	return *f.string
}
func (f folder) Set(s string) error { *f.string = s; return nil }
func (folder) Type() string         { return "string" }

// runDemo runs the demo until it is interrupted; a second interrupt makes it
// hurry.
func runDemo(o demo.Options) error {
	if terminal(os.Stdout) && os.Getenv("TERM") != "dumb" {
		o.Terminal = os.Stdout
		o.Color = os.Getenv("NO_COLOR") == ""
	}
	o.List = func(ctx context.Context, config string, out io.Writer) error {
		d := ctlDeps("tamada")
		d.Stdout, d.Stderr = out, out
		if code := ctl.Execute(ctx, ctl.Root(d), []string{"-c", config, "list"}); code != 0 {
			return fmt.Errorf("`tamada list` has ended with code %d", code)
		}
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	hurry := make(chan struct{})
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	// Nobody reads any more (`tamada demo | head`): the end, but an orderly one.
	unread := make(chan os.Signal, 1)
	signal.Notify(unread, syscall.SIGPIPE)
	go func() {
		select {
		case <-signals:
		case <-unread:
		}
		cancel()
		<-signals
		close(hurry)
	}()
	return demo.Run(ctx, o, hurry)
}
