package agent

import (
	"errors"
	"testing"

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
