//go:build linux

package node

import (
	"testing"
	"time"
)

func TestEtcdLeaderIsLookedAtOnlyInCalmAndRarely(t *testing.T) {
	t.Parallel()
	var turn etcdTurn
	at := func(now time.Duration, holds, want bool) {
		t.Helper()
		if got := turn.due(now, holds); got != want {
			t.Errorf("at %s with the lock %v: due %v, want %v", now, holds, got, want)
		}
	}
	const taken = time.Hour
	at(taken-time.Second, false, false)
	at(taken, true, false)
	at(taken+etcdCalm-1, true, false)
	at(taken+etcdCalm, true, true)
	at(taken+etcdCalm+time.Second, true, false)
	at(taken+etcdCalm+etcdLook, true, true)
	// The lock was away in between: calm counts anew, and then there is a look at
	// once, however short ago the last one was.
	again := taken + etcdCalm + etcdLook + time.Second
	at(again, false, false)
	at(again+time.Second, true, false)
	at(again+time.Second+etcdCalm-1, true, false)
	at(again+time.Second+etcdCalm, true, true)
}
