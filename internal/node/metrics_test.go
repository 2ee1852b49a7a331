//go:build linux

package node

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/guardian"
	"tamada/internal/ha"
	"tamada/internal/rest"
)

func TestSuccessorsOfADeadPrimary(t *testing.T) {
	t.Parallel()
	settings, _, _ := cluster.ParseSettings(cluster.NewObject("maximum_lag_on_failover", 100, "check_timeline", true))
	replica := func(name string, lsn cluster.LSN, change ...func(*cluster.Member)) cluster.Member {
		m := cluster.Member{Name: name, State: cluster.StateRunning, ReceiveLSN: lsn, ReplayLSN: lsn / 2, Timeline: 3}
		for _, f := range change {
			f(&m)
		}
		return m
	}
	leader := cluster.Member{Name: "a", State: cluster.StateRunning, XLogLocation: 900, Timeline: 3}
	barred := func(m *cluster.Member) { m.Tags = cluster.NewObject("nofailover", true) }
	stopped := func(m *cluster.Member) { m.State = cluster.StateStopped }
	old := func(m *cluster.Member) { m.Timeline = 2 }
	for name, test := range map[string]struct {
		members []cluster.Member
		able    int
		lost    int64
	}{
		"alone":                    {nil, 0, -1},
		"one has everything":       {[]cluster.Member{replica("b", 1000)}, 1, 0},
		"the best one counts":      {[]cluster.Member{replica("b", 400), replica("c", 950), replica("d", 940)}, 2, 50},
		"too far behind":           {[]cluster.Member{replica("b", 400)}, 0, 600},
		"nofailover does not":      {[]cluster.Member{replica("b", 1000, barred), replica("c", 990)}, 1, 10},
		"stopped does not":         {[]cluster.Member{replica("b", 1000, stopped)}, 0, -1},
		"an old timeline does not": {[]cluster.Member{replica("b", 1000, old)}, 0, -1},
		"ahead of what is known":   {[]cluster.Member{replica("b", 1200)}, 1, 0},
	} {
		c := &cluster.Cluster{Leader: &cluster.Leader{Name: "a"}, Members: append([]cluster.Member{leader}, test.members...), Status: cluster.Status{LSN: 1000}}
		if able, lost := successors(c, &settings); able != test.able || lost != test.lost {
			t.Errorf("%s: %d could take over, %d bytes lost, want %d and %d", name, able, lost, test.able, test.lost)
		}
	}
}

func TestMetersTellTheLease(t *testing.T) {
	t.Parallel()
	n := &node{meters: newMeters("batman", "a")}
	n.meters.watch(n, "batman", "a")
	now := guardian.Now()
	n.meters.lock(now+10*time.Second, now-5*time.Second)
	n.meters.lock(now+10*time.Second, now)
	n.snapshot.Store(&rest.Snapshot{LockUntil: now + 10*time.Second})
	value := func(name string) (v float64) {
		t.Helper()
		families, err := n.meters.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == name {
				return f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		t.Fatalf("no %s", name)
		return 0
	}
	if v := value("tamada_lease_age_seconds"); v < 5 || v > 8 {
		t.Errorf("age %v", v)
	}
	if v := value("tamada_lease_deadline_seconds"); v < 7 || v > 10 {
		t.Errorf("deadline %v", v)
	}
	n.meters.lock(0, now)
	n.snapshot.Store(&rest.Snapshot{})
	if a, d := value("tamada_lease_age_seconds"), value("tamada_lease_deadline_seconds"); a != 0 || d != 0 {
		t.Errorf("without a lease: age %v, deadline %v", a, d)
	}
}

func TestMetersCountChangesOfRoleByTheirReason(t *testing.T) {
	t.Parallel()
	m := newMeters("batman", "a")
	promote := agent.StartTask{Kind: ha.TaskPromote}
	for _, f := range []*cluster.Failover{nil, {}, {Candidate: "a"}, {Leader: "b"}, {Leader: "b", Candidate: "a", ScheduledAt: "x"}} {
		m.acquiring(f)
		m.begins(promote)
	}
	for _, task := range []agent.StartTask{{Kind: ha.TaskSwitchover}, {Kind: ha.TaskDemote, Do: ha.Demote{Mode: ha.DemoteImmediateNoLock}},
		{Kind: ha.TaskStop, Do: ha.StopPostgres{}}, {Kind: ha.TaskStop, Do: ha.StopPostgres{Leading: true}}} {
		m.begins(task)
	}
	want := `tamada_demotions_total{name="a",reason="failing over",scope="batman"} 0
tamada_demotions_total{name="a",reason="leader key lost",scope="batman"} 1
tamada_demotions_total{name="a",reason="manual failover",scope="batman"} 0
tamada_demotions_total{name="a",reason="shutdown",scope="batman"} 1
tamada_demotions_total{name="a",reason="store unreachable",scope="batman"} 0
tamada_demotions_total{name="a",reason="switchover",scope="batman"} 1
tamada_failovers_total{name="a",reason="automatic",scope="batman"} 2
tamada_failovers_total{name="a",reason="manual",scope="batman"} 1
tamada_promotions_total{name="a",reason="failover",scope="batman"} 2
tamada_promotions_total{name="a",reason="manual failover",scope="batman"} 1
tamada_promotions_total{name="a",reason="switchover",scope="batman"} 2
tamada_switchovers_total{name="a",reason="requested",scope="batman"} 1
tamada_switchovers_total{name="a",reason="scheduled",scope="batman"} 1
`
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, f := range families {
		for _, x := range f.GetMetric() {
			if x.GetCounter() == nil || !strings.Contains(fmt.Sprint(x.GetLabel()), "reason") {
				continue
			}
			var labels []string
			for _, l := range x.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			fmt.Fprintf(&got, "%s{%s} %v\n", f.GetName(), strings.Join(labels, ","), x.GetCounter().GetValue())
		}
	}
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", &got, want)
	}
}

func TestRefusalsAreNoErrorsOfTheStore(t *testing.T) {
	t.Parallel()
	m := newMeters("batman", "a")
	m.took("put", time.Now(), fmt.Errorf("write: %w", dcs.ErrConflict))
	m.took("put", time.Now(), errors.New("no quorum"))
	m.took("put", time.Now(), nil)
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, x := range f.GetMetric() {
			if f.GetName() == "tamada_dcs_request_errors_total" && strings.Contains(fmt.Sprint(x.GetLabel()), `"put"`) && x.GetCounter().GetValue() != 1 {
				t.Errorf("%v errors", x.GetCounter().GetValue())
			}
		}
	}
}

func TestWaitersSeeEverySnapshot(t *testing.T) {
	t.Parallel()
	var b board
	first := &rest.Snapshot{}
	b.Store(first)
	waiting := b.Changed(first)
	select {
	case <-waiting:
		t.Fatal("woken although nothing changed")
	default:
	}
	second := &rest.Snapshot{}
	b.Store(second)
	<-waiting
	<-b.Changed(first) // came before the question
	next := b.Changed(second)
	go b.Store(&rest.Snapshot{})
	<-next
}
