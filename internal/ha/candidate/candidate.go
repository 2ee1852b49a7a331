package candidate

import (
	"fmt"
	"slices"
	"strings"

	"tamada/internal/cluster"
)

// Answer is what one member said about itself when it was asked for its status
// (reference ha.md 9.3, "Polling rule").
type Answer struct {
	Name      string
	Reachable bool        // it answered in time with a document that could be read
	Primary   bool        // it runs outside of recovery
	LSN       cluster.LSN // max(received, replayed); 0 for a primary and when not known
	Timeline  cluster.Timeline
	Tags      *cluster.Tags

	WatchdogFailed bool
	// Foreign: it is not one of our agents. The timeline that it tells is the one
	// that it has replayed, whatever it has received.
	Foreign bool
}

// Limitation says why the member cannot be promoted, "" when it can.
func (a *Answer) Limitation() string {
	switch {
	case !a.Reachable:
		return "not reachable"
	case cluster.NoFailover(a.Tags):
		return "not allowed to promote"
	case a.WatchdogFailed:
		return "not watchdog capable"
	}
	return ""
}

// Self is this node in the comparison.
type Self struct {
	Name     string
	LSN      cluster.LSN
	Timeline cluster.Timeline // 0: not known
	Tags     *cluster.Tags
}

// Rules are what the cluster's configuration says about the comparison.
type Rules struct {
	CheckLag        bool
	LeaderLSN       cluster.LSN // status.optime
	MaximumLag      int64       // bytes
	CheckTimeline   bool
	ClusterTimeline cluster.Timeline // 0: not known
	// WaitedEnough: the leader key has been absent for one ttl. A rival of ours that
	// is ahead on an old timeline has had that long to reach the present one.
	WaitedEnough bool
	// FormerLeader is the leader of the last healthy view: a lower priority than
	// its is forgiven.
	FormerLeader string
}

// Verdict is the end of a comparison. Notes are the lines that explain it, in
// the order in which they were found.
type Verdict struct {
	Healthiest bool
	// AheadOfUs names a rival whose position kept us back. Both may think so of
	// each other for a moment, when the positions were taken at different times.
	AheadOfUs string
	Notes     []Note
}

// Note is one line of explanation.
type Note struct {
	Warning bool
	Text    string
}

func (v *Verdict) note(warning bool, format string, args ...any) {
	v.Notes = append(v.Notes, Note{warning, fmt.Sprintf(format, args...)})
}

// Compare decides whether this node may race for the leader key, given the
// answers of its rivals (reference ha.md 9.3). Several nodes may conclude yes:
// the atomic creation of the leader key arbitrates.
func Compare(self Self, answers []Answer, rules Rules) Verdict {
	var v Verdict
	if rules.CheckLag && Lag(rules.LeaderLSN, self.LSN) > rules.MaximumLag {
		v.note(false, "My wal position exceeds maximum replication lag")
		return v
	}
	if rules.CheckTimeline {
		if self.Timeline == 0 {
			v.note(false, "Can not figure out my timeline")
			return v
		}
		if self.Timeline < rules.ClusterTimeline {
			v.note(false, "My timeline %d is behind last known cluster timeline %d", self.Timeline, rules.ClusterTimeline)
			return v
		}
	}
	for _, a := range answers {
		if a.Name == self.Name || a.Limitation() != "" {
			continue
		}
		if !v.against(self, a, rules) {
			return v
		}
	}
	v.Healthiest = true
	return v
}

// against compares with one rival that could be promoted and reports whether
// we may go on.
func (v *Verdict) against(self Self, a Answer, rules Rules) bool {
	switch {
	case a.Primary:
		v.note(true, "Primary (%s) is still alive", a.Name)
		return false
	case rules.CheckTimeline && a.Timeline > 0 && a.Timeline < rules.ClusterTimeline:
		return v.againstOldTimeline(self, a, rules)
	case a.LSN > self.LSN:
		v.note(false, "Wal position of %s is ahead of my wal position", a.Name)
		v.AheadOfUs = a.Name
		return false
	case a.LSN == 0:
		// PostgreSQL does not run there: it has no say (trap 14).
		return true
	}
	mine, theirs := cluster.FailoverPriority(self.Tags), cluster.FailoverPriority(a.Tags)
	if a.LSN == self.LSN && mine < theirs && a.Name != rules.FormerLeader {
		v.note(false, "%s has equally tolerable WAL position and priority %d, while this node has priority %d", a.Name, theirs, mine)
		return false
	}
	return true
}

// againstOldTimeline compares with a rival that by its timeline may not lead, and
// reports whether we may go on.
//
// What it has beyond us may be either of two things. WAL of a history that the
// cluster has left: were that to keep us back, nobody would ever lead. Or WAL of
// the present one, with rows that were acknowledged, which it has received and not
// replayed up to the switch of timelines: then to pass it over is to lose them. A
// member of ours remembers what it has received, but not beyond a restart of its
// agent. So it is given one ttl to replay up to the switch, and to race itself.
// One that is not of ours never tells what it has received: there is no time after
// which we would know better, and an operator has to decide.
func (v *Verdict) againstOldTimeline(self Self, a Answer, rules Rules) bool {
	if a.LSN <= self.LSN {
		return true // it does not race, and has nothing that we have not
	}
	old := fmt.Sprintf("Timeline %d of member %s is behind the cluster timeline %d", a.Timeline, a.Name, rules.ClusterTimeline)
	switch {
	case !a.Foreign && rules.WaitedEnough:
		v.note(true, "%s and was so for one ttl: its wal position does not count any more", old)
		return true
	case a.Foreign:
		v.note(false, "Wal position of %s is ahead of my wal position", a.Name)
		v.note(true, "%s, but it is no agent of ours and may have received more than it tells: nobody is promoted before it catches up or is stopped", old)
	default:
		v.note(false, "Wal position of %s is ahead of my wal position", a.Name)
		v.note(false, "%s, but it may have received more than it has replayed: it counts until one ttl after the leader key was gone", old)
	}
	v.AheadOfUs = a.Name
	return false
}

// Lag is how many bytes a position is behind another; 0 when it is not.
func Lag(leader, mine cluster.LSN) int64 {
	if leader <= mine {
		return 0
	}
	return int64(leader - mine)
}

// Handover are the conditions under which a primary may give the key away.
type Handover struct {
	// Reference, when not 0, is the shutdown checkpoint: who has it has
	// everything. Otherwise the lag behind LeaderLSN is judged.
	Reference       cluster.LSN
	LeaderLSN       cluster.LSN
	MaximumLag      int64
	CheckTimeline   bool
	ClusterTimeline cluster.Timeline
}

// Possible tells whether at least one of the members that answered could take
// over now (reference ha.md 10.3).
func Possible(answers []Answer, h Handover) (bool, []Note) {
	var v Verdict
	good := false
	for _, a := range answers {
		if why := v.unfit(a, h); why != "" {
			v.note(false, "%s", why)
			continue
		}
		good = true
	}
	return good, v.Notes
}

func (v *Verdict) unfit(a Answer, h Handover) string {
	if l := a.Limitation(); l != "" {
		return fmt.Sprintf("Member %s is %s", a.Name, l)
	}
	if h.Reference > 0 {
		if a.LSN < h.Reference {
			return fmt.Sprintf("Member %s has not received the shutdown checkpoint %s yet (it is at %s)", a.Name, h.Reference, a.LSN)
		}
	} else if Lag(h.LeaderLSN, a.LSN) > h.MaximumLag {
		return fmt.Sprintf("Member %s exceeds maximum replication lag", a.Name)
	}
	if h.CheckTimeline && (a.Timeline == 0 || a.Timeline < h.ClusterTimeline) {
		return fmt.Sprintf("Timeline %d of member %s is behind the cluster timeline %d", a.Timeline, a.Name, h.ClusterTimeline)
	}
	return ""
}

// Rivals are the members to ask in a race, sorted by name: those of the last
// healthy view, overridden by those of the present one, because member keys may
// expire together with the leader key (trap 18). Members without an address and
// members that may not lead are left out: their answers would not count.
func Rivals(me string, healthy, present *cluster.Cluster) []cluster.Member {
	byName := map[string]cluster.Member{}
	for _, c := range []*cluster.Cluster{healthy, present} {
		if c == nil {
			continue
		}
		for _, m := range c.Members {
			byName[m.Name] = m
		}
	}
	var rivals []cluster.Member
	for _, m := range byName {
		if m.Name != me && m.APIURL != "" && !cluster.NoFailover(m.Tags) {
			rivals = append(rivals, m)
		}
	}
	slices.SortFunc(rivals, func(a, b cluster.Member) int { return strings.Compare(a.Name, b.Name) })
	return rivals
}
