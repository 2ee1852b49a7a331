//go:build linux

package node

import (
	"context"
	"sync"

	"tamada/internal/agent"
	"tamada/internal/ha"
)

// requests are those of operators that wait for the agent's answer.
type requests struct {
	mu      sync.Mutex // guards the rest
	last    uint64
	waiting map[uint64]chan agent.Answer
}

// begin gives a request its number and the channel of its answer.
func (r *requests) begin() (id uint64, c chan agent.Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = map[uint64]chan agent.Answer{}
	}
	r.last++
	c = make(chan agent.Answer, 1)
	r.waiting[r.last] = c
	return r.last, c
}

// end delivers an answer. A client that has gone away misses it; what it asked
// for is done all the same.
func (r *requests) end(a agent.Answer) {
	r.mu.Lock()
	c := r.waiting[a.ID]
	delete(r.waiting, a.ID)
	r.mu.Unlock()
	if c != nil {
		c <- a
	}
}

// drop forgets a request whose client does not wait any more.
func (r *requests) drop(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, id)
}

// await waits for the answer of a request that was sent to the loop.
func (n *node) await(ctx context.Context, event func(id uint64) agent.Event) (code int, text string, err error) {
	id, c := n.requests.begin()
	n.send(event(id))
	select {
	case a := <-c:
		return a.Code, a.Text, nil
	case <-ctx.Done():
		n.requests.drop(id)
		return 0, "", ctx.Err()
	case <-n.ctx.Done():
		return 0, "", n.ctx.Err()
	}
}

// Restart asks the agent to restart PostgreSQL, now or at a time, or to forget a
// scheduled restart.
func (s source) Restart(ctx context.Context, r ha.RestartRequest, drop bool) (code int, text string, err error) {
	return s.await(ctx, func(id uint64) agent.Event { return agent.RestartRequested{ID: id, Request: r, Drop: drop} })
}

// Reinitialize asks the agent to make this replica anew.
func (s source) Reinitialize(ctx context.Context, force, fromLeader bool) (code int, text string, err error) {
	return s.await(ctx, func(id uint64) agent.Event {
		return agent.ReinitRequested{ID: id, Force: force, FromLeader: fromLeader}
	})
}
