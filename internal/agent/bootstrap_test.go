package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/ha"
)

// failedBootstrap is an agent whose bootstrap has failed; it had made the
// initialize key at that version.
func failedBootstrap(t *testing.T, made cluster.Version) *Agent {
	t.Helper()
	a := New(Config{Name: "n1"})
	a.op, a.opRuns = TakeInitialize{}, 3
	a.operationEnded(OperationEnded{ID: 3, Version: made})
	if !a.boot.Mine {
		t.Fatal("the bootstrap is not ours")
	}
	a.out = nil
	return a
}

// cancelled tells what a decision to give the bootstrap up leads to with the key
// that the view shows: a deletion under its condition, or none.
func cancelled(a *Agent, seen *cluster.Initialize, newest cluster.Version) (drop *DropInitialize, gaveUp bool) {
	a.cancelBootstrap(&ha.View{DCS: ha.DCS{Cluster: &cluster.Cluster{Initialize: seen, Newest: newest}}})
	for _, e := range a.out {
		switch e := e.(type) {
		case Operate:
			if d, ok := e.Op.(DropInitialize); ok {
				drop = &d
			}
		case StartTask:
			gaveUp = gaveUp || e.Kind == ha.TaskCancelBootstrap
		}
	}
	return drop, gaveUp
}

func TestFailedBootstrapDeletesOnlyTheKeyItMade(t *testing.T) {
	for _, x := range []struct {
		name    string
		seen    *cluster.Initialize
		newest  cluster.Version
		deletes bool
	}{
		{"the key it made", &cluster.Initialize{Version: 7}, 9, true},
		{"one that another made since", &cluster.Initialize{Version: 8}, 9, false},
		{"another's cluster", &cluster.Initialize{Version: 8, Value: "7000000000000000001"}, 9, false},
		{"none any more", nil, 9, false},
		{"a view from before the key was made", nil, 5, true},
		{"a view from before another's was taken over", &cluster.Initialize{Version: 5}, 5, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			drop, gaveUp := cancelled(failedBootstrap(t, 7), x.seen, x.newest)
			switch {
			case x.deletes && (drop == nil || drop.Condition != dcs.IfVersion(7) || gaveUp):
				t.Errorf("deletes %v, gave up before: %v; want the deletion of version 7 first", drop, gaveUp)
			case !x.deletes && (drop != nil || !gaveUp):
				t.Errorf("deletes %v, gave up: %v; want its own attempt given up and the key left alone", drop, gaveUp)
			}
		})
	}
}

// The key may be the cluster's by then: by a request of ours whose answer was
// lost. Its data must not be moved aside on a guess.
func TestFailedBootstrapIsGivenUpOnlyWhenTheKeyIsGone(t *testing.T) {
	for _, err := range []error{nil, dcs.ErrConflict, errors.New("no answer")} {
		a := failedBootstrap(t, 7)
		cancelled(a, &cluster.Initialize{Version: 7}, 9)
		a.out = nil
		a.operationEnded(OperationEnded{ID: a.opRuns, Err: err})
		if gaveUp := has[StartTask](a.out); gaveUp != (err == nil) {
			t.Errorf("the deletion ended with %v: given up is %v", err, gaveUp)
		}
	}
}

func said(effects []Effect, part string) bool {
	return slices.ContainsFunc(effects, func(e Effect) bool {
		l, ok := e.(Log)
		return ok && strings.Contains(l.Text, part)
	})
}

func TestFailedBootstrapSaysWhatItFound(t *testing.T) {
	a := failedBootstrap(t, 7)
	cancelled(a, nil, 9)
	if !said(a.out, "is already gone") || said(a.out, "stays as it is") {
		t.Errorf("without a key: %v", a.out)
	}
	a = failedBootstrap(t, 7)
	cancelled(a, &cluster.Initialize{Version: 8}, 9)
	if said(a.out, "is already gone") || !said(a.out, "stays as it is") {
		t.Errorf("with another's key: %v", a.out)
	}
}

// publishing is an agent that publishes its new cluster; it had made the initialize
// key at version 7, and the view shows another's.
func publishing(t *testing.T) *Agent {
	t.Helper()
	a := failedBootstrap(t, 7)
	a.store.view = &cluster.Cluster{Initialize: &cluster.Initialize{Version: 8}, Newest: 9}
	a.act(&ha.View{DCS: ha.DCS{Cluster: a.store.view}}, ha.Outcome{Do: ha.FinishBootstrap{}})
	return a
}

func TestNewClusterIsPublishedOverOurOwnKeyOnly(t *testing.T) {
	a := publishing(t)
	if op, ok := a.op.(PublishCluster); !ok || op.Condition != dcs.IfVersion(7) {
		t.Fatalf("publishes by %v, want over version 7", a.op)
	}
}

// The floors of today's members must not be written into the store for ever.
func TestNewClusterGetsTimesThatFit(t *testing.T) {
	if a := New(Config{Name: "n1"}); string(cluster.Compact(a.ownConfig())) != `{"ttl":30,"loop_wait":10,"retry_timeout":10}` {
		t.Errorf("of a node without a configuration: %s", cluster.Compact(a.ownConfig()))
	}
	for guarded, want := range map[bool]string{false: `{"ttl":20,"loop_wait":1,"retry_timeout":9}`, true: `{"ttl":6,"loop_wait":1,"retry_timeout":2}`} {
		a := New(Config{Name: "n1", Guarded: guarded, Initial: cluster.NewObject("ttl", 6)})
		a.act(&ha.View{DCS: ha.DCS{Cluster: &cluster.Cluster{}}}, ha.Outcome{Do: ha.FinishBootstrap{}})
		if op, ok := a.op.(PublishCluster); !ok || string(cluster.Compact(op.Config)) != want {
			t.Errorf("guarded %t: %+v, want %s", guarded, a.op, want)
		}
		a.op = nil
		a.act(&ha.View{DCS: ha.DCS{Cluster: &cluster.Cluster{}}}, ha.Outcome{Do: ha.WriteConfig{}})
		if op, ok := a.op.(PutConfig); !ok || string(cluster.Compact(op.Doc)) != want {
			t.Errorf("guarded %t: %+v, want %s", guarded, a.op, want)
		}
	}
}

// Only a definite refusal ends a bootstrap: after anything else the cluster may be
// published.
func TestBootstrapThatAnotherTookOverIsGivenUp(t *testing.T) {
	for _, err := range []error{fmt.Errorf("publish: %w", dcs.ErrConflict), dcs.ErrHeld, errors.New("no answer")} {
		a := publishing(t)
		a.out = nil
		a.operationEnded(OperationEnded{ID: a.opRuns, Err: err})
		if gaveUp := has[StartTask](a.out); gaveUp != errors.Is(err, dcs.ErrConflict) {
			t.Errorf("the publication ended with %v: given up is %v", err, gaveUp)
		}
	}
}

func TestBootstrapTellsTheKeyThatItIsFor(t *testing.T) {
	a := failedBootstrap(t, 7)
	a.act(&ha.View{}, ha.Outcome{Do: ha.BootstrapCluster{}})
	for _, e := range a.out {
		if s, ok := e.(StartTask); ok && s.Initialize == 7 {
			return
		}
	}
	t.Errorf("no task knows the version of the key: %v", a.out)
}

// A store that answers faster than its watch tells what has changed would be asked
// hundreds of times a second.
func TestWhatTheStoreRefusedIsNotAskedAgainOnTheSameView(t *testing.T) {
	decided := 0
	a := New(Config{Name: "n2", Decide: func(*ha.View) ha.Outcome {
		decided++
		return ha.Outcome{Do: ha.TakeInitialize{}}
	}})
	now := 100 * time.Second
	a.inst.Data = ha.DataEmpty
	asked := func(ev Event) bool {
		return has[Operate](a.Step(now, time.Time{}, 0, ev))
	}
	refused := func() Event { return OperationEnded{ID: a.opRuns, Err: fmt.Errorf("take: %w", dcs.ErrConflict)} }
	if !asked(ClusterSeen{Cluster: &cluster.Cluster{Newest: 5}}) {
		t.Fatalf("%d decisions, nothing asked", decided)
	}
	if asked(refused()) || a.WakeAt() > now+operationPause {
		t.Errorf("asked again at once, or not soon: next at %v", a.WakeAt()-now)
	}
	if now += operationPause - 1; asked(Timer{}) {
		t.Error("asked again on the same view")
	}
	if now++; !asked(Timer{}) {
		t.Error("a view that does not come is waited for too long")
	}
	if asked(refused()) {
		t.Error("asked again at once")
	}
	if !asked(ClusterSeen{Cluster: &cluster.Cluster{Newest: 6}}) {
		t.Error("a newer view is not decided on")
	}
	// The newer view came before the answer: there is nothing to wait for.
	a.Step(now, time.Time{}, 0, ClusterSeen{Cluster: &cluster.Cluster{Newest: 7}})
	if !asked(refused()) {
		t.Error("the view that had come already is not decided on")
	}
}
