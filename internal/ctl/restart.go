package ctl

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tamada/internal/cluster"
)

// restarter is one run of restart.
type restarter struct {
	*app
	choosing
	one              bool // any one of them
	scheduled, below string
	pending          bool
	timeout          string
}

func (a *app) restartCommand() *cobra.Command {
	r := restarter{app: a}
	c := a.command("restart", "[OPTIONS] CLUSTER_NAME [MEMBER_NAMES]...", "Restart PostgreSQL on members, one after the other, now or at a given time.")
	r.choosing.flags(a, c)
	f := c.Flags()
	f.BoolVar(&r.one, "any", false, "Only one of the members, whichever.")
	f.StringVar(&r.scheduled, "scheduled", "", "When: a time like 2031-02-03T04:05 (in this machine's zone unless it has one), or now.")
	f.StringVar(&r.below, "pg-version", "", "Only where PostgreSQL is older than this, like 16.4.")
	f.BoolVar(&r.pending, "pending", false, "Only where a changed setting waits for a restart.")
	f.StringVar(&r.timeout, "timeout", "", "How long the start may take before others may take over, in seconds.")
	c.RunE = r.run
	return c
}

func (r *restarter) run(cmd *cobra.Command, args []string) error {
	ctx := cmd.Context()
	w, err := r.begin(cmd, args[:1], &r.group)
	if err != nil {
		return err
	}
	defer w.close()
	s := r.selection("restart")
	chosen, err := w.choose(ctx, args[1:], s)
	if err != nil {
		return err
	}
	if !s.force && !cmd.Flags().Changed("scheduled") {
		// The blanks are the reference's.
		if r.scheduled, err = r.ask(ctx, "When should the restart take place (e.g. "+r.inAnHour()+") ", "now"); err != nil {
			return err
		}
	}
	at, err := parseSchedule(r.scheduled, r.Now())
	if err != nil {
		return err
	}
	chosen = r.narrow(chosen, at)
	if r.Program == "tamada" { // the reference's tool keeps the order of the names
		chosen = restartOrder(w.view, chosen)
	}
	if err := r.sure(ctx, w, chosen, s, at); err != nil {
		return err
	}
	if !s.force && !cmd.Flags().Changed("pg-version") {
		if r.below, err = r.ask(ctx, "Restart if the PostgreSQL version is less than provided (e.g. 9.5.2) ", ""); err != nil {
			return err
		}
	}
	body, err := r.request(w, at)
	switch {
	case err != nil:
		return err
	case *r.dry:
		return r.dryRun(ctx, w, chosen, at)
	}
	return w.each(ctx, chosen, "restart", func(m *cluster.Member) error { return r.restart(ctx, w, m, body) })
}

// narrow drops members that need no restart now, and all but one of them if only
// one is wanted. For a later restart nobody knows yet who will need it.
func (r *restarter) narrow(chosen []*cluster.Member, at time.Time) []*cluster.Member {
	if r.pending && at.IsZero() {
		chosen = slices.DeleteFunc(chosen, func(m *cluster.Member) bool { return !m.PendingRestart })
	}
	if r.one && len(chosen) > 1 {
		i := rand.IntN(len(chosen))
		chosen = chosen[i : i+1]
	}
	return chosen
}

func (r *restarter) sure(ctx context.Context, w *work, chosen []*cluster.Member, s selection, at time.Time) error {
	if at.IsZero() || s.force {
		return w.sure(ctx, chosen, s)
	}
	question := fmt.Sprintf("Are you sure you want to schedule restart of members %s at %s?", names(chosen), strings.Replace(isoTime(at), "T", " ", 1))
	if r.pending {
		question = "The nodes needing a restart will be identified at the scheduled time, and might be different from the ones showing pending restart right now. Is this fine?"
	}
	yes, err := r.confirm(ctx, question)
	if err == nil && !yes {
		err = refuse("Aborted scheduled restart")
	}
	return err
}

// request is the body of the request.
func (r *restarter) request(w *work, at time.Time) (*cluster.Object, error) {
	body := &cluster.Object{}
	if r.pending {
		body.Set("restart_pending", true)
	}
	if r.below != "" {
		if _, err := parseVersion(r.below); err != nil {
			return nil, err
		}
		body.Set("postgres_version", r.below)
	}
	if !at.IsZero() {
		if w.settings.Pause {
			return nil, refuse("Can't schedule restart in the paused state")
		}
		body.Set("schedule", isoTime(at))
	}
	if r.timeout != "" {
		body.Set("timeout", r.timeout)
	}
	return body, nil
}

// parseVersion reads 16.4 as 160004 and 9.6.24 as 90624.
func parseVersion(text string) (int, error) {
	var parts []int
	for part := range strings.SplitSeq(text, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return 0, refuse("Invalid PostgreSQL version: %s", text)
		}
		parts = append(parts, n)
	}
	switch {
	case len(parts) == 2 && parts[0] >= 10:
		return parts[0]*10000 + parts[1], nil
	case len(parts) == 3 && parts[0] < 10:
		return parts[0]*10000 + parts[1]*100 + parts[2], nil
	}
	return 0, refuse("Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: %s", text)
}

func (r *restarter) restart(ctx context.Context, w *work, m *cluster.Member, body *cluster.Object) error {
	_, scheduled := body.Get("schedule")
	if r.force && scheduled && m.ScheduledRestart.Len() > 0 {
		got, err := w.members.do(ctx, quick, m, http.MethodDelete, "/restart", nil)
		if err != nil {
			return err
		}
		if got.status != http.StatusOK && got.status != http.StatusNotFound {
			r.printf("Failed: flush scheduled restart for member %s, status code=%d, (%s)\n", m.Name, got.status, got.text())
		}
	}
	got, err := w.members.do(ctx, patient, m, http.MethodPost, "/restart", body)
	if err != nil {
		return err
	}
	switch got.status {
	case http.StatusOK:
		r.printf("Success: restart on member %s\n", m.Name)
	case http.StatusAccepted:
		r.printf("Success: restart scheduled on member %s\n", m.Name)
	case http.StatusConflict:
		r.printf("Failed: another restart is already scheduled on member %s\n", m.Name)
	default:
		r.printf("Failed: restart for member %s, status code=%d, (%s)\n", m.Name, got.status, got.text())
	}
	return nil
}
