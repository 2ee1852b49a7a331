package lease

import (
	"testing"
	"time"
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
