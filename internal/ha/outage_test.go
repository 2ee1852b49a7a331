package ha

import (
	"reflect"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha/lease"
)

// inFailsafe is a primary that has lost the store, in failsafe mode.
func inFailsafe(v *View) {
	v.Settings.FailsafeMode = true
	v.Failsafe.Members = cluster.NewObject("n1", "http://n1", "n2", "http://n2", "n3", "http://n3")
}

func asked(ago time.Duration) func(*View) {
	return func(v *View) { v.Failsafe.Asked = v.Now - ago }
}

func confirmed(ago time.Duration) func(*View) {
	return func(v *View) { v.Failsafe.Confirmed = v.Now - ago }
}

func TestFailsafe(t *testing.T) {
	const (
		good = "continue to run as a leader because failsafe mode is enabled and all members are accessible"
		bad  = "continue to run as a leader until the lease ends, because DCS is not accessible and not all members agree"
		off  = "continue to run as a leader until the lease ends, because DCS is not accessible"
	)
	pending := func(v *View) { v.Failsafe.Pending = true }
	every := view().failsafeEvery()
	for _, x := range []struct {
		name  string
		view  *View
		want  Decision
		line  string
		again time.Duration // from now; 0: only an event wakes
	}{
		{"the members are asked at once", view(primary, holding, away, inFailsafe), AskFailsafe{view(inFailsafe).Failsafe.Members}, "", 0},
		{"and again when it is time", view(primary, holding, away, inFailsafe, asked(every), confirmed(every)), AskFailsafe{view(inFailsafe).Failsafe.Members}, "", 0},
		{"all agreed", view(primary, holding, away, inFailsafe, asked(time.Second), confirmed(time.Second)), Wait{}, good, every - time.Second},
		{"not all agreed", view(primary, holding, away, inFailsafe, asked(time.Second)), Wait{}, bad, every - time.Second},
		{"the answers are waited for without a spin", view(primary, holding, away, inFailsafe, asked(2*every), confirmed(3*every), pending), Wait{}, good, 0},
		{"also when nobody agreed before", view(primary, holding, away, inFailsafe, asked(2*every), pending), Wait{}, bad, 0},
		{"mode off", view(primary, holding, away, asked(every)), Wait{}, off, 0},
		{"not in the topology", view(primary, holding, away, inFailsafe, func(v *View) { v.Failsafe.Members = cluster.NewObject("n2", "x") }), Wait{}, off, 0},
		{"too late: the lease has ended", view(primary, away, inFailsafe, func(v *View) { v.Lease = Lease{State: lease.None, Lost: lease.Expired} }),
			Demote{Mode: DemoteOffline}, "demoted self because DCS is not accessible and I was a leader", 0},
		{"a replica asks nobody", view(away, inFailsafe), Wait{}, "DCS is not accessible", 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			o := Decide(x.view)
			if !reflect.DeepEqual(o.Do, x.want) || o.Line != x.line {
				t.Errorf("decided %T%+v, %q, want %T%+v, %q", o.Do, o.Do, o.Line, x.want, x.want, x.line)
			}
			if again := o.Again - x.view.Now; o.Again > 0 && again != x.again || o.Again == 0 && x.again > 0 {
				t.Errorf("wants to be asked again in %v, want %v", again, x.again)
			}
		})
	}
}

// Members of the topology race; the others neither race nor count.
func TestRaceInFailsafeModeIsOfTheTopology(t *testing.T) {
	with := func(names ...any) func(*View) {
		return func(v *View) {
			v.Settings.FailsafeMode = true
			c := *v.DCS.Cluster
			c.Failsafe = cluster.NewObject(names...)
			v.DCS.Cluster = &c
		}
	}
	race := func(more ...func(*View)) Decision {
		return Decide(view(append([]func(*View){unlocked, answer("n2", 9000), answer("n3", 10)}, more...)...)).Do
	}
	if _, waits := race(with("n1", "x", "n2", "x", "n3", "x")).(Wait); !waits {
		t.Error("a rival of the topology that is ahead does not count")
	}
	if _, acquires := race(with("n1", "x", "n3", "x")).(AcquireLeader); !acquires {
		t.Error("a member outside of the topology keeps others from the race")
	}
	if _, waits := race(answer("n2", 10), with("n2", "x", "n3", "x")).(Wait); !waits {
		t.Error("a member outside of the topology races")
	}
}
