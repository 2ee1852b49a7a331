//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
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
	c.PersistentFlags().StringVar(&o.Dir, "dir", demo.DefaultDir, "`FOLDER` of the demo; one with a kept cluster is gone on with")
	f := c.Flags()
	f.IntVar(&o.Nodes, "nodes", demo.DefaultNodes, "`NUMBER` of nodes")
	f.IntVar(&o.Port, "port", demo.DefaultPort, "first `PORT`: PostgreSQL from it on, REST API from PORT+100 on, etcd from PORT+200 on")
	f.BoolVar(&o.Keep, "keep", false, "keep the folder at the end")
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
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return demo.Inject(ctx, *dir, verb, args[0], guardian, c.OutOrStdout())
		},
	}
	if verb == "freeze" {
		c.Flags().BoolVar(&guardian, "guardian", false, "freeze the guardian as well: what no process of the node can help against")
	}
	return c
}

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
	if abs, err := filepath.Abs(o.Program); err == nil && strings.ContainsRune(o.Program, '/') {
		if wd, err := os.Getwd(); err == nil {
			if rel, err := filepath.Rel(wd, abs); err == nil && !strings.HasPrefix(rel, "..") {
				o.Program = rel
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	hurry := make(chan struct{})
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		cancel()
		<-signals
		close(hurry)
	}()
	return demo.Run(ctx, o, hurry)
}
