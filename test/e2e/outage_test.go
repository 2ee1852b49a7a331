//go:build linux

package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// margin is what a deadline lies before the end of the lease (docs, "The lease").
const margin = ttl / 10

func TestFrozenStoreStopsWritesAtTheDeadlineAndNotBefore(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	leader := c.bringUp(2)
	w := c.startWriter(leader)
	timeline := leader.timeline()

	c.note("etcd is frozen")
	c.etcd.signal(syscall.SIGSTOP)
	frozen := time.Now()
	c.eventually(ttl+patience, "writes have stopped", func() (bool, string) {
		return time.Since(w.last().at) > 1500*time.Millisecond, "last row " + time.Since(w.last().at).String() + " ago"
	})
	stopped := w.last().at.Sub(frozen)
	// Renewals come every min(loop_wait, ttl/6); the newest was sent before the store froze.
	if latest := ttl - margin; stopped > latest {
		t.Errorf("writes went on for %v, the lease ended %v after the store froze at the latest", stopped, latest)
	}
	if earliest := ttl - margin - ttl/6 - 2*time.Second; stopped < earliest {
		t.Errorf("writes stopped after %v already, the lease held for %v at least", stopped, earliest)
	}
	t.Logf("writes stopped %v after the store froze", stopped.Round(time.Millisecond))
	c.eventually(patience, "it runs as a replica, or not at all", func() (bool, string) {
		v, err := leader.query("SELECT pg_is_in_recovery()")
		return err != nil || v == "true", v
	})

	c.note("etcd goes on")
	c.etcd.signal(syscall.SIGCONT)
	thawed := time.Now()
	w.progress(patience, 50)
	if took := w.firstAfter(leader, thawed).Sub(thawed); took > 15*time.Second {
		t.Errorf("%v until writes went on", took)
	} else {
		t.Logf("writes went on after %v", took.Round(time.Millisecond))
	}
	c.waitHealthy(patience, leader)
	if now := leader.timeline(); now != timeline {
		t.Errorf("timeline %d became %d: nobody else led in between", timeline, now)
	}
	w.assertNothingLost(t, leader)
}

func TestIsolatedPrimaryStopsWritingBeforeAnotherBegins(t *testing.T) {
	t.Parallel()
	network := newNetwork(t)
	where := *here(t)
	where.net, where.eyes = network.hub, network.hub
	c := newClusterAt(t, &where, hubAddress)
	plugs := map[*node]string{}
	for i := range 3 {
		p, plug := network.place()
		plugs[c.add(fmt.Sprintf("n%d", i+1), p)] = plug
	}
	c.startAll()
	old := c.nodes[0]
	w := c.startWriter(old)
	// A client on the isolated node itself, which goes on writing there as long as it may.
	const insiderRows = 1 << 40
	local := *old.at
	local.eyes = old.at.net
	insider := c.startWriterTo(insiderRows, &node{c: c, name: old.name, at: &local, port: old.port})

	c.note("%s is cut off", old.name)
	network.hub.ip(t, "link set "+plugs[old]+" down")
	cut := time.Now()
	expired := c.watchKeyOf(old)
	leader := c.waitNewLeader(ttl+20*time.Second, old)
	took := time.Since(cut)
	w.progress(patience, 50)
	began := w.firstAfter(leader, cut)
	insider.stop()
	stopped := insider.last().at

	if stopped.Sub(cut) < time.Second {
		t.Errorf("the isolated primary stopped after %v already: the client inside proves nothing", stopped.Sub(cut))
	}
	if latest := cut.Add(ttl - margin); stopped.After(latest) {
		t.Errorf("the isolated primary took writes until %v after its lease had ended", stopped.Sub(latest))
	}
	if !stopped.Before(began) {
		t.Errorf("two primaries: %s took a row at %v, %s took one at %v already", old.name, stopped, leader.name, began)
	}
	// A host that has vanished without a word must not cost the time-out of a question, 2 s.
	if late := began.Sub(<-expired); late > 1500*time.Millisecond {
		t.Errorf("the new primary wrote %v after the key of the isolated one had expired", late)
	} else {
		t.Logf("the new primary wrote %v after the key of the isolated one was last seen", late.Round(time.Millisecond))
	}
	t.Logf("the isolated primary stopped after %v, the new one wrote after %v, was seen after %v", stopped.Sub(cut).Round(time.Millisecond),
		began.Sub(cut).Round(time.Millisecond), took.Round(time.Millisecond))

	c.note("%s is connected again", old.name)
	network.hub.ip(t, "link set "+plugs[old]+" up")
	c.waitHealthy(patience, leader)
	w.stop()
	for _, n := range []*node{leader, old} {
		c.eventually(patience, n.name+" has the last row", func() (bool, string) {
			v, err := n.query(fmt.Sprintf("SELECT max(id) FROM load WHERE id < %d", int64(insiderRows)))
			return atLeast(v, w.last().id), v + errorText(err)
		})
		for _, a := range w.lost(n) {
			// Replication is asynchronous: what was on its way when the link was cut is lost.
			if a.node != old || cut.Sub(a.at) > time.Second {
				t.Errorf("%s: row %d is lost, acknowledged by %s %v before the cut", n.name, a.id, a.node.name, cut.Sub(a.at))
				break
			}
		}
		alone, there := 0, insider.rowsOn(n)
		for _, a := range insider.all() {
			if a.at.Sub(cut) > time.Second && there[a.id] {
				alone++
			}
		}
		if alone > 0 {
			t.Errorf("%s has %d rows that were written on the isolated node only", n.name, alone)
		}
	}
}

// watchKeyOf looks when the leader key has a node's name for the last time.
func (c *cluster) watchKeyOf(n *node) <-chan time.Time {
	gone := make(chan time.Time, 1)
	go func() {
		seen := time.Now()
		for end := time.Now().Add(2 * ttl); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			switch kvs, err := c.fetch(prefix+"leader", nil); {
			case err != nil:
			case len(kvs) == 1 && string(kvs[0].Value) == n.name:
				seen = time.Now()
			default:
				gone <- seen
				return
			}
		}
		gone <- seen
	}()
	return gone
}
