//go:build linux

package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/guardian"
	"tamada/internal/ha"
	"tamada/internal/ledger"
)

// openLedger begins to keep what this agent decides. The first entries tell of
// its beginning, and what became of PostgreSQL while no agent was there to see.
func (n *node) openLedger(cfg *config.Config, last *Record) {
	n.ledger = ledger.Open(cfg.StateDir, cfg.Name, n.log)
	r := ha.Record{Kind: ha.RecordAgent, What: "begins", Why: "Tamada " + cluster.ProgramVersion}
	if n.guard == nil {
		r.Notes = append(r.Notes, "without a guardian: nothing enforces the lease when this agent is frozen or killed")
	}
	if last != nil {
		r.Notes = append(r.Notes, fmt.Sprintf("the previous agent was interrupted during: %s", last.Task))
	}
	n.record(r)
	n.recordFence()
}

// record hands a record to the ledger, which never keeps us waiting.
func (n *node) record(r ha.Record) { n.ledger.Add(time.Now(), guardian.Now(), r) }

// recordFence takes over what the guardian has noted about a server that it
// killed. The note is written beside the killing; one that comes late is found
// by the next agent.
func (n *node) recordFence() {
	f, err := guardian.TakeFenceNote(n.cfg.Load().StateDir)
	if err != nil {
		n.log.Warn("could not read the guardian's note about the fencing of PostgreSQL", "error", err)
	}
	if f == nil {
		return
	}
	n.ledger.Add(f.At, f.Boot, ha.Record{Kind: ha.RecordGuardian, What: "fenced",
		Why: fmt.Sprintf("the guardian killed PostgreSQL %s after the lease's deadline, which the agent had not moved", (f.Boot - f.Deadline).Round(time.Millisecond))})
}

// fenceSeen looks for a note of the guardian when the postmaster is gone.
func (n *node) fenceSeen(ev agent.Event) {
	if _, gone := ev.(agent.PostmasterExited); gone && n.guard != nil {
		go n.recordFence()
	}
}

// ledgerReaders is how many requests may read the ledger at the same time: it
// costs the disk, and some CPU.
const ledgerReaders = 1

// Ledger reads this node's ledger.
func (s source) Ledger(ctx context.Context, q ledger.Query) (ledger.Page, error) {
	select {
	case s.reading <- struct{}{}:
	case <-ctx.Done():
		return ledger.Page{}, ctx.Err()
	}
	defer func() { <-s.reading }()
	return ledger.Read(ledger.Dir(s.cfg.Load().StateDir), q)
}

// requestsKept is how many requests to the REST API are kept per second: whoever
// may send them in thousands must not drive everything else out of the ledger.
const requestsKept = 5

// requestGate counts the requests kept within a second.
type requestGate struct {
	mu     sync.Mutex // guards the rest
	second int64
	kept   int
	left   int
}

// pass tells whether another request is kept, and how many were not since the
// last one that was.
func (g *requestGate) pass(now ha.Instant) (left int, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := int64(now / time.Second); s != g.second {
		g.second, g.kept = s, 0
	}
	if g.kept >= requestsKept {
		g.left++
		return 0, false
	}
	left, g.left = g.left, 0
	g.kept++
	return left, true
}

func (n *node) recordRequest(r ha.Record, from string) {
	left, ok := n.gate.pass(guardian.Now())
	if !ok {
		return
	}
	r.Kind, r.Repeats, r.Notes = ha.RecordRequest, left, []string{"asked from " + from}
	n.record(r)
}

// RequestRefused keeps that the REST API refused what an operator asked for.
func (s source) RequestRefused(action, from string, code int, why string) {
	s.recordRequest(ha.Record{What: "refused", Action: action, Why: why, Code: code}, from)
}

// RequestTaken keeps that the REST API wrote what an operator asked for.
func (s source) RequestTaken(action, from, what string) {
	s.recordRequest(ha.Record{What: "accepted", Action: action, Why: what}, from)
}
