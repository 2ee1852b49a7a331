package why

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha"
	"tamada/internal/ledger"
)

// skew is how far the clocks of two nodes may differ, and how long a view of the
// store may take, without the story becoming another one.
const skew = 2 * time.Second

// before is how far a cause may lie before the end of a leader's time at most,
// unless a longer lease is in force.
const before = 2 * time.Minute

// tenure is the time in which one member held the leader key.
type tenure struct {
	leader string
	from   time.Time
	own    bool // by the leader's own word
}

// tenures finds out who led when. The word of the one who took the key counts
// more than that of those who saw it.
func (l *Ledgers) tenures() (all []tenure) {
	last := func() *tenure {
		if len(all) == 0 {
			return &tenure{}
		}
		return &all[len(all)-1]
	}
	for i := range l.Entries {
		e := &l.Entries[i]
		t := last()
		switch {
		case e.Kind == ha.RecordLease && e.What == "acquired" && t.leader == e.Node && !t.own && e.At.Before(t.from.Add(skew)):
			t.from, t.own = e.At, true // another node saw it a moment before by its clock
		case e.Kind == ha.RecordLease && e.What == "acquired":
			all = append(all, tenure{e.Node, e.At, true})
		case e.Kind == ha.RecordLease && e.What == "inherited" && t.leader != e.Node:
			all = append(all, tenure{e.Node, e.At, false})
		case e.Kind == ha.RecordLeader && e.Member != "" && t.leader != e.Member && !l.stale(all, e):
			all = append(all, tenure{e.Member, e.At, false})
		}
	}
	return all
}

// stale tells whether an observer speaks of a leader whose time was over by then:
// its clock, or its view, is behind.
func (l *Ledgers) stale(all []tenure, e *ledger.Entry) bool {
	return len(all) > 1 && all[len(all)-1].own && all[len(all)-2].leader == e.Member && e.At.Before(all[len(all)-1].from.Add(skew))
}

// change is one change of the leader with what belongs to it.
type change struct {
	*Ledgers
	*Story
	tenure
	old     string         // who led before, "" when not known
	began   time.Time      // of the old leader's time, zero when not known
	gone    time.Time      // when the key was first seen to be absent; zero when nobody saw that
	around  []ledger.Entry // from a while before the end of the old leader's time on
	ended   time.Time      // the end of what belongs to it
	winning []ledger.Entry // the new leader's entries since the key was gone
}

// Leader tells why the leader changed the last time, or the last time before a
// moment.
func Leader(l Ledgers, at time.Time) *Story {
	s := newStory("why did the leader change")
	all := l.tenures()
	i := lastBefore(all, at)
	if i < 0 {
		s.nothing(&l, at)
		return s
	}
	c := l.change(s, all, i)
	c.tell()
	return s
}

// lastBefore is the last tenure that began before a moment, zero for now; -1 when
// there is none.
func lastBefore(all []tenure, at time.Time) int {
	for i, t := range slices.Backward(all) {
		if at.IsZero() || !t.from.After(at) {
			return i
		}
	}
	return -1
}

func (s *Story) nothing(l *Ledgers, at time.Time) {
	switch {
	case len(l.Entries) == 0:
		s.say("No ledger that could be read tells of a leader.")
	case at.IsZero():
		s.say("No change of the leader is in the ledgers; they begin at %s.", l.date(l.Entries[0].At))
	default:
		s.say("No change of the leader before %s is in the ledgers; they begin at %s.", l.date(at), l.date(l.Entries[0].At))
	}
	l.missing(s)
}

// change collects what belongs to the beginning of one of the tenures.
func (l *Ledgers) change(s *Story, all []tenure, i int) *change {
	t := all[i]
	c := &change{Ledgers: l, Story: s, tenure: t, ended: t.from.Add(30 * time.Second)}
	if i > 0 {
		c.old, c.began = all[i-1].leader, all[i-1].from
	}
	if i+1 < len(all) && all[i+1].from.Before(c.ended) {
		c.ended = all[i+1].from.Add(-time.Nanosecond)
	}
	lead := before
	for _, e := range l.span(t.from.Add(-before), t.from.Add(skew)) {
		if e.Facts != nil {
			lead = max(lead, 4*time.Duration(e.Facts.TTL*float64(time.Second)))
		}
		if c.old == "" && e.Kind == ha.RecordLeader && e.Before != "" && e.Before != t.leader {
			c.old = e.Before
		}
	}
	from := t.from.Add(-lead)
	if c.began.After(from) {
		from = c.began.Add(time.Nanosecond)
	}
	c.around = l.span(from, c.ended)
	for _, e := range c.around {
		if e.At.Before(c.settled()) && e.Kind == ha.RecordLeader && e.Member == "" && e.Before == c.old && c.gone.IsZero() {
			c.gone = e.At
		}
	}
	since := cmp.Or(c.gone, t.from.Add(-skew)).Add(-skew)
	for _, e := range of(c.around, t.leader) {
		if !e.At.Before(since) {
			c.winning = append(c.winning, e)
		}
	}
	return c
}

// settled is when everybody knows who leads, whatever their clocks say.
func (c *change) settled() time.Time {
	if s := c.from.Add(skew); s.Before(c.ended) {
		return s
	}
	return c.ended
}

// tell is the whole story.
func (c *change) tell() {
	v := c.Values
	v.Set("leader", c.leader)
	v.Set("since", c.from.UTC().Format(time.RFC3339Nano))
	if c.old == "" {
		c.first()
	} else {
		v.Set("before", c.old)
		c.say("%s has led since %s; before that %s led.", c.leader, c.date(c.from), c.old)
		cause := c.cause()
		v.Set("cause", cause)
		c.theGap(cause)
		c.theWinner()
		c.theOthers()
	}
	c.missing(c.Story)
	c.Facts = c.Ledgers.table(c.relevant())
}

// first tells of a leader before whom nobody is known to have led.
func (c *change) first() {
	c.Values.Set("cause", "first")
	for _, e := range c.around {
		if e.Node == c.leader && e.What == "FinishBootstrap" {
			c.Values.Set("cause", "bootstrap")
			c.say("%s has led since %s: it made the cluster.", c.leader, c.date(c.from))
			return
		}
	}
	c.say("%s has led since %s; who led before is not in the ledgers.", c.leader, c.date(c.from))
}

// ending are the old leader's entries about the end of its time: those after its
// last quiet moment.
func (c *change) ending() []ledger.Entry {
	var list []ledger.Entry
	for _, e := range of(c.around, c.old) {
		if e.At.After(c.settled()) {
			break
		}
		if e.Kind == ha.RecordWait && strings.Contains(e.Why, "the leader with the lock") {
			list = nil
			continue
		}
		list = append(list, e)
	}
	return list
}

// cause tells why the old leader's time ended and returns a word for it.
func (c *change) cause() string {
	ending := c.ending()
	for _, rule := range causes {
		if i := slices.IndexFunc(ending, rule.is); i >= 0 {
			c.say("%s", rule.says(c, &ending[i], ending))
			return rule.name
		}
	}
	if c.old == c.leader {
		c.say("Why %s had lost the leader key is not in its ledger.", c.old)
		return "unknown"
	}
	return c.silence()
}

// silence: the old leader's key has ended without it having said anything.
func (c *change) silence() string {
	if why, ok := c.Missing[c.old]; ok {
		c.say("%s did not give the leader key up as far as others can tell: its lease ran out. It was dead, frozen or cut off (its ledger cannot be read: %s).", c.old, why)
		return "silence"
	}
	var last, next *ledger.Entry
	for i := range c.Entries {
		e := &c.Entries[i]
		switch {
		case e.Node != c.old:
		case e.At.Before(c.from):
			last = e
		case next == nil:
			next = e
		}
	}
	switch {
	case last == nil && next == nil:
		c.say("%s did not give the leader key up as far as others can tell: its lease ran out. It was dead, frozen or cut off; its ledger is out of reach.", c.old)
	case next == nil:
		c.say("%s did not give the leader key up, its lease ran out: its agent has written nothing since %s. It was dead, frozen or cut off.", c.old, c.clock(last.At))
	case next.Kind == ha.RecordAgent && next.What == "begins":
		c.say("%s did not give the leader key up, its lease ran out: its agent was dead. It began again at %s.", c.old, c.clock(next.At))
	default:
		c.say("%s did not give the leader key up, its lease ran out: its agent wrote nothing until %s, so it was frozen or cut off.", c.old, c.clock(next.At))
	}
	return "silence"
}

// theGap tells how long nobody led, and what the others noticed before.
func (c *change) theGap(cause string) {
	var lost *ledger.Entry
	for i := range c.around {
		if e := &c.around[i]; lost == nil && e.Kind == ha.RecordStream && e.What == "ended" && e.Node != c.old && e.At.Before(c.from) {
			lost = e
		}
	}
	if c.gone.IsZero() {
		return
	}
	gap := max(0, c.from.Sub(c.gone))
	c.Values.Set("unlocked_seconds", number(gap.Seconds()))
	text := fmt.Sprintf("The leader key was gone at %s, and nobody led for %s", c.clock(c.gone), secondsText(gap))
	if lost != nil && cause == "silence" && c.gone.After(lost.At) {
		text += fmt.Sprintf("; %s had noticed the end of replication %s before", lost.Node, secondsText(c.gone.Sub(lost.At)))
	}
	c.say("%s.", text)
}

// theWinner tells how the new leader came to lead.
func (c *change) theWinner() {
	var why []string
	for _, e := range c.winning {
		switch {
		case e.Kind == ha.RecordDecision && e.What == "AcquireLeader" && e.At.Before(c.settled()):
			why = c.whyItMay(&e)
		case e.Kind == ha.RecordTask && e.What == string(ha.TaskPromote) && e.Error == "":
			c.Values.Set("promotion_seconds", number(e.Took))
			c.say("%s took the leader key at %s%s; its promotion took %s.", c.leader, c.clock(c.from), because(why), secondsText(time.Duration(e.Took*float64(time.Second))))
			return
		case e.Kind == ha.RecordTask && e.What == string(ha.TaskPromote):
			c.say("%s took the leader key at %s%s, but its promotion failed: %s.", c.leader, c.clock(c.from), because(why), e.Error)
			return
		}
	}
	if len(why) > 0 {
		c.say("%s took the leader key at %s%s.", c.leader, c.clock(c.from), because(why))
	}
}

func because(why []string) string {
	if len(why) == 0 {
		return ""
	}
	return ", because " + list(why, "and")
}

// whyItMay are the facts that spoke for the new leader.
func (c *change) whyItMay(e *ledger.Entry) (why []string) {
	f := e.Facts
	if f == nil {
		return nil
	}
	if r := f.Failover; r != nil && r.Candidate == c.leader {
		why = append(why, "it was the one asked for")
	}
	if f.Role == cluster.RolePrimary {
		return append(why, "it was the primary still")
	}
	var behind, silent []string
	for _, p := range f.Peers {
		switch {
		case p.Limitation != "":
			silent = append(silent, p.Name+" was "+p.Limitation)
		case p.LSN != "":
			behind = append(behind, p.Name+" at "+p.LSN)
		}
	}
	if len(behind) > 0 {
		why = append(why, fmt.Sprintf("nobody was ahead of it (%s, it at %s)", strings.Join(behind, ", "), f.LSN))
	}
	return append(why, silent...)
}

// theOthers tells of each other node why it did not take the key.
func (c *change) theOthers() {
	others := &cluster.Object{}
	for _, name := range c.nodes() {
		if name == c.leader || name == c.old {
			continue
		}
		why := c.notPromoted(name)
		if why == "" {
			continue
		}
		others.Set(name, why)
		c.say("%s did not: %s.", name, why)
	}
	if others.Len() > 0 {
		c.Values.Set("others", others)
	}
}

// notPromoted is why a node did not become the leader in this change, "" when it
// has nothing to do with it.
func (c *change) notPromoted(name string) string {
	from := cmp.Or(c.gone, c.from.Add(-skew)).Add(-100 * time.Millisecond)
	var saw *ledger.Entry
	tried, refusal := false, ""
	for _, e := range of(c.around, name) {
		if e.At.Before(from) || e.At.After(c.settled()) {
			continue
		}
		switch {
		case e.Kind == ha.RecordDecision && e.What == "AcquireLeader":
			tried = true
		case e.Kind == ha.RecordRefusal && e.What == "AcquireLeader":
			return "it tried as well, and " + c.leader + " was first"
		case e.Kind == ha.RecordRefusal && (e.At.Before(c.from) || refusal == ""):
			refusal = strings.Join(e.Notes, "; ")
		case e.Kind == ha.RecordLeader && e.Member == c.leader && saw == nil:
			saw = &e
		}
	}
	switch {
	case refusal != "":
		return refusal
	case tried:
		return "it tried as well, and " + c.leader + " was first"
	case saw != nil && saw.Facts != nil && saw.Facts.Failover != nil && saw.Facts.Failover.Candidate == c.leader:
		return c.leader + " was the one asked for"
	case saw != nil && saw.Facts != nil && saw.Facts.Task != "":
		return "it was busy: " + saw.Facts.Task
	case saw != nil && saw.Facts != nil && len(saw.Facts.Asking) > 0:
		return "it still waited for the answer of " + list(saw.Facts.Asking, "and") + " when " + c.leader + " took the key"
	case saw != nil:
		return "it had not decided yet when " + c.leader + " took the key"
	case len(of(c.around, name)) == 0:
		return "it wrote nothing in that time, so its agent did not run or was frozen"
	}
	return ""
}

// relevant are the entries worth showing.
func (c *change) relevant() []ledger.Entry {
	from := cmp.Or(c.gone, c.from)
	if ending := c.ending(); len(ending) > 0 && ending[0].At.Before(from) {
		from = ending[0].At
	}
	for _, e := range c.around { // what others noticed
		if e.Kind == ha.RecordStream && e.What == "ended" && e.At.Before(from) && e.At.After(c.from.Add(-time.Minute)) {
			from = e.At
		}
	}
	to := c.settled()
	for _, e := range c.winning {
		if e.Kind == ha.RecordTask && e.What == string(ha.TaskPromote) {
			to = e.At
		}
	}
	var list []ledger.Entry
	for _, e := range c.around {
		if !e.At.Before(from) && !e.At.After(to) && c.matters(&e) {
			list = append(list, e)
		}
	}
	return list
}

// matters tells whether an entry is worth a row: all that the old and the new
// leader did, and of the others what has to do with the leader key.
func (c *change) matters(e *ledger.Entry) bool {
	switch e.Kind {
	case ha.RecordHistory:
		return false
	case ha.RecordWait:
		return !strings.HasPrefix(e.Why, "no action. ") && e.Node == c.old
	case ha.RecordTask, ha.RecordDecision:
		return e.Node == c.old || e.Node == c.leader || e.What == "AcquireLeader"
	}
	return true
}

// Reach is how far back the ledgers have to be read for [Leader]; known is false
// as long as they do not tell yet of the change before a moment (zero for now),
// and of the leader before it.
func Reach(l Ledgers, at time.Time) (back time.Time, known bool) {
	all := l.tenures()
	i := lastBefore(all, at)
	if i < 1 {
		return back, false
	}
	return all[i].from.Add(-2 * before), true
}
