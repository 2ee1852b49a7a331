package cluster

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func object(t testing.TB, text string) *Object {
	t.Helper()
	o, err := ParseObject([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return o
}

func TestTimesAreAdjusted(t *testing.T) {
	t.Parallel()
	const rule = `Violated the rule "loop_wait + 2*retry_timeout <= ttl", where ttl=`
	for _, tc := range []struct {
		doc                 string
		ttl, loop, retry    int
		warnings            []string
		rejectedInsteadOfIt string
	}{
		{doc: `{}`, ttl: 30, loop: 10, retry: 10},
		{doc: `{"ttl":30.7,"loop_wait":"5","retry_timeout":" 4 "}`, ttl: 30, loop: 5, retry: 4},
		{doc: `{"ttl":100,"loop_wait":true,"retry_timeout":3}`, ttl: 100, loop: 1, retry: 3},
		{doc: `{"ttl":5,"loop_wait":0,"retry_timeout":1}`, ttl: 20, loop: 1, retry: 3, warnings: []string{
			"loop_wait=0 can't be smaller than 1, adjusting...", "retry_timeout=1 can't be smaller than 3, adjusting...", "ttl=5 can't be smaller than 20, adjusting..."}},
		{doc: `{"ttl":20}`, ttl: 20, loop: 1, retry: 9, warnings: []string{rule + "20. Adjusting loop_wait from 10 to 1 and retry_timeout from 10 to 9"}},
		{doc: `{"ttl":21}`, ttl: 21, loop: 1, retry: 10, warnings: []string{rule + "21 and retry_timeout=10. Adjusting loop_wait from 10 to 1"}},
		{doc: `{"ttl":29}`, ttl: 29, loop: 9, retry: 10, warnings: []string{rule + "29 and retry_timeout=10. Adjusting loop_wait from 10 to 9"}},
		{doc: `{"ttl":"30s"}`, rejectedInsteadOfIt: "ttl: 30s"},
		{doc: `{"loop_wait":null}`, rejectedInsteadOfIt: "loop_wait: None"},
		{doc: `{"retry_timeout":[1]}`, rejectedInsteadOfIt: "retry_timeout: [1]"},
		{doc: `{"ttl":1e30}`, rejectedInsteadOfIt: "ttl"},
		{doc: `{"ttl":"30.7"}`, rejectedInsteadOfIt: "ttl: 30.7"},
	} {
		s, warnings, err := ParseSettings(object(t, tc.doc))
		if tc.rejectedInsteadOfIt != "" {
			if err == nil || !strings.Contains(err.Error(), tc.rejectedInsteadOfIt) {
				t.Errorf("%s: got %v, %v, want an error with %q", tc.doc, s, err, tc.rejectedInsteadOfIt)
			}
			continue
		}
		if err != nil || s.TTL != seconds(tc.ttl) || s.LoopWait != seconds(tc.loop) || s.RetryTimeout != seconds(tc.retry) {
			t.Errorf("%s: got %v %v %v, %v", tc.doc, s.TTL, s.LoopWait, s.RetryTimeout, err)
		}
		if !slices.Equal(warnings, tc.warnings) {
			t.Errorf("%s: warnings\n%s\nwant\n%s", tc.doc, strings.Join(warnings, "\n"), strings.Join(tc.warnings, "\n"))
		}
	}
}

func TestDocumentWithAdjustedTimes(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{"loop_wait":2,"pause":true,"ttl":25,"retry_timeout":12}`: `{"loop_wait":1,"pause":true,"ttl":25,"retry_timeout":12}`,
		`{"ttl":"40","loop_wait":5.5}`:                             `{"ttl":"40","loop_wait":5.5}`,
		`{"ttl":5}`:                                                `{"ttl":20,"loop_wait":1,"retry_timeout":9}`,
		`{"ttl":"5s","loop_wait":0}`:                               `{"ttl":"5s","loop_wait":0}`, // must be ignored as a whole
		`{}`:                                                       `{}`,
	} {
		given := object(t, doc)
		if got := string(Compact(WithTimes(given, CommonFloors))); got != want || string(Compact(given)) != doc {
			t.Errorf("%s became %s, want %s", doc, got, want)
		}
	}
}

func TestTimesAlwaysKeepTheRule(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(-5, 200)
		doc := NewObject("ttl", n.Draw(t, "ttl"), "loop_wait", n.Draw(t, "loop_wait"), "retry_timeout", n.Draw(t, "retry_timeout"))
		s, _, err := ParseSettings(doc)
		if err != nil {
			t.Fatal(err)
		}
		if s.LoopWait+2*s.RetryTimeout > s.TTL || s.TTL < 20*time.Second || s.LoopWait < time.Second || s.RetryTimeout < 3*time.Second {
			t.Fatalf("%s: %v %v %v", Compact(doc), s.TTL, s.LoopWait, s.RetryTimeout)
		}
		again, warnings, err := ParseSettings(NewObject("ttl", int(s.TTL/time.Second), "loop_wait", int(s.LoopWait/time.Second), "retry_timeout", int(s.RetryTimeout/time.Second)))
		if err != nil || len(warnings) > 0 || again.TTL != s.TTL || again.LoopWait != s.LoopWait || again.RetryTimeout != s.RetryTimeout {
			t.Fatalf("adjusted times are adjusted again: %v", warnings)
		}
	})
}

func TestSettingsFallBackToDefaults(t *testing.T) {
	t.Parallel()
	s, _, err := ParseSettings(nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.MaximumLagOnFailover != 1048576 || s.MaximumLagOnSyncNode != -1 || s.PrimaryStartTimeout != 300*time.Second || s.MemberSlotsTTL != 1800*time.Second ||
		!s.UseSlots || s.SynchronousNodeCount != 1 || s.SynchronousMode != SyncOff || s.Pause || s.FailsafeMode || s.CheckTimeline || s.StandbyCluster != nil || s.Slots != nil {
		t.Errorf("defaults: %+v", s)
	}
	s, _, err = ParseSettings(object(t, `{"maximum_lag_on_failover":"1MB","pause":"maybe","member_slots_ttl":"30min","master_start_timeout":5,
		"primary_stop_timeout":-3,"synchronous_mode":"Quorum","permanent_slots":{},"slots":{"a":null},"postgresql":{"use_slots":"off"},"ignore_slots":[{}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if s.MaximumLagOnFailover != 1048576 || s.Pause || s.MemberSlotsTTL != 1800*time.Second || s.PrimaryStartTimeout != 5*time.Second || s.PrimaryStopTimeout != 0 ||
		s.SynchronousMode != SyncQuorum || s.Slots.Len() != 1 || s.UseSlots || len(s.IgnoreSlots) != 1 {
		t.Errorf("got %+v", s)
	}
	s, _, _ = ParseSettings(object(t, `{"primary_start_timeout":null,"master_start_timeout":5,"synchronous_mode":true,"standby_cluster":{"port":1}}`))
	if s.PrimaryStartTimeout != 300*time.Second || s.SynchronousMode != SyncOff || s.StandbyCluster == nil {
		t.Errorf("got %+v", s)
	}
}
