//go:build linux

package demo

import (
	"fmt"
	"strings"
)

// phrase is what a node is doing, in a few words; "" where nothing can be said.
func (s *status) phrase() string {
	switch {
	case s.frozen:
		return "frozen"
	case !s.reached && !s.wanted:
		return "down"
	case !s.reached && !s.etcd:
		return starting
	case !s.reached:
		return etcdUp
	case s.leader:
		return "leader"
	case s.role == "replica" && s.stream == "streaming":
		return "streaming"
	case s.state == "running" && s.role == "replica":
		return "PostgreSQL is up"
	case s.state == "running":
		return "primary without the lock"
	}
	return stateWords(s.state)
}

// The phrases before anything happens. idle is a node whose PostgreSQL does not
// run: it waits for the store, for a leader, or for its turn.
const (
	starting = "starting"
	etcdUp   = "etcd is up"
	idle     = "waits"
)

// stateWords are the published states as somebody new to them understands them.
func stateWords(state string) string {
	switch state {
	case "initializing new cluster":
		return "initdb"
	case "creating replica":
		return "base backup of the leader"
	case "starting", "starting after custom bootstrap", "restarting":
		return "PostgreSQL starts"
	case "stopping":
		return "PostgreSQL stops"
	case "stopped", "":
		return idle
	case "crashed":
		return "PostgreSQL has crashed"
	}
	return state
}

// tell says what changed from one picture to the next, a sentence for each. The
// leader comes first: it is what everybody looks for.
func tell(before, after picture) (lines []string) {
	was, is := before.leader(), after.leader()
	switch {
	case before.majority() && !after.majority():
		lines = append(lines, fmt.Sprintf("only %d of %d etcd members run, which is no majority: soon nobody may lead", after.members(), len(after)))
	case !before.majority() && after.majority() && len(before) > 0:
		lines = append(lines, "most etcd members run again")
	}
	switch {
	case is != nil && (was == nil || was.name != is.name):
		lines = append(lines, fmt.Sprintf("%s leads now, on timeline %d: it accepts writes", is.name, is.timeline))
	case is == nil && was != nil:
		lines = append(lines, "nobody leads")
	}
	for i := range after {
		if a := &after[i]; is != nil && (was == nil || was.name != is.name) && a.frozen && a.led && a.server {
			lines = append(lines, a.name+": its PostgreSQL runs on as if it led, and what is written there is lost after `thaw`")
		}
		if line := tellNode(&before[i], &after[i]); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

func tellNode(b, a *status) string {
	switch {
	case b.server && !a.server && a.frozen:
		return a.name + ": its guardian has killed PostgreSQL, because the frozen agent could not renew the lease"
	case !b.replaced && a.replaced:
		return a.name + ": its guardian has ended the agent that hung and started a new one" + untouched(b, a)
	case a.frozen || !a.wanted:
		return "" // said when it was done
	case !a.reached && (b.leader || b.phrase() == "streaming"):
		return a.name + " does not answer"
	case !a.reached || a.leader:
		return ""
	case a.phrase() == b.phrase():
		return ""
	case a.phrase() == "streaming":
		return a.name + " streams from the leader"
	case b.phrase() == "streaming" && a.phrase() == "PostgreSQL is up":
		return a.name + " has lost its connection to the leader"
	case b.leader && a.role == "primary":
		return a.name + " has lost the lock"
	}
	return a.name + ": " + a.phrase()
}

func untouched(b, a *status) string {
	if b.server && a.server {
		return "; PostgreSQL was not touched"
	}
	return ""
}

// summary is the cluster in one line.
func (p picture) summary() string {
	var followers, others []string
	l := p.leader()
	for i := range p {
		s := &p[i]
		switch {
		case s == l:
		case l != nil && s.follows(l):
			followers = append(followers, s.name)
		default:
			others = append(others, s.name+" "+s.afar())
		}
	}
	parts := make([]string, 0, 3)
	if l == nil {
		parts = append(parts, "nobody leads")
	} else {
		parts = append(parts, l.name+" leads")
	}
	switch len(followers) {
	case 0:
	case 1:
		parts = append(parts, followers[0]+" streams")
	default:
		parts = append(parts, strings.Join(followers, " and ")+" stream")
	}
	return strings.Join(append(parts, others...), ", ")
}

// afar is how a node that neither leads nor follows is.
func (s *status) afar() string {
	switch {
	case s.frozen:
		return "is frozen"
	case !s.wanted:
		return "is down"
	case !s.reached:
		return "does not answer"
	}
	return "is not there yet (" + s.phrase() + ")"
}
