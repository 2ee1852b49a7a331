package ctl

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"tamada/internal/dcs"
)

// watching are the flags of commands that can repeat themselves.
type watching struct {
	every float // seconds
	two   bool  // -W: every two seconds
}

func (w *watching) flags(c *cobra.Command) {
	c.Flags().BoolVarP(&w.two, "W", "W", false, "Repeat every 2 seconds.")
	c.Flags().VarP(&w.every, "watch", "w", "Repeat every so many seconds.")
}

func (w *watching) interval() time.Duration {
	switch {
	case w.every > 0:
		return time.Duration(float64(w.every) * float64(time.Second))
	case w.two:
		return 2 * time.Second
	}
	return 0
}

func (a *app) listCommand() *cobra.Command {
	l := lister{app: a, format: choice{"pretty", formats}}
	c := a.command("list", "[OPTIONS] [CLUSTER_NAMES]...", "List the members of clusters.")
	f := c.Flags()
	f.Var(&l.group, "group", "Citus group.")
	f.BoolVarP(&l.extended, "extended", "e", false, "Show all columns.")
	f.BoolVarP(&l.timestamp, "timestamp", "t", false, "Print the time first.")
	f.VarP(&l.format, "format", "f", "Format of the output.")
	l.watch.flags(c)
	c.RunE = l.run
	return c
}

func (a *app) topologyCommand() *cobra.Command {
	l := lister{app: a, format: choice{formatTopology, nil}}
	c := a.command("topology", "[OPTIONS] [CLUSTER_NAMES]...", "Show which member replicates from which.")
	c.Flags().Var(&l.group, "group", "Citus group.")
	l.watch.flags(c)
	c.RunE = l.run
	return c
}

// lister is list and topology.
type lister struct {
	*app
	group               group
	extended, timestamp bool
	format              choice
	watch               watching
}

func (l *lister) run(cmd *cobra.Command, scopes []string) error {
	if err := l.load(cmd); err != nil {
		return err
	}
	if err := l.group.refuse(); err != nil {
		return err
	}
	if len(scopes) == 0 && l.cfg.Scope != "" {
		scopes = []string{l.cfg.Scope}
	}
	if len(scopes) == 0 {
		l.warn("Listing members: No cluster names were provided")
		return nil
	}
	// One store for each cluster, however often it is read.
	stores := make([]dcs.Store, len(scopes))
	for i, scope := range scopes {
		store, err := l.open(scope)
		if err != nil {
			return err
		}
		defer store.Close()
		stores[i] = store
	}
	return l.watch.repeat(cmd.Context(), l.clear, func() error {
		if l.timestamp {
			l.print(l.Now().Format("2006-01-02 15:04:05"))
		}
		for i, scope := range scopes {
			c, err := l.read(cmd.Context(), stores[i], scope)
			if err != nil {
				return err
			}
			printMembers(l.Stdout, c, scope, l.format.value, l.extended, l.colours())
		}
		return nil
	})
}

// clear empties the screen.
func (a *app) clear() {
	if a.Terminal {
		a.printf("\033[2J\033[1;1H")
	}
}

// repeat does something once, or again and again at the interval asked for,
// from start to start; before is called before each time of many.
func (w *watching) repeat(ctx context.Context, before func(), do func() error) error {
	every := w.interval()
	if every == 0 {
		return do()
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		before()
		if err := do(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return errAborted
		case <-tick.C:
		}
	}
}
