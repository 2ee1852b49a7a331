package ctl

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tamada/internal/cluster"
	"tamada/internal/ha/candidate"
	"tamada/internal/rest/peer"
	"tamada/internal/rest/tlsfile"
)

// dryRunFlag adds --dry-run, which the reference's tool does not have. With it a
// command asks nothing, changes nothing, and says what it would do and whether
// that is allowed: by exit code 1 and an error when it is not. The checks are
// those of the command and, as far as they can be made from here, those of the
// agents; an agent judges again, with newer facts, when it is asked for real.
func (a *app) dryRunFlag(c *cobra.Command) *bool {
	dry := new(bool)
	if a.ours() {
		c.Flags().BoolVar(dry, "dry-run", false, "Change nothing: show what would happen, and whether it is allowed.")
	}
	return dry
}

// would prints one line about what would happen.
func (a *app) would(format string, args ...any) { a.printf("Dry run: would "+format+"\n", args...) }

// wouldAsk prints the request that would be sent.
func (a *app) wouldAsk(m *cluster.Member, method, path string, body *cluster.Object) {
	a.would("send %s %s to %s: %s", method, path, m.Name, cluster.Spaced(body))
}

// dryRun is the end of a dry run of edit-config: the changes were shown.
func (e *configEditor) dryRun(doc *cluster.Object) error {
	// What the members do not allow was refused before.
	_, warnings, err := cluster.ParseSettingsFor(doc, cluster.GuardedFloors)
	if err != nil {
		return fmt.Errorf("the agents would ignore this configuration: %w", err)
	}
	for _, w := range warnings {
		e.print("Warning:", w)
	}
	e.would("write the changed configuration")
	return nil
}

// dryRun judges a switchover or failover: first as the agent that gets the
// request does (reference rest-api.md 9), then as the holder of the lock.
func (m *mover) dryRun(ctx context.Context, w *work, at time.Time, body *cluster.Object) error {
	to := m.receiver(w)
	_, silent := w.statusOf(ctx, to)
	switch {
	case m.action == "switchover" && w.settings.Pause && m.candidate == "":
		return refuse("Switchover is possible only to a specific candidate in a paused state")
	case !at.IsZero() && at.Before(m.Now()):
		return refuse("Cannot schedule switchover in the past")
	case silent != nil:
		m.would("write the request into the store, as the API of the receiver cannot be reached: %v", silent)
	default:
		m.wouldAsk(to, http.MethodPost, "/"+m.action, body)
	}
	if !at.IsZero() {
		m.print("Dry run: allowed; whether anybody can take over is decided at " + isoTime(at))
		return nil
	}
	pool, why := m.pool(w)
	if why != "" {
		return refusal(why)
	}
	answers, err := w.poll(ctx, pool)
	if err != nil {
		return err
	}
	if m.asynchronous(w) {
		m.print("Dry run: " + m.candidate + " is not synchronous: commits that were acknowledged may be lost")
	}
	return m.verdict(w, answers)
}

// pool are the members that may take over by the rules of the API; why is its
// refusal.
func (m *mover) pool(w *work) (pool []cluster.Member, why string) {
	synchronous := w.settings.SynchronousMode == cluster.SyncOn && w.view.Sync.Active()
	if m.candidate != "" {
		if m.action == "switchover" && synchronous && !w.view.Sync.Matches(m.candidate, false) {
			return nil, "candidate name does not match with sync_standby"
		}
		return []cluster.Member{*w.view.Member(m.candidate)}, ""
	}
	for _, x := range w.view.Members {
		if x.Name != w.view.LeaderName() && x.APIURL != "" && (!synchronous || w.view.Sync.Matches(x.Name, false)) {
			pool = append(pool, x)
		}
	}
	switch {
	case len(pool) == 0 && synchronous:
		return nil, m.action + " is not possible: can not find sync_standby"
	case len(pool) == 0:
		return nil, m.action + " is not possible: cluster does not have members except leader"
	}
	return pool, ""
}

// verdict says who of the members that answered could take over, by the rules
// of the decision core.
func (m *mover) verdict(w *work, answers []candidate.Answer) error {
	h := candidate.Handover{LeaderLSN: w.view.Status.LSN, MaximumLag: w.settings.MaximumLagOnFailover,
		CheckTimeline: w.settings.CheckTimeline, ClusterTimeline: w.view.History.Timeline()}
	if w.view.LeaderName() == "" { // nobody is there to judge the candidate's lag
		h.LeaderLSN, h.CheckTimeline = 0, false
	}
	var good []string
	for _, a := range answers {
		ok, notes := candidate.Possible([]candidate.Answer{a}, h)
		for _, n := range notes {
			m.print("Dry run: " + n.Text)
		}
		if ok {
			good = append(good, a.Name)
		}
	}
	switch len(good) {
	case 0:
		return refuse("%s is not possible: no good candidates have been found", m.action)
	case 1:
		m.print("Dry run: allowed; " + good[0] + " would become the leader")
	default:
		m.print("Dry run: allowed; one of " + strings.Join(good, ", ") + " would become the leader")
	}
	return nil
}

// poll asks members what a candidate is judged by, as agents ask each other.
func (w *work) poll(ctx context.Context, pool []cluster.Member) ([]candidate.Answer, error) {
	ctl := w.cfg.Ctl
	client, err := peer.New(peer.Options{Username: ctl.Username, Password: string(ctl.Password), Version: cluster.CompatVersion,
		TLS: tlsfile.Client{CertFile: ctl.CertFile, KeyFile: ctl.KeyFile, KeyPassword: string(ctl.KeyFilePassword), CAFile: ctl.CACert}})
	if err != nil {
		return nil, err
	}
	var answers []candidate.Answer
	for _, a := range client.PollAll(ctx, pool) {
		answers = append(answers, candidate.Answer{Name: a.Name, Reachable: a.Err == nil, Primary: a.Primary, LSN: a.LSN,
			Timeline: a.Timeline, Tags: a.Tags, WatchdogFailed: a.WatchdogFailed})
	}
	return answers, nil
}

// statusOf is a member's status document; the member may be nil.
func (w *work) statusOf(ctx context.Context, m *cluster.Member) (*cluster.Object, error) {
	if m == nil {
		return nil, refuse("it has no member key")
	}
	return w.members.status(ctx, m)
}

func (p *maintenance) dryRun(ctx context.Context, w *work) error {
	for _, m := range reachable(w.view) {
		if _, err := w.members.status(ctx, m); err != nil {
			p.warn("Member %s is not accessible: %v", m.Name, err)
			continue
		}
		p.wouldAsk(m, http.MethodPatch, "/config", p.body())
		return nil
	}
	return refuse("Can not find accessible cluster member")
}

// check prints for each member what would happen there. judge returns why it
// would be refused, "" when it would be done.
func (w *work) check(ctx context.Context, chosen []*cluster.Member, action string, judge func(m *cluster.Member, doc *cluster.Object) string) error {
	var refused []*cluster.Member
	for _, m := range chosen {
		doc, err := w.members.status(ctx, m)
		why := ""
		if err != nil {
			why = "it cannot be reached: " + err.Error()
		} else {
			why = judge(m, doc)
		}
		if why == "" {
			w.would("%s %s", action, m.Name)
			continue
		}
		w.printf("Dry run: would not %s %s: %s\n", action, m.Name, why)
		refused = append(refused, m)
	}
	if len(refused) > 0 {
		return refuse("%s is not allowed or not possible on: %s", action, names(refused))
	}
	return nil
}

func (w *work) dryReload(ctx context.Context, chosen []*cluster.Member) error {
	return w.check(ctx, chosen, "reload", func(*cluster.Member, *cluster.Object) string { return "" })
}

// busy are states that belong to a task which has to end first.
var busy = []cluster.State{cluster.StateCreatingReplica, cluster.StateInitializing, cluster.StateCustomBootstrap,
	cluster.StateStarting, cluster.StateStartingAfterBootstrap, cluster.StateRestarting, cluster.StateStopping}

func busyWith(doc *cluster.Object) string {
	state, _ := doc.String("state")
	if slices.Contains(busy, cluster.State(state)) {
		return "it is busy: " + state
	}
	return ""
}

func (r *restarter) dryRun(ctx context.Context, w *work, chosen []*cluster.Member, at time.Time) error {
	if !at.IsZero() && at.Before(r.Now()) {
		return refuse("Cannot schedule restart in the past")
	}
	if r.timeout != "" {
		if n, ok := cluster.ParseInt(r.timeout, "s"); !ok || n <= 0 {
			return refuse("Timeout should be a positive number of seconds")
		}
	}
	if len(chosen) == 0 {
		r.print("Dry run: no member is chosen, nothing would happen")
		return nil
	}
	action := "restart"
	if !at.IsZero() {
		action = "schedule at " + isoTime(at) + " a restart of"
	}
	return w.check(ctx, chosen, action, func(m *cluster.Member, doc *cluster.Object) string {
		if !at.IsZero() { // conditions are looked at when the time has come
			if m.ScheduledRestart.Len() > 0 && !r.force {
				return "another restart is already scheduled, at " + scheduledRestart(m)
			}
			return ""
		}
		if r.below != "" {
			wanted, _ := parseVersion(r.below)
			if has, ok := cluster.ParseInt(doc.Value("server_version"), ""); ok && has >= int64(wanted) {
				return fmt.Sprintf("restart conditions are not satisfied (it runs PostgreSQL %s)", serverVersion(has))
			}
		}
		return busyWith(doc)
	})
}

func (r *reiniter) dryRun(ctx context.Context, w *work, chosen []*cluster.Member) error {
	if w.view.LeaderName() == "" {
		return refuse("Cluster has no leader, can not reinitialize")
	}
	return w.check(ctx, chosen, "throw away the data and copy it again on", func(_ *cluster.Member, doc *cluster.Object) string {
		if r.force {
			return ""
		}
		return busyWith(doc)
	})
}

func (r *clusterRole) dryRun(ctx context.Context, w *work, leader *cluster.Member, body *cluster.Object) error {
	if _, err := w.members.status(ctx, leader); err != nil {
		return refuse("Failed to %s %s cluster: %v", r.verb, w.scope, err)
	}
	r.wouldAsk(leader, http.MethodPatch, "/config", body)
	return nil
}

func (w *work) dryRemove() error {
	if w.view.Empty() {
		return refuse("the store holds nothing of cluster %s", w.scope)
	}
	w.would("remove all keys of cluster %s from the store, after confirmation", w.scope)
	if leader := w.view.LeaderName(); leader != "" {
		w.print("Dry run: the cluster is alive: its agents would write most keys again, and the leader " + leader + " might step down for a moment")
	}
	return nil
}
