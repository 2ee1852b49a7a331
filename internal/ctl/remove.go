package ctl

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

// phrase is what must be typed to remove a cluster.
const phrase = "Yes I am aware"

func (a *app) removeCommand() *cobra.Command {
	var g group
	format := choice{"pretty", formats}
	c := a.command("remove", "[OPTIONS] CLUSTER_NAME", "Remove all that the store holds of a cluster; its databases are not touched.")
	c.Flags().Var(&g, "group", "Citus group.")
	c.Flags().VarP(&format, "format", "f", "Format of the output.")
	dry := a.dryRunFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		w, err := a.begin(cmd, args, &g)
		if err != nil {
			return err
		}
		defer w.close()
		w.table(format.value)
		if *dry {
			return w.dryRemove()
		}
		if err := w.sureToRemove(cmd.Context()); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), loadTimeout)
		defer cancel()
		if err := w.store.RemoveCluster(ctx); err != nil {
			return fmt.Errorf("remove the keys of cluster %s (some may be gone, see `list`): %w", w.scope, err)
		}
		return nil
	}
	return c
}

// sureToRemove has the user type what cannot be typed by accident: without its
// keys a cluster forgets who led and what is dynamic in its configuration, and a
// cluster that runs demotes its primary.
func (w *work) sureToRemove(ctx context.Context) error {
	name, err := w.demand(ctx, "Please confirm the cluster name to remove")
	switch {
	case err != nil:
		return err
	case name != w.scope:
		return refuse("Cluster names specified do not match")
	}
	text, err := w.demand(ctx, fmt.Sprintf("You are about to remove all information in DCS for %s, please type: %q", w.scope, phrase))
	switch {
	case err != nil:
		return err
	case text != phrase:
		return refuse("You did not exactly type %q", phrase)
	case w.view.LeaderName() == "":
		return nil
	}
	leader, err := w.demand(ctx, "This cluster currently is healthy. Please specify the leader name to continue")
	if err == nil && leader != w.view.LeaderName() {
		err = refuse("You did not specify the current leader of the cluster")
	}
	return err
}
