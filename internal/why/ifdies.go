package why

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha"
	"tamada/internal/ha/candidate"
	"tamada/internal/ha/lease"
)

// IfDies tells what would happen if a member's machine died at this moment: every
// process on it, without a word. The ledgers are asked only for how long the last
// promotion took.
func IfDies(w *World, l Ledgers, name string) *Story {
	s := newStory("what if " + name + " died now")
	s.Values.Set("member", name)
	s.Values.Set("leader", w.Cluster.LeaderName())
	if name != w.Cluster.LeaderName() {
		s.replicaDies(w, name)
		return s
	}
	verdicts := w.race(name)
	s.Facts = w.candidates(verdicts, name, "(dies)")
	winners := wins(verdicts)
	s.Values.Set("winners", anys(winners))
	if len(winners) == 0 {
		s.Values.Set("winner", nil)
		s.say("Nobody would take over from %s: the cluster would accept no writes until %s is back, or an operator decides.", name, name)
	} else {
		s.takesOver(w, &l, name, winners)
	}
	for _, v := range verdicts {
		if !v.wins {
			s.say("%s would not: %s.", v.name, strings.Join(v.why, "; "))
		}
	}
	return s
}

// race is what each survivor would decide once the leader key has expired, by
// name.
func (w *World) race(dead string) []verdict {
	after := without(w.Cluster, dead)
	var verdicts []verdict
	for _, m := range after.Members {
		verdicts = append(verdicts, w.judge(w.view(m.Name, after, w.Cluster, dead)))
	}
	return verdicts
}

func wins(verdicts []verdict) (names []string) {
	for _, v := range verdicts {
		if v.wins {
			names = append(names, v.name)
		}
	}
	return names
}

// takesOver tells of the one who would win, when, and at which cost.
func (s *Story) takesOver(w *World, l *Ledgers, dead string, winners []string) {
	s.Values.Set("winner", winners[0])
	min, max := w.leaseEnds(dead)
	took := l.lastPromotion()
	s.Values.Set("expected_seconds", cluster.NewObject("min", number((min+took).Seconds()), "max", number((max+took).Seconds())))
	who := winners[0] + " would take over"
	if len(winners) > 1 {
		s.Values.Set("winner", nil)
		who = list(winners, "or") + " would take over: they are equally good, and the first to take the leader key wins"
	}
	text := fmt.Sprintf("%s, %s to %s after the death of %s, when its lease has run out", who, secondsText(min), secondsText(max), dead)
	if took > 0 {
		text += fmt.Sprintf("; the last promotion took %s", secondsText(took))
	}
	s.say("%s.", text)
	after := without(w.Cluster, dead)
	if tli := w.promotesTo(winners[0], after, w.Cluster, dead); tli > 0 {
		s.Values.Set("timeline", count(int64(tli)))
		s.say("The cluster would go on with timeline %d.", tli)
	} else {
		s.say("%s would get the leader key, but would not be promoted at once.", winners[0])
	}
	s.loss(w, dead, winners)
}

// loss is what the dead leader has and the worst of those who may win has not.
func (s *Story) loss(w *World, dead string, winners []string) {
	leader, source := w.status(dead).LSN, "it has written up to"
	if leader == 0 {
		leader, source = w.Cluster.Status.LSN, "it does not answer; it was last known to be at"
	}
	least := w.status(slices.MinFunc(winners, func(a, b string) int { return cmp.Compare(w.status(a).LSN, w.status(b).LSN) })).LSN
	lost := candidate.Lag(leader, least)
	s.Values.Set("bytes_lost", count(lost))
	is := "is"
	if len(winners) > 1 {
		is = "are"
	}
	at := fmt.Sprintf("(%s %s, %s %s at %s)", source, leader, list(winners, "and"), is, least)
	if lost == 0 {
		s.say("Nothing would be lost of what %s had written when it was asked %s.", dead, at)
		return
	}
	s.say("Up to %s of WAL that only %s has would be lost %s.", size(lost), dead, at)
}

// leaseEnds is when the leader key of a member that dies now expires: its lease
// was renewed up to one interval ago.
func (w *World) leaseEnds(dead string) (min, max time.Duration) {
	interval := w.Settings.LoopWait
	if m := w.Cluster.Member(dead); m != nil && m.Agent != nil {
		interval = lease.Terms{TTL: w.Settings.TTL, LoopWait: w.Settings.LoopWait}.Interval()
	}
	return w.Settings.TTL - interval, w.Settings.TTL
}

// lastPromotion is how long the last one took that is in the ledgers, 0 when none
// is.
func (l *Ledgers) lastPromotion() time.Duration {
	for _, e := range slices.Backward(l.Entries) {
		if e.Kind == ha.RecordTask && e.What == string(ha.TaskPromote) && e.Error == "" {
			return time.Duration(e.Took * float64(time.Second))
		}
	}
	return 0
}

// replicaDies: the leader leads on. What changes is who follows whom, and who is
// left.
func (s *Story) replicaDies(w *World, name string) {
	leader := w.Cluster.LeaderName()
	after := without(w.Cluster, name)
	s.Values.Set("winner", nil)
	s.Values.Set("bytes_lost", count(0))
	if leader == "" {
		verdicts := w.race(name)
		s.Facts = w.candidates(verdicts, name, "(dies)")
		s.say("Nobody leads now, and %s would not change that by dying.", name)
		s.remaining(wins(verdicts), "Of the others %s could take the leader key.", "None of the others could take the leader key.")
		return
	}
	s.say("%s leads and would go on leading; %s is not needed for that.", leader, name)
	for _, m := range after.Members {
		if m.Name == leader {
			continue
		}
		source := func(c *cluster.Cluster) string {
			if m := ha.FollowSource(w.view(m.Name, c, w.Cluster, name)); m != nil {
				return m.Name
			}
			return "nobody"
		}
		if source(w.Cluster) == name {
			s.say("%s streams from %s, and would follow %s instead.", m.Name, name, source(after))
		}
	}
	if w.Settings.UseSlots && w.Settings.MemberSlotsTTL > 0 {
		s.say("%s would keep WAL for %s for %s (member_slots_ttl).", leader, name, w.Settings.MemberSlotsTTL)
	}
	rest := *w
	rest.Cluster = after
	verdicts := rest.race(leader)
	s.Facts = rest.candidates(verdicts, leader, "(leads)")
	left := wins(verdicts)
	s.Values.Set("successors_left", anys(left))
	s.remaining(left, "After that %s could still take over from "+leader+".", "After that nobody could take over from "+leader+".")
}

func (s *Story) remaining(left []string, some, none string) {
	if len(left) == 0 {
		s.say("%s", none)
		return
	}
	s.say(some, list(left, "or"))
}

// candidates are the members with what they are judged by; label is said of the
// one who leads, or is to die.
func (w *World) candidates(verdicts []verdict, dead, label string) Table {
	t := Table{Columns: []string{"Member", "Role", "State", "LSN", "Behind", "TL", "Priority", "Would lead"}}
	ref := max(w.status(dead).LSN, w.Cluster.Status.LSN)
	for _, m := range w.Cluster.Members {
		st := w.status(m.Name)
		row := []string{m.Name, string(m.Role), string(m.State), "", "", "", "", "no"}
		if st.Err == "" {
			row[1], row[2] = string(st.Role), cmp.Or(st.Replication, string(st.State))
		}
		if st.LSN > 0 {
			row[3], row[4] = st.LSN.String(), fmt.Sprint(candidate.Lag(ref, st.LSN))
		}
		if st.Timeline > 0 {
			row[5] = fmt.Sprint(st.Timeline)
		}
		row[6] = fmt.Sprint(cluster.FailoverPriority(m.Tags))
		if m.Name == dead {
			row[7] = label
		}
		if i := slices.IndexFunc(verdicts, func(v verdict) bool { return v.name == m.Name }); i >= 0 && verdicts[i].wins {
			row[7] = "yes"
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func anys(names []string) []any {
	list := make([]any, len(names))
	for i, n := range names {
		list[i] = n
	}
	return list
}
