package ha

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha/candidate"
	"tamada/internal/ha/lease"
)

// Record is one decision, refusal or event with the facts that it was taken on,
// for those who ask later why. It is made to be written as one line of JSON:
// positions are texts, times are seconds, what is zero or not known is left out.
type Record struct {
	Kind RecordKind `json:"kind"`
	// What happened: for decisions the name of the type ("Promote"), for tasks their
	// kind, otherwise one of a few words that the kind tells of.
	What  string   `json:"what"`
	Why   string   `json:"why,omitempty"`   // the status line, or a reason
	Notes []string `json:"notes,omitempty"` // what explains it
	Error string   `json:"error,omitempty"`
	// Member is another member that it is about: the new leader, a source.
	Member string `json:"member,omitempty"`
	Before string `json:"before,omitempty"` // the leader before
	// Action is that of a demotion: an operator's request, or the mode.
	Action string  `json:"action,omitempty"`
	Took   float64 `json:"took,omitempty"` // seconds, of a task
	Code   int     `json:"code,omitempty"` // of the answer to a request
	// Repeats is how often the same happened since the last record of it.
	Repeats int    `json:"repeats,omitempty"`
	Facts   *Facts `json:"facts,omitempty"`
}

// RecordKind is a kind of records.
type RecordKind string

// The kinds. What the words in [Record].What are is in brackets.
const (
	RecordDecision RecordKind = "decision" // something is done
	RecordRefusal  RecordKind = "refusal"  // something is not done, and the notes tell why
	RecordWait     RecordKind = "wait"     // nothing is to be done, or not yet
	RecordLease    RecordKind = "lease"    // of the leader [acquired, inherited, released, lost, clock jumped]
	RecordLeader   RecordKind = "leader"   // the leader key as this node saw it [changed]
	RecordTask     RecordKind = "task"     // a long action has ended
	RecordRequest  RecordKind = "request"  // an operator asked [accepted, refused]
	RecordStore    RecordKind = "store"    // [failed, answers again, operation failed]
	RecordStream   RecordKind = "stream"   // replication from the primary [ended, again]
	RecordPostgres RecordKind = "postgres" // the postmaster [exited]
	RecordHistory  RecordKind = "history"  // our history against the leader's [diverged, fits]
	RecordGuardian RecordKind = "guardian" // [frozen, lost, back, fenced]
	RecordPause    RecordKind = "pause"    // maintenance mode [begins, ends]
	RecordAgent    RecordKind = "agent"    // [begins, asked to end]
	RecordLedger   RecordKind = "ledger"   // of the ledger itself [dropped]
)

// Facts are what of a view mattered to a decision.
type Facts struct {
	Leader     string  `json:"leader,omitempty"`      // who holds the key, by this node's view
	LastLeader string  `json:"last_leader,omitempty"` // who held it, while nobody does
	Unlocked   float64 `json:"unlocked,omitempty"`    // seconds since the key is gone
	Store      string  `json:"store,omitempty"`       // why the store cannot be reached

	Lease     string  `json:"lease,omitempty"`      // arming or held
	LeaseLeft float64 `json:"lease_left,omitempty"` // seconds until its deadline
	LeaseLost string  `json:"lease_lost,omitempty"` // why the last one ended

	State      cluster.State    `json:"state,omitempty"`
	Role       cluster.Role     `json:"role,omitempty"`
	Timeline   cluster.Timeline `json:"timeline,omitempty"`
	LSN        string           `json:"lsn,omitempty"`
	Received   string           `json:"received,omitempty"`
	Replayed   string           `json:"replayed,omitempty"`
	Streaming  string           `json:"streaming,omitempty"` // replication state
	Divergence string           `json:"divergence,omitempty"`
	Tags       json.RawMessage  `json:"tags,omitempty"`
	Task       string           `json:"task,omitempty"`

	// The cluster by what the store says: the last published position of the leader,
	// how many bytes we are behind it, the newest timeline.
	ClusterLSN      string           `json:"cluster_lsn,omitempty"`
	Lag             int64            `json:"lag,omitempty"`
	ClusterTimeline cluster.Timeline `json:"cluster_timeline,omitempty"`
	Failover        *FailoverFact    `json:"failover,omitempty"` // the pending request

	// Settings in force.
	TTL           float64 `json:"ttl,omitempty"`
	LoopWait      float64 `json:"loop_wait,omitempty"`
	MaximumLag    int64   `json:"maximum_lag,omitempty"`
	CheckTimeline bool    `json:"check_timeline,omitempty"`
	Paused        bool    `json:"paused,omitempty"`

	Peers []PeerFact `json:"peers,omitempty"` // what others had answered, by name
}

// FailoverFact is a request to move the leader.
type FailoverFact struct {
	Leader    string `json:"leader,omitempty"`
	Candidate string `json:"candidate,omitempty"`
	At        string `json:"at,omitempty"`
}

// PeerFact is one member's answer.
type PeerFact struct {
	Name       string           `json:"name"`
	Limitation string           `json:"limitation,omitempty"` // why it cannot be promoted
	Primary    bool             `json:"primary,omitempty"`
	LSN        string           `json:"lsn,omitempty"`
	Timeline   cluster.Timeline `json:"timeline,omitempty"`
	Age        float64          `json:"age,omitempty"` // seconds since it was asked
}

// RecordOf is the record of an outcome, without facts; ok is false for those
// that only look or ask.
func RecordOf(v *View, o *Outcome) (r Record, ok bool) {
	r = Record{Kind: RecordDecision, What: decisionName(o.Do), Why: o.Line}
	for _, n := range o.Notes {
		if !strings.HasPrefix(n.Text, lockOwner) {
			r.Notes = append(r.Notes, n.Text)
		}
	}
	switch d := o.Do.(type) {
	case Observe, PollPeers, CompareTimelines:
		return r, false
	case Wait:
		r.Kind = RecordWait
		if len(r.Notes) > 0 || o.RaceLost {
			r.Kind = RecordRefusal
		}
		return r, r.Kind == RecordRefusal || o.Line != "" && v.Task == nil
	case ClearFailover:
		r.Kind = RecordRefusal
	case DropRestart:
		r.Kind = RecordRefusal
	default:
		r.details(d)
	}
	return r, true
}

// details adds what a decision says beyond its name.
func (r *Record) details(d Decision) {
	switch d := d.(type) {
	case ReleaseLeader:
		r.Why = cmp.Or(d.Why, r.Why)
	case Demote:
		r.Action = cmp.Or(d.Action, string(d.Mode))
	case CancelBootstrap:
		r.Error = d.Why
	case AnnouncePromotion:
		r.Why = fmt.Sprintf("a promotion to timeline %d is announced", d.Promotion.Timeline)
	case Clone:
		r.Member = d.From.Name
	case Rewind:
		r.Member = d.From.Name
	case Reinitialize:
		r.Member, r.Why = d.From.Name, cmp.Or(d.Why, r.Why)
	case Follow:
		r.Member = d.Source.Name
	case StartReplica:
		if d.Source != nil {
			r.Member = d.Source.Name
		}
	case Exit:
		r.Code = d.Code
	}
}

// decisionName is the name of a decision's type.
func decisionName(d Decision) string { return strings.TrimPrefix(fmt.Sprintf("%T", d), "ha.") }

// answersShown is how old an answer of a member may be to count as a fact of a
// decision.
const answersShown = 10 * time.Second

// FactsOf takes out of a view what a reader of the ledger wants to know.
func FactsOf(v *View) *Facts {
	i := &v.Instance
	f := &Facts{State: i.State, Role: i.Role, Divergence: divergenceText(&v.Divergence), TTL: v.Settings.TTL.Seconds(), LoopWait: v.Settings.LoopWait.Seconds(),
		MaximumLag: v.Settings.MaximumLagOnFailover, CheckTimeline: v.Settings.CheckTimeline, Paused: v.Settings.Pause, LeaseLost: string(v.Lease.Lost)}
	if v.Local.Tags.Len() > 0 {
		f.Tags = cluster.Compact(v.Local.Tags)
	}
	if i.Answers {
		f.Timeline, f.LSN, f.Received, f.Replayed, f.Streaming = i.Timeline, text(i.LSN), text(i.Received), text(i.Replayed), i.ReplicationState
	} else if c := i.Control; c != nil {
		f.Timeline, f.LSN = c.CheckpointTLI, text(c.CheckpointLSN)
	}
	if v.Task != nil {
		f.Task = v.Task.Name()
	}
	switch v.Lease.State {
	case lease.Arming:
		f.Lease = "arming"
	case lease.Held:
		f.Lease, f.LeaseLeft = "held", seconds(v.Lease.Deadline-v.Now)
	}
	f.store(v)
	f.peers(v)
	return f
}

func (f *Facts) store(v *View) {
	c := v.DCS.Cluster
	f.Store, f.Leader = v.DCS.Error, c.LeaderName()
	if f.Leader == "" {
		f.LastLeader = v.DCS.Healthy.LeaderName()
		if v.DCS.UnlockedAt > 0 {
			f.Unlocked = seconds(v.Now - v.DCS.UnlockedAt)
		}
	}
	if c == nil {
		return
	}
	f.ClusterLSN, f.ClusterTimeline = text(c.Status.LSN), c.History.Timeline()
	if v.Instance.Answers && v.Instance.InRecovery {
		f.Lag = candidate.Lag(c.Status.LSN, v.Instance.LSN)
	}
	if r := c.Failover; r.Pending() {
		f.Failover = &FailoverFact{Leader: r.Leader, Candidate: r.Candidate, At: r.ScheduledAt}
	}
}

func (f *Facts) peers(v *View) {
	for name, r := range v.Peers.Results {
		if v.Now > r.Answered+answersShown {
			continue
		}
		a := &r.Answer
		f.Peers = append(f.Peers, PeerFact{Name: name, Limitation: a.Limitation(), Primary: a.Primary, LSN: text(a.LSN), Timeline: a.Timeline,
			Age: seconds(v.Now - r.Asked)})
	}
	slices.SortFunc(f.Peers, func(a, b PeerFact) int { return strings.Compare(a.Name, b.Name) })
}

func divergenceText(d *Divergence) string {
	text := map[DivergenceState]string{DivergenceFound: "diverged from " + d.Leader, RewindDone: "rewound", RewindFailed: "rewind failed"}[d.State]
	if d.Broken {
		text = strings.TrimPrefix(text+", half rewound", ", ")
	}
	return text
}

// text is a position, or nothing when it is not known.
func text(l cluster.LSN) string {
	if l == 0 {
		return ""
	}
	return l.String()
}

// seconds is a duration with three digits after the point.
func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1000) / 1000 }
