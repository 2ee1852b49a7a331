package ctl

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

// mover is one run of switchover (planned, away from a leader that is well) or
// failover (to one member, also without a leader).
type mover struct {
	*app
	action            string // switchover or failover
	group             group
	leader, candidate string
	scheduled         string
	force             bool
	dry               *bool
}

func (a *app) switchoverCommand() *cobra.Command {
	m := mover{app: a, action: "switchover"}
	c := a.command("switchover", "[OPTIONS] [CLUSTER_NAME]", "Hand the primary's role to a replica, now or at a given time.")
	m.flags(c)
	f := c.Flags()
	f.StringVar(&m.leader, "leader", "", "The present leader, to make sure that it is the one you mean.")
	f.StringVar(&m.leader, "primary", "", "The same as --leader.")
	f.StringVar(&m.scheduled, "scheduled", "", "When: a time like 2031-02-03T04:05 (in this machine's zone unless it has one), or now.")
	return c
}

func (a *app) failoverCommand() *cobra.Command {
	m := mover{app: a, action: "failover"}
	c := a.command("failover", "[OPTIONS] [CLUSTER_NAME]", "Make one member the leader, even when there is none or when it lags.")
	m.flags(c)
	return c
}

func (m *mover) flags(c *cobra.Command) {
	f := c.Flags()
	f.Var(&m.group, "group", "Citus group.")
	f.StringVar(&m.candidate, "candidate", "", "The member that shall lead.")
	f.BoolVar(&m.force, "force", false, "Ask nothing.")
	m.dry = m.dryRunFlag(c)
	c.RunE = m.run
}

func (m *mover) run(cmd *cobra.Command, args []string) error {
	ctx := cmd.Context()
	w, err := m.begin(cmd, args, &m.group)
	if err != nil {
		return err
	}
	defer w.close()
	m.print("Current cluster topology")
	w.table("pretty")
	quiet := m.force || *m.dry
	if m.action == "switchover" {
		if err := m.chooseLeader(ctx, w, quiet); err != nil {
			return err
		}
	}
	if err := m.chooseCandidate(ctx, w, quiet, cmd.Flags().Changed("candidate")); err != nil {
		return err
	}
	at, err := m.chooseTime(ctx, w, quiet, cmd)
	if err != nil {
		return err
	}
	body := m.request(at, cmd.Flags().Changed("candidate") || !quiet)
	if *m.dry {
		return m.dryRun(ctx, w, at, body)
	}
	if err := m.sure(ctx, w, at); err != nil {
		return err
	}
	return m.carryOut(ctx, w, body)
}

// chooseLeader checks or asks who leads; the leader key tells, not the roles.
func (m *mover) chooseLeader(ctx context.Context, w *work, quiet bool) error {
	leader := w.view.LeaderName()
	switch {
	case leader == "":
		return refuse("This cluster has no leader")
	case m.leader == "" && quiet:
		m.leader = leader
	case m.leader == "":
		text := "Primary"
		if w.settings.StandbyCluster != nil {
			text = "Standby Leader"
		}
		var err error
		if m.leader, err = m.ask(ctx, text, leader); err != nil {
			return err
		}
	}
	if m.leader != leader {
		return refuse("Member %s is not the leader of cluster %s", m.leader, w.scope)
	}
	return nil
}

func (m *mover) chooseCandidate(ctx context.Context, w *work, quiet, given bool) error {
	var candidates []string
	for _, x := range w.view.Members {
		if x.Name != w.view.LeaderName() && !cluster.NoFailover(x.Tags) {
			candidates = append(candidates, x.Name)
		}
	}
	if len(candidates) == 0 {
		return refuse("No candidates found to %s to", m.action)
	}
	if !given && !quiet {
		var err error
		if m.candidate, err = m.ask(ctx, "Candidate "+cluster.Text(anys(candidates)), ""); err != nil {
			return err
		}
	}
	switch {
	case m.candidate == "" && m.action == "failover":
		return refuse("Failover could be performed only to a specific candidate")
	case m.candidate == "":
		return nil
	case m.candidate == w.view.LeaderName():
		return refuse("Member %s is already the leader of cluster %s", m.candidate, w.scope)
	case !slices.Contains(candidates, m.candidate):
		return refuse("Member %s does not exist in cluster %s or is tagged as nofailover", m.candidate, w.scope)
	}
	if m.action == "failover" && m.asynchronous(w) && !quiet {
		yes, err := m.confirm(ctx, fmt.Sprintf("Are you sure you want to failover to the asynchronous node %s?", m.candidate))
		if err == nil && !yes {
			err = refuse("Aborting failover")
		}
		return err
	}
	return nil
}

func anys(words []string) []any {
	list := make([]any, len(words))
	for i, s := range words {
		list[i] = s
	}
	return list
}

// asynchronous tells whether commits that were acknowledged may be missing at
// the candidate although the cluster replicates synchronously.
func (m *mover) asynchronous(w *work) bool {
	return w.settings.SynchronousMode != cluster.SyncOff && w.view.Sync.Active() && !w.view.Sync.Matches(m.candidate, true)
}

// chooseTime is when it shall happen, the zero time for now.
func (m *mover) chooseTime(ctx context.Context, w *work, quiet bool, cmd *cobra.Command) (time.Time, error) {
	if m.action == "failover" {
		return time.Time{}, nil
	}
	if !quiet && !cmd.Flags().Changed("scheduled") {
		var err error
		// The blanks are the reference's.
		if m.scheduled, err = m.ask(ctx, "When should the switchover take place (e.g. "+m.inAnHour()+" ) ", "now"); err != nil {
			return time.Time{}, err
		}
	}
	at, err := parseSchedule(m.scheduled, m.Now())
	if err == nil && !at.IsZero() && w.settings.Pause {
		err = refuse("Can't schedule switchover in the paused state")
	}
	return at, err
}

// request is the body of the request. An empty answer to the prompt is sent as
// it is, no candidate at all as null; both mean any.
func (m *mover) request(at time.Time, named bool) *cluster.Object {
	body := cluster.NewObject("candidate", nil)
	if named {
		body.Set("candidate", m.candidate)
	}
	if m.action == "switchover" {
		body.Set("leader", m.leader)
	}
	if !at.IsZero() {
		body.Set("scheduled_at", isoTime(at))
	}
	return body
}

func (m *mover) sure(ctx context.Context, w *work, at time.Time) error {
	if m.force {
		return nil
	}
	demoting := ""
	if leader := w.view.LeaderName(); leader != "" {
		demoting = ", demoting current leader " + leader
	}
	question := fmt.Sprintf("Are you sure you want to %s cluster %s%s?", m.action, w.scope, demoting)
	no := "Aborting " + m.action
	if !at.IsZero() {
		question = fmt.Sprintf("Are you sure you want to schedule switchover of cluster %s at %s%s?", w.scope, isoTime(at), demoting)
		no = "Aborting scheduled switchover"
	}
	yes, err := m.confirm(ctx, question)
	if err == nil && !yes {
		err = refusal(no)
	}
	return err
}

// carryOut sends the request to the leader, or to the candidate when nobody
// leads.
func (m *mover) carryOut(ctx context.Context, w *work, body *cluster.Object) error {
	got, err := m.post(ctx, w, body)
	title := strings.ToUpper(m.action[:1]) + m.action[1:]
	switch {
	case ctx.Err() != nil:
		return errAborted
	case errors.Is(err, context.DeadlineExceeded):
		// The member took the request and is silent. It may still carry it out, or
		// have done so: writing the key now could move the leader a second time.
		return fmt.Errorf("%s result unknown, details: no answer in %s; the request may still be carried out, look at `list`", title, m.limit(w))
	case err != nil:
		return m.throughStore(ctx, w, body, err)
	case got.status == http.StatusOK || got.status == http.StatusAccepted:
		m.print(m.eventTime(), got.text())
		if err := w.look(ctx); err != nil {
			return err
		}
		w.table("pretty")
		return nil
	}
	outcome := "failed"
	if strings.Contains(strings.ToLower(got.text()), "status unknown") {
		outcome = "result unknown"
	}
	m.printf("%s %s, details: %d, %s\n", title, outcome, got.status, got.text())
	return nil
}

// receiver is the member that the request is sent to, nil when it has no key.
func (m *mover) receiver(w *work) *cluster.Member {
	if w.view.LeaderName() != "" {
		return w.view.LeaderMember()
	}
	return w.view.Member(m.candidate)
}

// limit is how long the member may take: it polls for twice max(10 s,
// loop_wait), and each look at the store may last retry_timeout.
func (m *mover) limit(w *work) time.Duration {
	return 2*max(10*time.Second, w.settings.LoopWait) + 2*w.settings.RetryTimeout + quick
}

func (m *mover) post(ctx context.Context, w *work, body *cluster.Object) (*answer, error) {
	to := m.receiver(w)
	if to == nil {
		return nil, fmt.Errorf("the leader %s has no member key, so its API is not known", w.view.LeaderName())
	}
	got, err := w.members.do(ctx, m.limit(w), to, http.MethodPost, "/"+m.action, body)
	if err == nil && got.status == http.StatusNotImplemented && strings.Contains(got.text(), "Server does not support this operation") {
		return w.members.do(ctx, m.limit(w), to, http.MethodPost, "/failover", body) // agents before switchover had its own
	}
	return got, err
}

// throughStore writes the request into the store, for agents whose API cannot be
// reached from here. It is written only if nobody has asked for anything since
// the table was printed: if the answer alone was lost, the member has written
// the key, and a second request would come on top of the first.
func (m *mover) throughStore(ctx context.Context, w *work, body *cluster.Object, cause error) error {
	m.warn("%v", cause)
	m.print(m.eventTime(), fmt.Sprintf("Could not %s using Patroni api, falling back to DCS", m.action))
	// A failover must not name a leader: it would be a switchover.
	f := cluster.Failover{Candidate: m.candidate, Leader: m.leader}
	f.ScheduledAt, _ = body.String("scheduled_at")
	var seen cluster.Version
	if w.view.Failover != nil {
		seen = w.view.Failover.Version
	}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	_, err := w.store.Put(ctx, cluster.KeyFailover, f.JSON(), dcs.IfVersion(seen))
	switch {
	case errors.Is(err, dcs.ErrConflict):
		return fmt.Errorf("write the %s request: %w; look at `list`, and try again if nothing has happened", m.action, err)
	case err != nil:
		return fmt.Errorf("write the %s request (it may have been written all the same, look at `list`): %w", m.action, err)
	}
	w.table("pretty")
	return nil
}
