//go:build linux

package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// rivals are one client for each node that writes to this node whenever it
// takes writes: two primaries at one time are seen, whatever anybody believes.
type rivals struct {
	c      *cluster
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex // guards acks
	acks []attempt
}

// An attempt is an acknowledged row, with the moment at which it was sent: the
// node was a primary at some moment between.
type attempt struct {
	ack
	sent time.Time
}

// startRivals makes the table and begins to write.
func (c *cluster) startRivals(leader *node) *rivals {
	c.t.Helper()
	leader.must("CREATE TABLE IF NOT EXISTS load (id bigint PRIMARY KEY, node text)")
	ctx, cancel := context.WithCancel(context.Background())
	r := &rivals{c: c, cancel: cancel}
	for i, n := range c.nodes {
		r.wg.Go(func() { r.write(ctx, n, int64(i+1)<<40) })
	}
	c.t.Cleanup(r.stop)
	r.progress(leader, 20)
	return r
}

// write commits a row every 10 ms as long as the node lets it.
func (r *rivals) write(ctx context.Context, n *node, id int64) {
	var conn *pgx.Conn
	defer func() { hangUp(conn) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ; ctx.Err() == nil; id++ {
		wctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		if conn == nil {
			conn, _ = n.connect(wctx)
		}
		if conn != nil {
			sent := time.Now()
			_, err := conn.Exec(wctx, fmt.Sprintf("INSERT INTO load VALUES (%d, '%s')", id, n.name))
			switch {
			case err == nil:
				r.mu.Lock()
				r.acks = append(r.acks, attempt{ack{id, time.Now(), n}, sent})
				r.mu.Unlock()
			case conn.IsClosed():
				conn = nil
			}
		}
		cancel()
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// stop ends the clients; a second time it does nothing.
func (r *rivals) stop() {
	r.cancel()
	r.wg.Wait()
}

// of are the rows that a node has acknowledged after a moment.
func (r *rivals) of(n *node, after time.Time) (acks []attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.acks {
		if a.node == n && a.at.After(after) {
			acks = append(acks, a)
		}
	}
	return acks
}

// progress waits for that many rows more on a node.
func (r *rivals) progress(n *node, rows int) {
	r.c.t.Helper()
	from := time.Now()
	r.c.eventually(patience, fmt.Sprintf("%s has taken %d rows", n.name, rows), func() (bool, string) {
		k := len(r.of(n, from))
		return k >= rows, fmt.Sprintf("%d rows", k)
	})
}

// gap is the longest time without a row of a node that ends after a moment.
func (r *rivals) gap(n *node, after time.Time) (length time.Duration) {
	acks := r.of(n, after)
	last := after
	for _, a := range acks {
		length, last = max(length, a.at.Sub(last)), a.at
	}
	return max(length, time.Since(last))
}

// assertTurns fails unless the nodes that took writes are the given ones, one
// after the other and never two at a time. It returns when each began and ended.
func (r *rivals) assertTurns(t testing.TB, want ...*node) (begin, end map[*node]time.Time) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	begin, end = map[*node]time.Time{}, map[*node]time.Time{}
	var got []*node
	for _, a := range r.acks {
		if begin[a.node].IsZero() {
			begin[a.node] = a.at
			got = append(got, a.node)
		}
		if a.sent.After(end[a.node]) {
			end[a.node] = a.sent // it took writes then or later
		}
	}
	if fmt.Sprint(names(got)) != fmt.Sprint(names(want)) {
		t.Errorf("writes were taken by %v, want %v", names(got), names(want))
	}
	for i := 1; i < len(got); i++ {
		if over := end[got[i-1]].Sub(begin[got[i]]); over > 0 {
			t.Errorf("two primaries for %v: %s and %s", over, got[i-1].name, got[i].name)
		}
	}
	return begin, end
}

func names(nodes []*node) (list []string) {
	for _, n := range nodes {
		list = append(list, n.name)
	}
	return list
}

// assertKept stops the clients and looks for the acknowledged rows on the final
// primary. May lack what a node took in the last moment before it was stopped,
// where replication is asynchronous: grace long.
func (r *rivals) assertKept(t testing.TB, leader *node, grace time.Duration) {
	t.Helper()
	r.stop()
	there := (&writer{c: r.c}).rowsOn(leader)
	last := map[*node]time.Time{}
	for _, a := range r.acks {
		last[a.node] = a.at
	}
	lost := 0
	for _, a := range r.acks {
		if there[a.id] {
			continue
		}
		lost++
		if a.node == leader || last[a.node].Sub(a.at) > grace {
			t.Errorf("row %d, acknowledged by %s %v before its last one, is not on %s", a.id, a.node.name, last[a.node].Sub(a.at), leader.name)
			return
		}
	}
	t.Logf("%d rows acknowledged, %d of the last %v lost", len(r.acks), lost, grace)
}
