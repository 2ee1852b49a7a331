package why

import (
	"fmt"
	"slices"
	"strings"

	"tamada/internal/cluster"
	"tamada/internal/ha"
	"tamada/internal/ha/candidate"
	"tamada/internal/ledger"
)

// Member tells what keeps a member from streaming, and why it was not promoted
// when the leader changed the last time, and would or would not be now.
func Member(w *World, l Ledgers, name string) *Story {
	s := newStory("why is " + name + " not promoted, or not streaming")
	m, st := w.Cluster.Member(name), w.status(name)
	leader := w.Cluster.LeaderName()
	s.Values.Set("member", name)
	s.Values.Set("leads", name == leader)
	mine := of(l.Entries, name)
	if why, missing := l.Missing[name]; missing {
		s.say("The ledger of %s could not be read (%s).", name, why)
	}
	switch {
	case name == leader:
		s.say("%s leads.", name)
	case m == nil && len(mine) == 0:
		s.say("Neither the store nor any ledger knows a member %s.", name)
	default:
		s.streaming(w, name, mine)
	}
	if name == leader && st.Err != "" {
		s.say("Its agent does not answer: %s.", st.Err)
	}
	if name != leader {
		s.promotion(w, &l, name)
	}
	s.Facts = l.table(tail(mine, 15))
	return s
}

func tail(entries []ledger.Entry, n int) []ledger.Entry { return entries[max(0, len(entries)-n):] }

// streaming tells whether a replica streams, and what keeps it from it.
func (s *Story) streaming(w *World, name string, mine []ledger.Entry) {
	st, leader := w.status(name), w.Cluster.LeaderName()
	source := ha.FollowSource(w.view(name, w.Cluster, w.Cluster))
	from := "nobody"
	if source != nil {
		from = source.Name
	}
	streams := st.Err == "" && st.Replication == "streaming"
	s.Values.Set("streaming", streams)
	if streams {
		behind := candidate.Lag(max(w.Cluster.Status.LSN, w.status(leader).LSN), st.LSN)
		s.Values.Set("behind_bytes", count(behind))
		s.say("%s streams from %s, on timeline %d, %s behind.", name, from, st.Timeline, size(behind))
		if st.Paused {
			s.say("Its replay is paused: what it receives is not visible there.")
		}
		return
	}
	why := s.notStreaming(w, name, source, mine)
	s.Values.Set("not_streaming", anys(why))
	s.say("%s does not stream.", name)
	for _, x := range why {
		s.say("%s.", strings.TrimSuffix(x, "."))
	}
}

func (s *Story) notStreaming(w *World, name string, source *cluster.Member, mine []ledger.Entry) (why []string) {
	st := w.status(name)
	add := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	switch {
	case st.Err != "":
		add("Its agent does not answer: %s", st.Err)
	case !st.Answers:
		add("Its PostgreSQL does not answer; its state is %q", st.State)
	case st.Replication != "":
		add("It is %q, that is it gets its WAL from the archive or waits for it", st.Replication)
	}
	if m := w.Cluster.Member(name); m != nil && cluster.NoStream(m.Tags) {
		add("It is tagged nostream: it never streams and lives on the archive alone")
	} else if source == nil {
		add("There is nobody whom it could follow (%s)", leaderText(w))
	} else if u := w.status(source.Name); u.Err != "" {
		add("%s, whom it should follow, does not answer: %s", source.Name, u.Err)
	}
	for _, e := range troublesOf(mine) {
		text := fmt.Sprintf("%s: %s", e.At.UTC().Format("2006-01-02 15:04:05 MST"), title(&e))
		if r := reason(&e); r != "" {
			text += ": " + r
		}
		add("%s", text)
	}
	return why
}

func leaderText(w *World) string {
	if l := w.Cluster.LeaderName(); l != "" {
		return "the leader is " + l
	}
	return "nobody leads"
}

// troublesOf are the newest entries of each kind that tell of something wrong
// since the node last had nothing to do.
func troublesOf(mine []ledger.Entry) (list []ledger.Entry) {
	seen := map[string]bool{}
	for _, e := range slices.Backward(mine) {
		if e.Kind == ha.RecordWait && strings.HasPrefix(e.Why, "no action. ") || len(list) == 5 {
			break
		}
		wrong := e.Error != "" || e.Kind == ha.RecordRefusal || e.Kind == ha.RecordWait || e.Kind == ha.RecordStore && e.What != "answers again" ||
			e.Kind == ha.RecordHistory && e.What != "fits" || e.Kind == ha.RecordStream && e.What == "ended" || e.Kind == ha.RecordPostgres ||
			e.Kind == ha.RecordGuardian
		if key := string(e.Kind) + e.What; wrong && !seen[key] {
			seen[key] = true
			list = append(list, e)
		}
	}
	return list
}

// promotion tells why the member was not promoted the last time, and what it
// would do if the leader died now.
func (s *Story) promotion(w *World, l *Ledgers, name string) {
	if all := l.tenures(); len(all) > 1 {
		c := l.change(newStory(""), all, len(all)-1)
		why := ""
		if name != c.leader && name != c.old {
			why = c.notPromoted(name)
		}
		switch {
		case name == c.old:
			s.say("It led until %s took over at %s.", c.leader, l.date(c.from))
		case why != "":
			s.Values.Set("not_promoted", why)
			s.say("When %s became the leader at %s, %s did not because: %s.", c.leader, l.date(c.from), name, why)
		}
	}
	leader := w.Cluster.LeaderName()
	verdicts := w.race(leader)
	i := slices.IndexFunc(verdicts, func(v verdict) bool { return v.name == name })
	if i < 0 {
		return
	}
	s.Values.Set("would_lead", verdicts[i].wins)
	when := "If " + leader + " died now"
	if leader == "" {
		when = "As nobody leads now"
	}
	if verdicts[i].wins {
		s.say("%s, %s would go for the leader key.", when, name)
		return
	}
	s.say("%s, %s would not be promoted: %s.", when, name, strings.Join(verdicts[i].why, "; "))
}
