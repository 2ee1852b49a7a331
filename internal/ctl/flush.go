package ctl

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/spf13/cobra"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

// flushable are the kinds of scheduled actions.
var flushable = []string{"restart", "switchover"}

func (a *app) flushCommand() *cobra.Command {
	var by choosing
	c := a.command("flush", "[OPTIONS] CLUSTER_NAME [MEMBER_NAMES]... {restart|switchover}", "Cancel a scheduled restart or switchover.")
	by.flags(a, c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		what := args[len(args)-1]
		if !slices.Contains(flushable, what) {
			return usage(cmd, "Invalid value for '{restart|switchover}': '%s' is not one of 'restart', 'switchover'.", what)
		}
		w, err := a.begin(cmd, args[:1], &by.group)
		if err != nil {
			return err
		}
		defer w.close()
		if what == "switchover" {
			return w.flushSwitchover(cmd.Context(), *by.dry)
		}
		return w.flushRestarts(cmd.Context(), args[1:len(args)-1], &by)
	}
	return c
}

func (w *work) flushRestarts(ctx context.Context, named []string, by *choosing) error {
	s := by.selection("flush")
	chosen, err := w.choose(ctx, named, s)
	if err != nil {
		return err
	}
	if err := w.sure(ctx, chosen, s); err != nil {
		return err
	}
	return w.each(ctx, chosen, "flush scheduled restart", func(m *cluster.Member) error {
		switch {
		case m.ScheduledRestart.Len() == 0:
			w.print("No scheduled restart for member " + m.Name)
			return nil
		case *by.dry:
			w.would("cancel the restart of %s scheduled at %s", m.Name, scheduledRestart(m))
			return nil
		}
		got, err := w.members.do(ctx, quick, m, http.MethodDelete, "/restart", nil)
		switch {
		case err != nil:
			return err
		case got.status == http.StatusOK:
			w.print("Success: flush scheduled restart for member " + m.Name)
		default:
			w.printf("Failed: flush scheduled restart for member %s, status code=%d, (%s)\n", m.Name, got.status, got.text())
		}
		return nil
	})
}

// flushSwitchover asks one member after the other until one knows, and clears
// the key itself when nobody can be reached.
func (w *work) flushSwitchover(ctx context.Context, dry bool) error {
	f := w.view.Failover
	if f == nil || f.ScheduledAt == "" {
		w.print("No pending scheduled switchover")
		return nil
	}
	if dry {
		w.would("cancel the switchover scheduled at %s", f.ScheduledAt)
		return nil
	}
	for _, m := range reachable(w.view) {
		got, err := w.members.do(ctx, quick, m, http.MethodDelete, "/switchover", nil)
		switch {
		case ctx.Err() != nil:
			return errAborted
		case err != nil:
			w.warn("%v", err)
			w.warn("Member %s is not accessible", m.Name)
		case got.status == http.StatusOK:
			w.print("Success: " + got.text())
			return nil
		case got.status == http.StatusNotFound:
			w.print("Failed: " + got.text())
			return nil
		default:
			w.printf("Failed: member=%s, status_code=%d, (%s)\n", m.Name, got.status, got.text())
		}
	}
	w.print(w.eventTime(), "Could not find any accessible member of cluster "+w.scope)
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	_, err := w.store.Put(ctx, cluster.KeyFailover, (&cluster.Failover{}).JSON(), dcs.IfVersion(f.Version))
	if errors.Is(err, dcs.ErrConflict) {
		return fmt.Errorf("cancel the scheduled switchover: %w meanwhile; look at `list`", err)
	}
	if err != nil {
		return fmt.Errorf("cancel the scheduled switchover: %w", err)
	}
	return nil
}
