package ctl

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tamada/internal/cluster"
)

// reiniter is one run of reinit.
type reiniter struct {
	*app
	group                   group
	force, fromLeader, wait bool
	dry                     *bool
}

func (a *app) reinitCommand() *cobra.Command {
	r := reiniter{app: a}
	c := a.command("reinit", "[OPTIONS] CLUSTER_NAME [MEMBER_NAMES]...", "Throw a replica's data away and copy it again.")
	f := c.Flags()
	f.Var(&r.group, "group", "Citus group.")
	f.BoolVar(&r.force, "force", false, "Ask nothing, and cancel what the member is doing.")
	f.BoolVar(&r.fromLeader, "from-leader", false, "Copy from the leader and from nobody else.")
	f.BoolVar(&r.wait, "wait", false, "Wait until it is done.")
	r.dry = a.dryRunFlag(c)
	c.RunE = r.run
	return c
}

func (r *reiniter) run(cmd *cobra.Command, args []string) error {
	ctx := cmd.Context()
	w, err := r.begin(cmd, args[:1], &r.group)
	if err != nil {
		return err
	}
	defer w.close()
	s := selection{role: "replica", shown: "replica", action: "reinitialize", force: r.force || *r.dry, prompt: true}
	chosen, err := w.choose(ctx, args[1:], s)
	if err != nil || len(chosen) == 0 {
		return err
	}
	if *r.dry {
		return r.dryRun(ctx, w, chosen)
	}
	if err := w.sure(ctx, chosen, s); err != nil {
		return err
	}
	var waiting []*progress
	err = w.each(ctx, chosen, "reinitialize", func(m *cluster.Member) error {
		p := &progress{member: m}
		if r.wait {
			if doc, err := w.members.status(ctx, m); err == nil {
				p.begin(doc)
			}
		}
		started, err := r.reinit(ctx, w, m)
		if started {
			waiting = append(waiting, p)
		}
		return err
	})
	if r.wait && len(waiting) > 0 {
		return cmp.Or(r.await(ctx, w, waiting), err)
	}
	return err
}

// reinit asks one member, and again with force if it is busy and the user says
// so.
func (r *reiniter) reinit(ctx context.Context, w *work, m *cluster.Member) (started bool, err error) {
	for force := r.force; ; force = true {
		got, err := w.members.do(ctx, quick, m, http.MethodPost, "/reinitialize", cluster.NewObject("force", force, "from_leader", r.fromLeader))
		if err != nil {
			return false, err
		}
		if got.status < http.StatusBadRequest {
			r.print("Success: reinitialize for member " + m.Name)
			return true, nil
		}
		r.printf("Failed: reinitialize for member %s, status code=%d, (%s)\n", m.Name, got.status, got.text())
		if force || !strings.HasSuffix(got.text(), " already in progress") {
			return false, nil
		}
		if yes, err := r.confirm(ctx, "Do you want to cancel it and reinitialize anyway?"); err != nil || !yes {
			return false, err
		}
	}
}

// progress is what is known of one member's reinitialization. Members of other
// versions answer the request before it begins, so that "running" alone proves
// nothing: it is done when PostgreSQL runs and was started since.
type progress struct {
	member *cluster.Member
	state  string // before the request
	start  string // of the postmaster then, "" when there was none
	begun  bool
	silent bool // the last question had no answer, which was told
}

func (p *progress) begin(doc *cluster.Object) {
	p.state, _ = doc.String("state")
	p.start, _ = doc.String("postmaster_start_time")
}

// failures are the states in which a reinitialization ends without success.
var failures = []string{string(cluster.StateStartFailed), string(cluster.StateRestartFailed), string(cluster.StateStopFailed), string(cluster.StateCrashed)}

// look takes in a status document. done means that nothing more is to be
// expected; failed is the state that it ended in then, "" for success.
func (p *progress) look(doc *cluster.Object) (done bool, failed string) {
	state, _ := doc.String("state")
	start, _ := doc.String("postmaster_start_time")
	p.begun = p.begun || state != p.state || start != p.start
	switch {
	case !p.begun:
		return false, ""
	case slices.Contains(failures, state):
		return true, state
	}
	return state == string(cluster.StateRunning), ""
}

func (r *reiniter) await(ctx context.Context, w *work, waiting []*progress) error {
	var failed []string
	tick := time.NewTicker(cmp.Or(r.tick, 2*time.Second))
	defer tick.Stop()
	for told := 0; len(waiting) > 0; {
		if told != len(waiting) {
			r.print("Waiting for reinitialize to complete on: " + waitingFor(waiting))
			told = len(waiting)
		}
		select {
		case <-ctx.Done():
			return errAborted
		case <-tick.C:
		}
		waiting = slices.DeleteFunc(waiting, func(p *progress) bool {
			doc, err := w.members.status(ctx, p.member)
			if err != nil {
				if !p.silent && ctx.Err() == nil {
					r.warn("Member %s does not answer, still waiting: %v", p.member.Name, err)
				}
				p.silent = true
				return false
			}
			p.silent = false
			done, state := p.look(doc)
			switch {
			case done && state == "":
				r.print("Reinitialize is completed on: " + p.member.Name)
			case done:
				r.printf("Failed: reinitialize for member %s ended in state %s\n", p.member.Name, state)
				failed = append(failed, p.member.Name)
			}
			return done
		})
	}
	if len(failed) > 0 {
		return refuse("reinitialize failed on: %s (its log tells why)", strings.Join(failed, ", "))
	}
	return nil
}

func waitingFor(list []*progress) string {
	var members []*cluster.Member
	for _, p := range list {
		members = append(members, p.member)
	}
	return names(members)
}
