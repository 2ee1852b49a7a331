package ha

import (
	"testing"
	"time"

	"tamada/internal/cluster"
)

// Two replicas that were asked while WAL still came in may each have seen the
// other a few bytes ahead. Then neither takes the key, and both ask again at once,
// about positions that cannot grow any more, instead of in the next cycle.
func TestReplicasThatSawEachOtherAheadAskAgainAtOnce(t *testing.T) {
	t.Parallel()
	v := view(unlocked, answer("n2", 0), answer("n3", 0))
	behind := v.Peers.Results["n2"]
	behind.Answer.LSN = v.Instance.LSN + 8
	v.Peers.Results["n2"] = behind
	o := Decide(v)
	if _, waits := o.Do.(Wait); !waits || !o.RaceLost || o.Again != v.Now+raceAgain {
		t.Fatalf("%T, race lost %v, again in %v", o.Do, o.RaceLost, o.Again-v.Now)
	}

	v.RaceSince = o.Again // as the agent does
	if o := Decide(v); o.RaceLost || o.Again != v.RaceSince {
		t.Errorf("between two rounds: %T, race lost %v, again in %v", o.Do, o.RaceLost, o.Again-v.Now)
	}
	v.Now = v.RaceSince
	if o := Decide(v); o.Do != (Observe{}) {
		t.Errorf("the next round does not begin with a look at the own position: %T", o.Do)
	}
	v.Instance.ObservedAt = v.Now
	poll, asks := Decide(v).Do.(PollPeers)
	if !asks || len(poll.Members) != 2 {
		t.Errorf("the old answers are used again: %+v", Decide(v).Do)
	}
	v.Instance.LSN += cluster.LSN(16) // what was on its way has come
	for name, r := range v.Peers.Results {
		r.Asked, r.Answered = v.Now, v.Now
		v.Peers.Results[name] = r
	}
	if o := Decide(v); o.Do != (AcquireLeader{}) {
		t.Errorf("%T", o.Do)
	}
}

// A rival on an old timeline that is ahead keeps us back for one ttl after the
// key was gone, however many rounds the race has had since; one that is not of
// ours for longer.
func TestRivalOnAnOldTimelineKeepsOthersBackForOneTTL(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name  string
		since time.Duration // since the key is gone, against ttl
		ours  bool
		want  Decision
	}{
		{"before", -time.Millisecond, true, Wait{}},
		{"after", 0, true, AcquireLeader{}},
		{"not of ours, after", time.Hour, false, Wait{}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			v := view(unlocked, answer("n2", 0), answer("n3", 9000))
			v.Settings.CheckTimeline = true
			r := v.Peers.Results["n3"]
			r.Answer.Timeline = 2
			v.Peers.Results["n3"] = r
			v.Now += 2 * time.Hour
			v.DCS.UnlockedAt = v.Now - v.Settings.TTL - x.since
			v.RaceSince, v.Instance.ObservedAt = v.Now, v.Now // a later round
			for name, r := range v.Peers.Results {
				r.Asked, r.Answered = v.Now, v.Now
				v.Peers.Results[name] = r
			}
			if !x.ours {
				v.DCS.Cluster.Members[2].Agent = nil
			}
			o := Decide(v)
			if o.Do != x.want {
				t.Errorf("%T, want %T: %v", o.Do, x.want, o.Notes)
			}
			if _, waits := x.want.(Wait); waits && (!o.RaceLost || o.Again != v.Now+raceAgain) {
				t.Errorf("does not look again soon: %v, in %v", o.RaceLost, o.Again-v.Now)
			}
		})
	}
}
