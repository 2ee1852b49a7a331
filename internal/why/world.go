package why

import (
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha"
	"tamada/internal/ha/candidate"
	"tamada/internal/ha/lease"
)

// World is the cluster as it is now: what the store holds, and what each member
// said of itself when it was asked.
type World struct {
	Cluster  *cluster.Cluster
	Settings cluster.Settings
	Statuses map[string]*Status // by name of the member
	Wall     time.Time
}

// Status is what a member said of itself.
type Status struct {
	// Err tells why it said nothing, "" when it answered.
	Err string
	// Answer is the same as other members see it: what they judge it by.
	Answer candidate.Answer

	State       cluster.State
	Role        cluster.Role
	Sysid       string
	Answers     bool // its PostgreSQL does
	InRecovery  bool
	LSN         cluster.LSN // primary: flushed; standby: max(received, replayed)
	Received    cluster.LSN
	Replayed    cluster.LSN
	Timeline    cluster.Timeline
	Replication string // replication state
	Paused      bool   // replay is
}

// ReadStatus takes the facts out of a status document (GET /patroni). a is what
// agents read out of the same document.
func ReadStatus(doc *cluster.Object, a candidate.Answer) *Status {
	s := &Status{Answer: a, Timeline: a.Timeline}
	state, _ := doc.String("state")
	role, _ := doc.String("role")
	s.State, s.Role = cluster.State(state), cluster.ParseRole(role)
	s.Sysid, _ = doc.String("database_system_identifier")
	s.Replication, _ = doc.String("replication_state")
	x := doc.Object("xlog")
	if x == nil {
		return s
	}
	s.Answers = true
	position := func(key string) cluster.LSN {
		n, _ := cluster.ParseInt(x.Value(key), "")
		return cluster.LSN(max(n, 0))
	}
	s.LSN, s.Received, s.Replayed = position("location"), position("received_location"), position("replayed_location")
	if _, primary := x.Get("location"); !primary {
		s.InRecovery = true
		s.LSN = max(s.Received, s.Replayed)
	}
	s.Paused = x.Value("paused") == true
	return s
}

// status is never nil.
func (w *World) status(name string) *Status {
	if s := w.Statuses[name]; s != nil {
		return s
	}
	return &Status{Err: "it has no member key in the store", Answer: candidate.Answer{Name: name}}
}

// present is the moment at which every hypothetical view is taken. Only
// differences count.
const present = ha.Instant(time.Hour)

// view is the picture that the agent of a member has now, as far as it can be
// known from outside: its own instance, the store's view c, and fresh answers of
// all others. Members named in dead do not answer.
func (w *World) view(name string, c, healthy *cluster.Cluster, dead ...string) *ha.View {
	s := w.status(name)
	v := &ha.View{Now: present, Wall: w.Wall, Me: name, Settings: w.Settings, RaceSince: present,
		Local: ha.Local{Tags: s.Answer.Tags}, DCS: ha.DCS{Reachable: true, Cluster: c, Healthy: healthy},
		Instance: w.instance(s), Peers: ha.Peers{Results: map[string]ha.PeerResult{}}}
	if s.Err != "" {
		if m := c.Member(name); m != nil {
			v.Local.Tags = m.Tags
		}
	}
	if c.Leader == nil {
		v.DCS.UnlockedAt = present - max(time.Minute, v.Settings.TTL) // whoever lets another go first for a moment, or for one ttl, has done so
	}
	for _, m := range healthy.Members {
		a := w.status(m.Name).Answer
		for _, d := range dead {
			if m.Name == d {
				a = candidate.Answer{Name: m.Name}
			}
		}
		v.Peers.Results[m.Name] = ha.PeerResult{Asked: present, Answered: present, Answer: a}
	}
	return v
}

func (w *World) instance(s *Status) ha.Instance {
	i := ha.Instance{Data: ha.DataPresent, Sysid: s.Sysid, State: s.State, Role: s.Role, Running: s.Answers || s.State.Starting(),
		ObservedAt: present, Answers: s.Answers, InRecovery: s.InRecovery, Timeline: s.Timeline, LSN: s.LSN, Received: s.Received,
		Replayed: s.Replayed, ReplicationState: s.Replication, Callbacks: true}
	if s.Answers && !s.State.Starting() {
		i.State = cluster.StateRunning
	}
	if !cluster.ValidSysid(i.Sysid) && w.Cluster.Initialize != nil {
		i.Sysid = w.Cluster.Initialize.Value // an agent that does not tell it is no stranger for that
	}
	if !i.Running {
		i.Control = &ha.Control{} // a stopped server, of which nothing more is known
	}
	return i
}

// leading is the view of a member that holds the leader key and its lease.
func (w *World) leading(name string, c, healthy *cluster.Cluster, dead ...string) *ha.View {
	v := w.view(name, c, healthy, dead...)
	v.Lease = ha.Lease{State: lease.Held, Deadline: present + w.Settings.TTL}
	return v
}

// without is the store's view after a member has died and its keys have expired.
func without(c *cluster.Cluster, dead string) *cluster.Cluster {
	after := *c
	if c.LeaderName() == dead {
		after.Leader = nil
	}
	after.Members = nil
	for _, m := range c.Members {
		if m.Name != dead {
			after.Members = append(after.Members, m)
		}
	}
	return &after
}

// verdict is what one node would decide.
type verdict struct {
	name string
	wins bool // it would ask for the leader key
	why  []string
}

// judge asks the decision core what a node would do in a view, in which nobody
// leads.
func (w *World) judge(v *ha.View) verdict {
	s := w.status(v.Me)
	if s.Err != "" {
		return verdict{name: v.Me, why: []string{"it does not answer (" + s.Err + ")"}}
	}
	o := ha.Decide(v)
	r, _ := ha.RecordOf(v, &o)
	d := verdict{name: v.Me, why: r.Notes}
	if _, ok := o.Do.(ha.AcquireLeader); ok {
		d.wins = true
		return d
	}
	switch {
	case len(d.why) > 0:
	case !s.Answers:
		d.why = []string{"its PostgreSQL does not answer (state " + string(s.State) + ")"}
	case o.Line != "":
		d.why = []string{o.Line}
	default:
		d.why = []string{"it would do something else first: " + decided[r.What]}
	}
	return d
}

// promotesTo is the timeline that a member would begin if it held the leader
// key, 0 when it would not be promoted.
func (w *World) promotesTo(name string, c, healthy *cluster.Cluster, dead string) cluster.Timeline {
	after := *c
	after.Leader = &cluster.Leader{Name: name, Created: 1, Version: 1}
	after.Failover = nil
	o := ha.Decide(w.leading(name, &after, healthy, dead))
	switch d := o.Do.(type) {
	case ha.AnnouncePromotion:
		return d.Promotion.Timeline
	case ha.Promote:
		return d.Timeline
	}
	return 0
}
