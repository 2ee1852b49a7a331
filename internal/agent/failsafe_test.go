package agent

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/ha"
)

// topologyWriter is a leader with failsafe mode on whose writes are not answered.
type topologyWriter struct {
	t *testing.T
	a *Agent
}

func writesTopology(t *testing.T) topologyWriter {
	a, _ := leading(t)
	a.settings.FailsafeMode = true
	a.cfg.Identity.APIURL = "http://n1"
	return topologyWriter{t, a}
}

func topology(members string) *cluster.Object {
	o := &cluster.Object{}
	for _, name := range strings.Fields(members) {
		name, port, _ := strings.Cut(name, ":")
		o.Set(name, "http://"+name+port)
	}
	return o
}

// sees makes the view show these other members, by their member keys, and this key.
// A member may be followed by a colon and what makes its address another.
func (w topologyWriter) sees(members, key string, version cluster.Version) {
	c := *w.a.store.view
	c.Members = nil
	for name, url := range topology(members).All() {
		c.Members = append(c.Members, cluster.Member{Name: name, APIURL: url.(string)})
	}
	c.Failsafe, c.FailsafeVersion = topology(key), version
	w.a.store.view = &c
}

// cycle is what a cycle sends, as names and condition; "" for nothing. Its answer
// does not come in time.
func (w topologyWriter) cycle() (names string, cond dcs.Condition) {
	w.a.out = nil
	w.a.publishFailsafe(w.a.view())
	for _, e := range w.a.out {
		if p, ok := e.(Publish); ok {
			o, err := cluster.ParseObject(p.Value)
			if err != nil {
				w.t.Fatal(err)
			}
			names, cond = strings.Join(slices.Sorted(keysOf(o)), " "), p.Condition
			w.a.published(Published{Key: cluster.KeyFailsafe, Err: errors.New("no answer")})
		}
	}
	return names, cond
}

func keysOf(o *cluster.Object) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range o.All() {
			if !yield(name) {
				return
			}
		}
	}
}

// asked are the addresses that are asked for a promise now.
func (w topologyWriter) asked() string {
	w.a.out = nil
	w.a.askFailsafe(w.a.store.view.Failsafe)
	for _, e := range w.a.out {
		if e, ok := e.(AskFailsafe); ok {
			var urls []string
			for _, url := range e.Members.All() {
				urls = append(urls, strings.TrimPrefix(url.(string), "http://"))
			}
			slices.Sort(urls)
			return strings.Join(urls, " ")
		}
	}
	return "nobody"
}

func (w topologyWriter) wantAsked(want, why string) {
	w.t.Helper()
	if got := w.asked(); got != want {
		w.t.Errorf("asks %s, want %s: %s", got, want, why)
	}
}

// The answer to the last write of the topology was lost, and with it the store:
// whoever came with that write may find itself in the key, and race.
func TestWhoMayBeInTheTopologyIsAskedForAPromise(t *testing.T) {
	t.Parallel()
	w := writesTopology(t)
	w.sees("n2 n3", "n1 n2", 5)
	w.cycle()
	w.wantAsked("n2 n3", "n3 may be in the key")
	w.sees("n2", "n1 n2 n3", 6)
	w.cycle()
	w.wantAsked("n2 n3", "the view shows n3 in the key, although it has gone")
	w.sees("n2", "n1 n2", 7)
	w.cycle()
	w.wantAsked("n2", "the view shows that n3 is not in the key any more")
}

func TestOpenWriteOfTheTopologyIsSettledWhenItsMemberIsGone(t *testing.T) {
	t.Parallel()
	w := writesTopology(t)
	w.sees("n2 n3", "n1 n2", 5)
	w.cycle()
	w.sees("n2", "n1 n2", 5) // n3's member key has expired
	for range 2 {
		if sent, _ := w.cycle(); sent != "n1 n2" {
			t.Fatalf("sends %q, want the topology once more: nothing else tells whether n3 is in the key", sent)
		}
		w.wantAsked("n2 n3", "n3 may still be in the key")
	}
	w.sees("n2", "n1 n2", 8)
	w.wantAsked("n2", "the key was written without n3")
	if sent, _ := w.cycle(); sent != "" {
		t.Errorf("sends %s with nothing to settle", sent)
	}
}

func TestEveryOpenWriteOfTheTopologyCounts(t *testing.T) {
	t.Parallel()
	w := writesTopology(t)
	w.sees("n2 n3", "n1 n2", 5)
	w.cycle()
	w.sees("n2 n4", "n1 n2", 5)
	w.cycle()
	w.wantAsked("n2 n3 n4", "either write may have happened")
	w.sees("n2 n4", "n1 n2 n3", 6)
	w.wantAsked("n2 n3", "the first has happened, so the second never will")
}

func TestMemberIsAskedAtTheAddressThatWasSentLast(t *testing.T) {
	t.Parallel()
	w := writesTopology(t)
	w.sees("n2:new", "n1 n2:old", 5)
	w.cycle()
	w.wantAsked("n2new", "n2 has moved")
	w.sees("n2:newer", "n1 n2:old", 5)
	w.cycle()
	w.wantAsked("n2newer", "n2 has moved again")
}

// A write that was on its way for long must not undo a newer topology.
func TestTopologyIsWrittenOverTheVersionSeen(t *testing.T) {
	t.Parallel()
	w := writesTopology(t)
	w.sees("n2", "", 0)
	if _, cond := w.cycle(); cond != dcs.IfAbsent() {
		t.Errorf("the first topology is written under %v", cond)
	}
	w.sees("n2 n3", "n1 n2", 5)
	if _, cond := w.cycle(); cond != dcs.IfVersion(5) {
		t.Errorf("a topology is written under %v, want version 5", cond)
	}
}

func TestTopologyThatWasChangedMeanwhileIsNoTrouble(t *testing.T) {
	t.Parallel()
	w := writesTopology(t)
	w.sees("n2 n3", "n1 n2", 5)
	w.cycle()
	w.a.out = nil
	w.a.published(Published{Key: cluster.KeyFailsafe, Err: dcs.ErrConflict})
	for _, e := range w.a.out {
		if l, ok := e.(Log); ok && l.Level > ha.Debug {
			t.Errorf("says %q", l.Text)
		}
	}
}
