package lease

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func held(t *testing.T) *Lease {
	t.Helper()
	l := &Lease{Terms: Terms{TTL: 30 * time.Second, LoopWait: 10 * time.Second}}
	e := l.Handle(100*time.Second, Acquired{Sent: 100 * time.Second, TTL: 30 * time.Second, Epoch: 7})
	arm, ok := e[0].(Arm)
	if !ok {
		t.Fatalf("acquiring gave %v, want Arm", e)
	}
	l.Handle(100*time.Second, Acked{arm.Seq})
	if l.State() != Held {
		t.Fatal("not held after the acknowledgement")
	}
	return l
}

func TestOverdueRenewalWithoutPermitDoesNotAskForThePast(t *testing.T) {
	l := held(t)
	// The loop was frozen: the renewal was due at 105 s, the permit ended at 110 s.
	now := 112 * time.Second
	if e := l.Handle(now, Tick{}); len(e) != 0 {
		t.Fatalf("renews without a permit: %v", e)
	}
	if at := l.WakeAt(); at <= now {
		t.Errorf("WakeAt is %s at %s: the loop would spin", at, now)
	}
	if e := l.Handle(now, Permit{}); len(e) != 1 {
		t.Errorf("the permit came and nothing was renewed: %v", e)
	}
}

// twin is the naive account of what may be believed: the last acknowledged
// deadline that a grant in an unchanged epoch, or an acquisition, allows.
type twin struct {
	deadline Instant
	told     map[uint64]Instant
	sent     map[uint64]Instant
	epoch    uint64
}

func TestRandomEventsNeverGiveMoreThanTheTwinAllows(t *testing.T) {
	const ttl = 30 * time.Second
	rapid.Check(t, func(t *rapid.T) {
		l := &Lease{Terms: Terms{TTL: ttl, LoopWait: 10 * time.Second}}
		w := twin{told: map[uint64]Instant{}, sent: map[uint64]Instant{}}
		now := 100 * time.Second
		var attempts []uint64
		var seqs []uint64
		take := func(effects []Effect, grant Instant) {
			for _, e := range effects {
				switch e := e.(type) {
				case Renew:
					attempts = append(attempts, e.Attempt)
					w.sent[e.Attempt] = now
				case Arm:
					if e.Deadline > grant {
						t.Fatalf("tells the guardian %s, the grant allows %s", e.Deadline, grant)
					}
					w.told[e.Seq] = e.Deadline
					seqs = append(seqs, e.Seq)
				case Lost:
					w.deadline = 0
				}
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			now += time.Duration(rapid.Int64Range(0, int64(8*time.Second)).Draw(t, "pause"))
			grant := Instant(0)
			take(l.Handle(now, Tick{}), 0)
			switch rapid.IntRange(0, 8).Draw(t, "event") {
			case 0:
				if l.State() != None && !l.KeyGone() {
					continue // nobody acquires what he holds
				}
				sent := now - time.Duration(rapid.Int64Range(0, int64(5*time.Second)).Draw(t, "took"))
				w.epoch = rapid.Uint64Range(1, 2).Draw(t, "epoch")
				grant = sent + ttl - Margin(ttl)
				take(l.Handle(now, Acquired{Sent: sent, TTL: ttl, Epoch: w.epoch}), grant)
			case 1, 2:
				if len(attempts) == 0 {
					continue
				}
				n := rapid.SampledFrom(attempts).Draw(t, "attempt")
				epoch := rapid.Uint64Range(1, 2).Draw(t, "epoch")
				if epoch == w.epoch {
					grant = w.sent[n] + ttl - Margin(ttl)
				}
				live := l.attempt == n
				take(l.Handle(now, Renewed{Attempt: n, TTL: ttl, Epoch: epoch}), grant)
				if live {
					w.epoch = epoch
				}
			case 3:
				if len(seqs) == 0 {
					continue
				}
				n := rapid.SampledFrom(seqs).Draw(t, "seq")
				if d := w.told[n]; now < d && l.State() != None {
					w.deadline = max(w.deadline, d)
				}
				take(l.Handle(now, Acked{n}), 0)
			case 4:
				loop := rapid.SampledFrom([]Event{Permit{}, Cycle{}}).Draw(t, "loop")
				take(l.Handle(now, loop), 0)
			case 5:
				if len(attempts) > 0 {
					take(l.Handle(now, Failed{rapid.SampledFrom(attempts).Draw(t, "attempt")}), 0)
				}
			case 6:
				if len(attempts) > 0 {
					other := rapid.Bool().Draw(t, "byOther")
					take(l.Handle(now, Refused{rapid.SampledFrom(attempts).Draw(t, "attempt"), other}), 0)
				}
			case 7:
				take(l.Handle(now, Tick{}), 0)
			case 8:
				switch rapid.IntRange(0, 9).Draw(t, "rare") {
				case 0:
					take(l.Handle(now, Released{}), 0)
					w.deadline = 0
				case 1:
					take(l.Handle(now, Taken{}), 0)
				case 2:
					take(l.Handle(now, ClockJumped{}), 0)
				}
				take(l.Handle(now, Tick{}), 0)
			}
			if l.Holds(now) && now >= w.deadline {
				t.Fatalf("holds at %s, the last acknowledged deadline is %s", now, w.deadline)
			}
			if l.Deadline() > w.deadline {
				t.Fatalf("believes %s, acknowledged is %s", l.Deadline(), w.deadline)
			}
			if at := l.WakeAt(); at != 0 && at <= now {
				t.Fatalf("WakeAt is %s at %s: the loop would spin", at, now)
			}
		}
	})
}

func TestLease(t *testing.T) {
	at := func(s float64) Instant { return time.Duration(s * float64(time.Second)) }
	renewal := func(t *testing.T, l *Lease, now Instant) uint64 {
		t.Helper()
		for _, e := range l.Handle(now, Permit{}) {
			if r, ok := e.(Renew); ok {
				return r.Attempt
			}
		}
		t.Fatalf("nothing is renewed at %s", now)
		return 0
	}
	t.Run("counts from when the request was sent", func(t *testing.T) {
		l := held(t)
		n := renewal(t, l, at(105))
		e := l.Handle(at(108), Renewed{Attempt: n, TTL: 30 * time.Second, Epoch: 7})
		if len(e) == 0 || e[0].(Arm).Deadline != at(132) {
			t.Errorf("got %v, want a deadline of 105 + 30 - 3 s", e)
		}
	})
	t.Run("a renewal due within half an interval goes along with the cycle", func(t *testing.T) {
		renews := func(l *Lease, now Instant) bool {
			for _, e := range l.Handle(now, Cycle{}) {
				if _, ok := e.(Renew); ok {
					return true
				}
			}
			return false
		}
		if l := held(t); renews(l, at(102.4)) || l.WakeAt() != at(105) {
			t.Errorf("more than half an interval early, or the next wake-up is %s instead of 105 s", l.WakeAt())
		}
		if !renews(held(t), at(102.6)) {
			t.Error("one that is due in 2.4 s of 5 waits for a wake-up of its own")
		}
		l := held(t)
		renewal(t, l, at(105))
		if renews(l, at(107)) {
			t.Error("a second renewal beside the one under way")
		}
	})
	t.Run("renewal counts only when the guardian has acknowledged it", func(t *testing.T) {
		l := held(t)
		n := renewal(t, l, at(105))
		e := l.Handle(at(106), Renewed{Attempt: n, TTL: 30 * time.Second, Epoch: 7})
		if l.Deadline() != at(127) {
			t.Errorf("deadline %s before the acknowledgement, want the old one", l.Deadline())
		}
		l.Handle(at(106), Acked{e[0].(Arm).Seq})
		if l.Deadline() != at(132) {
			t.Errorf("deadline %s after it, want 132 s", l.Deadline())
		}
	})
	t.Run("another epoch counts only the second time", func(t *testing.T) {
		l := held(t)
		n := renewal(t, l, at(105))
		e := l.Handle(at(106), Renewed{Attempt: n, TTL: 30 * time.Second, Epoch: 8})
		r, ok := e[0].(Renew)
		if !ok {
			t.Fatalf("got %v, want another renewal at once", e)
		}
		if e = l.Handle(at(107), Renewed{Attempt: r.Attempt, TTL: 30 * time.Second, Epoch: 8}); len(e) == 0 {
			t.Error("the second proof in the new epoch does not count")
		}
	})
	t.Run("a shorter grant is what counts", func(t *testing.T) {
		l := held(t)
		n := renewal(t, l, at(105))
		e := l.Handle(at(106), Renewed{Attempt: n, TTL: 20 * time.Second, Epoch: 7})
		if e[0].(Arm).Deadline != at(123) {
			t.Errorf("got %v, want 105 + 20 - 2 s", e)
		}
	})
	t.Run("is lost at once when another holds the key", func(t *testing.T) {
		l := held(t)
		e := l.Handle(at(106), Refused{Attempt: renewal(t, l, at(105)), ByOther: true})
		if len(e) != 1 || e[0] != Effect(Lost{TakenByOther}) {
			t.Errorf("got %v", e)
		}
	})
	t.Run("runs on until its deadline when the key is gone", func(t *testing.T) {
		l := held(t)
		l.Handle(at(106), Refused{Attempt: renewal(t, l, at(105))})
		if !l.KeyGone() || !l.Holds(at(120)) {
			t.Error("a missing key ended the lease")
		}
	})
	t.Run("gives way shortly before the deadline", func(t *testing.T) {
		l := held(t)
		if e := l.Handle(at(126.6), Tick{}); len(e) != 0 {
			t.Errorf("at 126.6 s: %v", e)
		}
		if e := l.Handle(at(126.7), Tick{}); len(e) != 1 || e[0] != Effect(Lost{Expired}) {
			t.Errorf("at 126.7 s: %v", e)
		}
	})
	t.Run("an acknowledgement that comes too late gives no right", func(t *testing.T) {
		l := &Lease{Terms: Terms{TTL: 30 * time.Second, LoopWait: 10 * time.Second}}
		e := l.Handle(at(100), Acquired{Sent: at(100), TTL: 30 * time.Second, Epoch: 1})
		l.Handle(at(127), Acked{e[0].(Arm).Seq})
		if l.State() == Held {
			t.Error("held")
		}
	})
	t.Run("a clock that jumped leaves one margin", func(t *testing.T) {
		l := held(t)
		e := l.Handle(at(101), ClockJumped{})
		if l.Deadline() != at(104) || len(e) != 1 {
			t.Errorf("deadline %s, effects %v; want 104 s and a renewal", l.Deadline(), e)
		}
	})
}
