//go:build linux

package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// An ack is one row whose commit was acknowledged.
type ack struct {
	id   int64
	at   time.Time
	node *node
}

// A writer commits one row every 5 ms to whichever node takes writes.
type writer struct {
	c      *cluster
	cancel context.CancelFunc
	done   chan struct{}
	nodes  []*node

	mu     sync.Mutex // guards the rest
	acks   []ack
	failed []string // statements and connections that did not work
}

// startWriter makes the table and begins to write.
func (c *cluster) startWriter(leader *node) *writer {
	c.t.Helper()
	leader.must("CREATE TABLE IF NOT EXISTS load (id bigint PRIMARY KEY, node text)")
	return c.startWriterTo(1, c.nodes...)
}

// startWriterTo begins to write rows from a number on, to some nodes only.
func (c *cluster) startWriterTo(first int64, nodes ...*node) *writer {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &writer{c: c, cancel: cancel, done: make(chan struct{}), nodes: slices.Clone(nodes)}
	go w.run(ctx, first)
	c.t.Cleanup(w.stop)
	w.progress(patience, 20)
	return w
}

func (w *writer) run(ctx context.Context, first int64) {
	defer close(w.done)
	var conn *pgx.Conn
	var to *node
	defer func() { hangUp(conn) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for id := first; ctx.Err() == nil; id++ {
		if conn == nil {
			conn, to = w.connect(ctx)
		}
		if conn != nil {
			wctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			_, err := conn.Exec(wctx, fmt.Sprintf("INSERT INTO load VALUES (%d, '%s')", id, to.name))
			cancel()
			if err == nil {
				w.mu.Lock()
				w.acks = append(w.acks, ack{id, time.Now(), to})
				w.mu.Unlock()
			} else {
				w.mu.Lock()
				w.failed = append(w.failed, time.Now().UTC().Format("15:04:05.000 ")+err.Error())
				w.mu.Unlock()
				hangUp(conn) // whether this row is there nobody knows; it gets no second try
				conn = nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// connect looks for a node that takes writes, one round.
func (w *writer) connect(ctx context.Context) (*pgx.Conn, *node) {
	for _, n := range w.nodes {
		cfg, err := pgx.ParseConfig(n.connString())
		if err != nil {
			return nil, nil
		}
		cfg.DialFunc = n.at.dial
		cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
		cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
		cctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		conn, err := pgx.ConnectConfig(cctx, cfg)
		cancel()
		if err == nil {
			return conn, n
		}
	}
	return nil, nil
}

// hangUp closes a connection without waiting for a server that may be frozen.
func hangUp(conn *pgx.Conn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_ = conn.Close(ctx)
}

// stop ends the writer; a second time it does nothing.
func (w *writer) stop() {
	w.cancel()
	<-w.done
}

func (w *writer) all() []ack {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.acks)
}

// failures are the statements that did not work since the start.
func (w *writer) failures() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.failed)
}

// last is the newest acknowledgement.
func (w *writer) last() ack {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.acks) == 0 {
		return ack{}
	}
	return w.acks[len(w.acks)-1]
}

// progress waits for that many more rows.
func (w *writer) progress(within time.Duration, rows int) {
	w.c.t.Helper()
	begin := len(w.all())
	w.c.eventually(within, fmt.Sprintf("%d more rows are committed", rows), func() (bool, string) {
		n := len(w.all()) - begin
		return n >= rows, fmt.Sprintf("%d rows", n)
	})
}

// gap is the longest time without an acknowledgement that ends after a moment.
func (w *writer) gap(after time.Time) (length time.Duration) {
	acks := w.all()
	for i := 1; i < len(acks); i++ {
		if acks[i].at.After(after) {
			length = max(length, acks[i].at.Sub(acks[i-1].at))
		}
	}
	return length
}

// lastOn is when a node acknowledged its last row.
func (w *writer) lastOn(n *node) (at time.Time) {
	for _, a := range w.all() {
		if a.node == n {
			at = a.at
		}
	}
	return at
}

// firstAfter is when a node acknowledged its first row after a moment.
func (w *writer) firstAfter(n *node, after time.Time) time.Time {
	for _, a := range w.all() {
		if a.node == n && a.at.After(after) {
			return a.at
		}
	}
	return time.Time{}
}

// rowsOn reads which rows a node has.
func (w *writer) rowsOn(n *node) map[int64]bool {
	w.c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := n.connect(ctx)
	if err != nil {
		w.c.t.Fatalf("read the rows of %s: %v", n.name, err)
	}
	defer hangUp(conn)
	rows, err := conn.Query(ctx, "SELECT id FROM load")
	if err != nil {
		w.c.t.Fatalf("read the rows of %s: %v", n.name, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		w.c.t.Fatalf("read the rows of %s: %v", n.name, err)
	}
	there := make(map[int64]bool, len(ids))
	for _, id := range ids {
		there[id] = true
	}
	return there
}

// lost are the acknowledged rows that a node does not have.
func (w *writer) lost(n *node) (lost []ack) {
	w.c.t.Helper()
	acks := w.all() // before reading: rows that come meanwhile must not count
	there := w.rowsOn(n)
	for _, a := range acks {
		if !there[a.id] {
			lost = append(lost, a)
		}
	}
	return lost
}

// assertNothingLost stops the writer and looks for every acknowledged row.
func (w *writer) assertNothingLost(t testing.TB, leader *node) {
	t.Helper()
	w.stop()
	if lost := w.lost(leader); len(lost) > 0 {
		t.Errorf("%d of %d acknowledged rows are lost, the first: id %d, acknowledged by %s at %s", len(lost), len(w.all()), lost[0].id,
			lost[0].node.name, lost[0].at.UTC().Format("15:04:05.000"))
	}
}
