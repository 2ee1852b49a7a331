//go:build linux

package demo

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func leader(name string, timeline int) status {
	return status{name: name, wanted: true, etcd: true, reached: true, server: true, state: "running", role: "primary", leader: true, timeline: timeline}
}

func replica(name string, timeline int) status {
	return status{name: name, wanted: true, etcd: true, reached: true, server: true, state: "running", role: "replica", stream: "streaming", timeline: timeline}
}

func down(name string) status { return status{name: name} }

func frozen(s status) status {
	s.frozen, s.reached, s.leader = true, false, false
	return s
}

func replaced(s status) status { s.replaced = true; return s }

func led(s status) status { s.led = true; return s }

func fenced(s status) status { s.server = false; return s }

func cut(s status) status { s.stream = ""; return s }

func TestStoryTellsWhatChanged(t *testing.T) {
	t.Parallel()
	whole := picture{leader("n1", 1), replica("n2", 1), replica("n3", 1)}
	gone := status{name: "n1", wanted: true, etcd: true}
	for _, c := range []struct {
		name          string
		before, after picture
		want          []string
	}{
		{"nothing", whole, whole, nil},
		{"leader crashes", whole, picture{down("n1"), cut(replica("n2", 1)), replica("n3", 1)},
			[]string{"nobody leads", "n2 has lost its connection to the leader"}},
		{"another leads", picture{down("n1"), replica("n2", 1), cut(replica("n3", 1))}, picture{down("n1"), leader("n2", 2), replica("n3", 2)},
			[]string{"n2 leads now, on timeline 2: it accepts writes", "n3 streams from the leader"}},
		{"second primary", picture{led(frozen(leader("n1", 1))), replica("n2", 1), replica("n3", 1)}, picture{led(frozen(leader("n1", 1))), leader("n2", 2), replica("n3", 2)},
			[]string{"n2 leads now, on timeline 2: it accepts writes", "n1: its PostgreSQL runs on as if it led, and what is written there is lost after `thaw`"}},
		{"fenced", picture{frozen(leader("n1", 1)), replica("n2", 1), replica("n3", 1)}, picture{fenced(frozen(leader("n1", 1))), replica("n2", 1), replica("n3", 1)},
			[]string{"n1: its guardian has killed PostgreSQL, because the frozen agent could not renew the lease"}},
		{"hung agent replaced", picture{frozen(leader("n1", 1)), replica("n2", 1), replica("n3", 1)}, picture{replaced(leader("n1", 1)), replica("n2", 1), replica("n3", 1)},
			[]string{"n1 leads now, on timeline 1: it accepts writes",
				"n1: its guardian has ended the agent that hung and started a new one; PostgreSQL was not touched"}},
		{"leader does not answer", whole, picture{gone, replica("n2", 1), replica("n3", 1)}, []string{"nobody leads", "n1 does not answer"}},
		{"no majority", whole, picture{leader("n1", 1), down("n2"), down("n3")},
			[]string{"only 1 of 3 etcd members run, which is no majority: soon nobody may lead"}},
		{"majority again", picture{replica("n1", 1), down("n2"), down("n3")}, picture{replica("n1", 1), replica("n2", 1), down("n3")},
			[]string{"most etcd members run again", "n2 streams from the leader"}},
	} {
		if got := tell(c.before, c.after); !slices.Equal(got, c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", c.name, got, c.want)
		}
	}
}

func TestHealthyIsOneLeaderAndEverybodyElseBehindIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		p    picture
		want bool
	}{
		{"whole", picture{leader("n1", 1), replica("n2", 1), replica("n3", 1)}, true},
		{"one is down on purpose", picture{leader("n1", 1), replica("n2", 1), down("n3")}, true},
		{"one is frozen", picture{leader("n1", 1), replica("n2", 1), frozen(replica("n3", 1))}, true},
		{"one should run and does not", picture{leader("n1", 1), replica("n2", 1), {name: "n3", wanted: true}}, false},
		{"nobody leads", picture{replica("n1", 1), replica("n2", 1), replica("n3", 1)}, false},
		{"two lead", picture{leader("n1", 1), leader("n2", 2), replica("n3", 1)}, false},
		{"former timeline", picture{leader("n1", 2), replica("n2", 1), replica("n3", 2)}, false},
		{"not streaming", picture{leader("n1", 1), cut(replica("n2", 1)), replica("n3", 1)}, false},
		{"no majority of etcd", picture{leader("n1", 1), down("n2"), down("n3")}, false},
		{"nothing", nil, false},
	} {
		if got := c.p.healthy(); got != c.want {
			t.Errorf("%s: healthy %v, want %v", c.name, got, c.want)
		}
	}
}

func TestSummaryNamesEveryNode(t *testing.T) {
	t.Parallel()
	p := picture{leader("n1", 1), replica("n2", 1), replica("n3", 1), frozen(replica("n4", 1)), down("n5")}
	if got, want := p.summary(), "n1 leads, n2 and n3 stream, n4 is frozen, n5 is down"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func growing(tty bool) (*growth, *bytes.Buffer) {
	var b bytes.Buffer
	p := plan{Nodes: 2}
	return newGrowth(&screen{w: &b, tty: tty, width: func() int { return 60 }}, p.nodes()), &b
}

func TestLineGrowsForwardsOnly(t *testing.T) {
	t.Parallel()
	g, _ := growing(true)
	for _, phrase := range []string{etcdUp, idle, etcdUp, idle, "base backup of the leader", idle, "PostgreSQL starts", "streaming"} {
		g.step(0, phrase, phrase == "streaming")
	}
	want := []string{starting, etcdUp, idle, "base backup of the leader", "PostgreSQL starts", "streaming"}
	if !slices.Equal(g.steps[0], want) {
		t.Errorf("got %q, want %q", g.steps[0], want)
	}
	line := g.line(0, 60)
	if n := utf8.RuneCountInString(line); n >= 60 || !strings.Contains(line, "streaming") || !strings.Contains(line, "…") || !strings.HasSuffix(line, " s") {
		t.Errorf("%d columns of 60: %q", n, line)
	}
	if line := g.line(0, 12); utf8.RuneCountInString(line) > 24 {
		t.Errorf("narrow: %q", line)
	}
}

func TestTerminalIsRedrawnAndAFileIsNot(t *testing.T) {
	t.Parallel()
	whole := picture{leader("n1", 1), replica("n2", 1)}
	g, out := growing(true)
	g.began = time.Now().Add(-2 * time.Second)
	g.see(whole)
	if s := out.String(); strings.Count(s, "\n") != 4 || !strings.Contains(s, "\x1b[2A") || !strings.Contains(s, "starting → leader  2.0 s") {
		t.Errorf("terminal: %q", s)
	}
	g, out = growing(false)
	g.see(whole)
	g.see(whole)
	if got, want := out.String(), "  0.0 s  n1: starting\n  0.0 s  n2: starting\n  0.0 s  n1: leader\n  0.0 s  n2: streaming\n"; got != want {
		t.Errorf("file: %q", got)
	}
}
