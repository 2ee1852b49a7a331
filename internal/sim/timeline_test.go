package sim

import (
	"testing"
	"time"
)

// R has received everything of the present timeline, and its replay stands still
// before the switch to it. L has less. When the primary dies R must be promoted: L
// would lose what R has.
func TestWhatWasReceivedAndNotReplayedIsNotLost(t *testing.T) {
	t.Parallel()
	const ttl = 30 * sec
	for _, x := range []struct {
		name string
		then func(w *World, r *machine) // soon after the primary's end
		// soon and late are who leads just before one ttl after the key was gone, and
		// after it. That L leads after all is what the invariant complains about, and
		// rightly so: it is the price for a leader at all.
		soon, late string
	}{
		{"the agent remembers", func(*World, *machine) {}, "R", "R"},
		{"a new agent does not know", func(_ *World, r *machine) { r.agent.crash() }, "", "L"},
		{"a new agent, and replay goes on in time", func(w *World, r *machine) {
			r.agent.crash()
			r.heldUntil = w.now + ttl + 10*sec
		}, "R", "R"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			w, r, l := replayHeld(t)
			advance(t, w, 5*sec)
			x.then(w, r)
			names := map[string]string{r.name: "R", l.name: "L"}
			for at := w.now + ttl; w.store.leader() != "" && w.now < at; {
				advance(t, w, sec/10)
			}
			advance(t, w, ttl-sec)
			if got := names[w.store.leader()]; got != x.soon {
				t.Errorf("%q leads before one ttl is over, want %q\n%s", got, x.soon, w.lastLines())
			}
			w.until(w.now + 20*sec)
			if lost := w.fatal != nil && w.fatal.Invariant == "the most advanced replica leads"; lost != (x.late == "L") || !lost && w.fatal != nil {
				t.Errorf("%+v\n%s", w.fatal, w.lastLines())
			}
			if got := names[w.store.leader()]; got != x.late {
				t.Errorf("%q leads at last, want %q\n%s", got, x.late, w.lastLines())
			}
		})
	}
}

func advance(t *testing.T, w *World, d time.Duration) {
	t.Helper()
	end := w.now + d
	w.until(end)
	w.now = end
	if w.fatal != nil {
		t.Fatalf("%s: %s\n%s", w.fatal.Invariant, w.fatal.Text, w.lastLines())
	}
}

// replayHeld is the moment in which the primary of timeline 2 dies: r is on
// timeline 2 and ahead of l, and has replayed timeline 1 only. Not every seed leads
// there.
func replayHeld(t *testing.T) (w *World, r, l *machine) {
	t.Helper()
	for seed := uint64(1); seed <= 50; seed++ {
		if w, r, l = tryReplayHeld(t, seed); w != nil {
			return w, r, l
		}
	}
	t.Fatal("no seed leads to the moment that this test is about")
	return nil, nil, nil
}

func tryReplayHeld(t *testing.T, seed uint64) (w *World, r, l *machine) {
	t.Helper()
	o := FromSeed(seed)
	three(&o)
	o.Pause, o.Faulty, o.CheckTimeline, o.MaximumLag, o.FollowRestarts = 0, time.Hour, true, 1<<40, false
	o.Local.UsePgRewind = true
	w = newWorld(o)
	advance(t, w, 60*sec)
	first := w.machine(w.store.leader())
	if first == nil {
		return nil, nil, nil
	}
	for _, m := range w.machines {
		if m != first {
			r = m
		}
	}
	r.heldUntil, r.slowUntil = w.now+time.Hour, w.now+3*sec
	advance(t, w, 2*sec)
	w.crash(first, 60*sec)
	advance(t, w, 120*sec)
	second := w.machine(w.store.leader())
	l = first
	if second == nil || second == r || second == first {
		return nil, nil, nil
	}
	l.slowUntil = w.now + 10*sec
	advance(t, w, 3*sec)
	w.crash(second, time.Hour)
	if r.pg == nil || r.disk.at.br.tli != 2 || r.pg.replayed.br.tli != 1 || l.disk.at.br.tli != 2 || r.disk.at.lsn <= l.disk.at.lsn {
		return nil, nil, nil
	}
	return w, r, l
}
