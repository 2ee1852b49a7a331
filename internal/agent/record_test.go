package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tamada/internal/ha"
)

func TestEssenceIgnoresWhatMovesAndKeepsNames(t *testing.T) {
	t.Parallel()
	same := func(a, b ha.Record, want bool) {
		t.Helper()
		if got := essence(&a) == essence(&b); got != want {
			t.Errorf("%+v and %+v the same: %v", a, b, got)
		}
	}
	wait := func(why string, notes ...string) ha.Record {
		return ha.Record{Kind: ha.RecordRefusal, What: "Wait", Why: why, Notes: notes}
	}
	same(wait("PostgreSQL is still starting up, 299 seconds until timeout"), wait("PostgreSQL is still starting up, 3 seconds until timeout"), true)
	same(wait("", "it is at 0/3000060 (0/3000028)"), wait("", "it is at A/3000060 (1/1)"), false) // begins with a letter: seldom, and no harm
	same(wait("", "it is at 0/30000A0 (0/3000028)"), wait("", "it is at 1/30B0060 (1/1)"), true)
	same(wait("", "Wal position of n1 is ahead"), wait("", "Wal position of n2 is ahead"), false)
	same(wait("a - b"), wait("a ( b"), false)
	same(ha.Record{Kind: ha.RecordLeader, Member: "1"}, ha.Record{Kind: ha.RecordLeader, Member: "2"}, false)
}

// TestEndlessRepetitionIsRecordedEverMoreRarely: what happens each second for a
// day leaves few records, and the count of all of them.
func TestEndlessRepetitionIsRecordedEverMoreRarely(t *testing.T) {
	t.Parallel()
	var r recorder
	records, left := 0, 0
	const day = 24 * 3600
	for s := range day {
		for _, what := range []string{"start", "failed"} {
			repeats, ok := r.admit(time.Duration(s)*time.Second, what, againDecided)
			if ok {
				records++
				left += repeats
			}
		}
	}
	if records > 2*(day/600+20) {
		t.Errorf("%d records of two things that went on for a day", records)
	}
	if left+records < 2*(day-600) {
		t.Errorf("%d records tell of %d repetitions, of %d", records, left, 2*day)
	}
	// After a time of rest it is news again, and as often as at first.
	now := time.Duration(day+3600*3) * time.Second
	r.admit(now, "start", againDecided)
	if _, ok := r.admit(now+againDecided, "start", againDecided); !ok {
		t.Error("still as rare after hours of rest")
	}
}

func TestLeaderKeyIsNeverLeftOut(t *testing.T) {
	t.Parallel()
	a := New(Config{Name: "n1"})
	for i := range 10 {
		a.recordLeader(fmt.Sprint("n", i%2), fmt.Sprint("n", (i+1)%2+2), false)
	}
	a.happened(ha.RecordLease, "acquired", "")
	a.happened(ha.RecordLease, "acquired", "")
	if n := len(a.out); n != 12 {
		t.Errorf("%d records", n)
	}
}

// TestDecisionIsRecordedWithItsFacts: once, and not what only looks or waits.
func TestDecisionIsRecordedWithItsFacts(t *testing.T) {
	t.Parallel()
	a := New(Config{Name: "n1"})
	v := a.view()
	o := ha.Outcome{Do: ha.Demote{Mode: ha.DemoteGraceful, Action: "switchover"}, Line: "switchover: demoting myself",
		Notes: []ha.Note{{Text: "Lock owner: n1; I am n1"}, {Text: "Member n3 is not reachable"}}}
	a.recordDecision(v, &o)
	a.recordDecision(v, &o) // again at once
	quiet := ha.Outcome{Do: ha.Wait{}, Line: "no action. I am (n1), a secondary, and following a leader (n2)"}
	a.recordDecision(v, &quiet)
	a.recordDecision(v, &quiet)
	a.recordDecision(v, &ha.Outcome{Do: ha.PollPeers{}})
	a.recordDecision(v, &ha.Outcome{Do: ha.Wait{}})
	var got []string
	for _, e := range a.out {
		r := e.(Record).Record
		if r.Facts == nil || r.Facts.TTL != 30 {
			t.Errorf("%+v without facts", r)
		}
		got = append(got, fmt.Sprint(r.Kind, " ", r.What, " ", r.Action, " ", r.Notes))
	}
	want := "decision Demote switchover [Member n3 is not reachable], wait Wait  []"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("recorded %s, want %s", s, want)
	}
}
