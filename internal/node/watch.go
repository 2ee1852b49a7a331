//go:build linux

package node

import (
	"context"

	"tamada/internal/agent"
	"tamada/internal/postgres/proc"
)

// watcher follows two processes by pidfd: the postmaster, whose death is a crash,
// and the WAL receiver, whose end is the first sign that the primary is gone.
// The loop owns it.
type watcher struct {
	postmaster, receiver watched
}

// watched is one process that is waited for.
type watched struct {
	pid    int
	start  uint64
	cancel context.CancelFunc
}

// follow begins to wait for a process, unless that is done already.
func (w *watched) follow(ctx context.Context, pid int, start uint64, ended func()) {
	if pid == w.pid && (start == 0 || start == w.start) {
		return
	}
	w.forget()
	if pid == 0 {
		return
	}
	h, err := proc.Open(pid, start)
	if err != nil {
		ended() // it ended between the look and now
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	w.pid, w.start, w.cancel = pid, h.Start(), cancel
	go func() {
		defer h.Close()
		if h.Wait(ctx) == nil {
			ended()
		}
	}()
}

func (w *watched) forget() {
	if w.cancel != nil {
		w.cancel()
	}
	*w = watched{}
}

// watchProcesses follows what an observation found.
func (n *node) watchProcesses(s seen) {
	n.watch.postmaster.follow(n.ctx, s.postmaster, s.postmasterStart, func() { n.sendLater(agent.PostmasterExited{}) })
	n.watch.receiver.follow(n.ctx, s.receiver, 0, func() { n.sendLater(agent.ReceiverEnded{}) })
}

// sendLater is for callers that may be the loop itself.
func (n *node) sendLater(ev agent.Event) { go n.send(ev) }
