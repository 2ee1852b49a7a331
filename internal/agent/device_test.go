package agent

import (
	"testing"
	"time"

	"tamada/internal/ha"
)

func TestRequiredDeviceThatFailsIsNotTriedAgainForOneTimeToLive(t *testing.T) {
	a, _ := leading(t)
	a.handle(Acked{Seq: 2, DeviceFailed: true})
	if v := a.view(); !v.Watchdog.Failed || !v.Watchdog.Unusable || !a.Picture().WatchdogFailed {
		t.Errorf("after the failure: %+v", v.Watchdog)
	}
	a.handle(Acked{Seq: 3}) // it works for a later deadline
	if v := a.view(); v.Watchdog.Failed {
		t.Errorf("after it was activated: %+v", v.Watchdog)
	}
	a.now += a.settings.TTL + time.Second
	if v := a.view(); v.Watchdog.Unusable {
		t.Errorf("one time to live later: %+v", v.Watchdog)
	}
}

func TestRequiredDeviceThatCannotBeUsedIsSaidOnce(t *testing.T) {
	a, _ := leading(t)
	says := func(problem string) (lines int) {
		a.out = nil
		a.takeFacts(Facts{Data: ha.DataPresent, Running: true, Answers: true, WatchdogProblem: problem})
		for _, e := range a.out {
			if _, ok := e.(Log); ok {
				lines++
			}
		}
		return lines
	}
	for i, x := range []struct {
		problem string
		lines   int
	}{{"no such file", 1}, {"no such file", 0}, {"", 1}, {"", 0}} {
		if n := says(x.problem); n != x.lines || a.view().Watchdog.Unusable != (x.problem != "") {
			t.Errorf("look %d: %d lines, want %d; %+v", i, n, x.lines, a.view().Watchdog)
		}
	}
}
