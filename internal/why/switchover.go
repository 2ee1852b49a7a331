package why

import (
	"strings"

	"tamada/internal/cluster"
	"tamada/internal/ha"
	"tamada/internal/ha/candidate"
)

// Switchover tells what keeps the cluster from switching over now, to a candidate
// or, with "", to whoever is best.
func Switchover(w *World, name string) *Story {
	s := newStory("what keeps the cluster from switching over")
	leader := w.Cluster.LeaderName()
	s.Values.Set("leader", leader)
	s.Values.Set("candidate", nil)
	if name != "" {
		s.Values.Set("candidate", name)
	}
	why, heirs := w.obstacles(leader, name)
	s.Values.Set("possible", len(why) == 0)
	s.Values.Set("obstacles", anys(why))
	s.Facts = w.candidates(w.race(leader), leader, "(leads)")
	s.Facts.Columns[7] = "Could lead"
	if len(why) > 0 {
		s.say("The cluster cannot switch over now.")
		for _, x := range why {
			s.say("%s.", strings.TrimSuffix(x, "."))
		}
	} else {
		s.say("Nothing keeps the cluster from switching over: %s would stop, and %s would take over.", leader, list(heirs, "or"))
		s.Values.Set("heirs", anys(heirs))
	}
	if f := w.Cluster.Failover; f.Pending() {
		text := "A request is in the store already"
		for _, p := range [][2]string{{"from", f.Leader}, {"to", f.Candidate}, {"at", f.ScheduledAt}} {
			if p[1] != "" {
				text += ", " + p[0] + " " + p[1]
			}
		}
		s.say("%s; another one would replace it.", text)
	}
	return s
}

// obstacles are the reasons against a switchover, and who would lead after it if
// there are none. The leader's answer is the decision core's, as if the request
// were in the store.
func (w *World) obstacles(leader, name string) (why, heirs []string) {
	st := w.status(leader)
	switch {
	case leader == "":
		return []string{"Nobody leads: a switchover needs a leader that can stop in order. `failover --candidate` is for this"}, nil
	case st.Err != "":
		return []string{"The agent of the leader " + leader + " does not answer (" + st.Err + "): it has to take part. `failover --candidate` is for this"}, nil
	case name != "" && w.Cluster.Member(name) == nil:
		return []string{"There is no member " + name}, nil
	}
	c := *w.Cluster
	c.Failover = &cluster.Failover{Leader: leader, Candidate: name, Version: 1}
	v := w.leading(leader, &c, w.Cluster)
	o := ha.Decide(v)
	if d, ok := o.Do.(ha.Demote); ok && d.Mode == ha.DemoteGraceful {
		return nil, w.heirs(leader, name)
	}
	r, _ := ha.RecordOf(v, &o)
	if len(r.Notes) == 0 {
		r.Notes = []string{"The leader " + leader + " does something else first: " + r.Why}
	}
	for _, n := range r.Notes {
		if n != "Cleaning up failover key" { // is what it would do, no reason
			why = append(why, n)
		}
	}
	return append(why, w.unfit(leader, name)...), nil
}

// heirs are those of whom one leads after the switchover: who could have it all
// and would then go for the key.
func (w *World) heirs(leader, name string) (names []string) {
	after := *w.Cluster
	after.Leader = nil
	after.Failover = &cluster.Failover{Leader: leader, Candidate: name, Version: 1}
	for _, m := range after.Members {
		if m.Name != leader && w.judge(w.view(m.Name, &after, w.Cluster, leader)).wins {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 { // behind each other in the moment of asking; the shutdown brings them level
		return []string{"the first to have received everything"}
	}
	return names
}

// unfit tells for each member that may not lead at all why not: the leader does
// not even ask those.
func (w *World) unfit(leader, name string) (why []string) {
	for _, m := range w.Cluster.Members {
		if m.Name == leader || name != "" && m.Name != name {
			continue
		}
		a := candidate.Answer{Name: m.Name, Reachable: true, Tags: m.Tags}
		switch {
		case a.Limitation() != "":
			why = append(why, "Member "+m.Name+" is "+a.Limitation()+" (tags nofailover, failover_priority)")
		case m.APIURL == "":
			why = append(why, "Member "+m.Name+" has no address at which it could be asked")
		case w.status(m.Name).Err != "":
			why = append(why, "Member "+m.Name+" does not answer: "+w.status(m.Name).Err)
		}
	}
	if len(w.Cluster.Members) < 2 {
		why = append(why, "There is no other member than the leader")
	}
	return why
}
