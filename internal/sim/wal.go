package sim

import (
	"fmt"

	"tamada/internal/cluster"
)

// branch is one stretch of history: WAL that somebody wrote on one timeline
// after a promotion. What two instances have in common is exactly the branches
// that they share, whatever the numbers of their timelines say.
type branch struct {
	id     int
	tli    cluster.Timeline
	parent *branch
	fork   cluster.LSN // where it leaves its parent
	end    cluster.LSN // how far it was ever written
	by     string      // who was promoted
	stray  bool        // written in single-user mode beside the branch's own WAL
}

// place is a position in a history.
type place struct {
	br  *branch
	lsn cluster.LSN
}

func (p place) String() string {
	if p.br == nil {
		return "nowhere"
	}
	return fmt.Sprintf("%d@%s#%d", p.br.tli, p.lsn, p.br.id)
}

// forkFrom is where the history of p leaves the branch b: ok is false when b is
// no ancestor of it. For the same branch it is where p ends.
func (p place) forkFrom(b *branch) (cluster.LSN, bool) {
	at := p.lsn
	for x := p.br; x != nil; x = x.parent {
		if x == b {
			return at, true
		}
		at = x.fork
	}
	return 0, false
}

// contains tells whether q is part of the history of p.
func (p place) contains(q place) bool {
	at, ok := p.forkFrom(q.br)
	return ok && q.lsn <= at
}

// toward moves q along the history of p by at most limit bytes. ok is false when q
// is not on it.
func (q place) toward(p place, limit cluster.LSN) (place, bool) {
	if !p.contains(q) {
		return q, false
	}
	target := min(p.lsn, q.lsn+limit)
	b := p.br
	for b.parent != nil && b != q.br && b.fork >= target {
		b = b.parent
	}
	return place{b, max(target, q.lsn)}, true
}

// history is what the history file of p's timeline says.
func (p place) history() (lines []cluster.HistoryLine) {
	for x := p.br; x != nil && x.parent != nil; x = x.parent {
		lines = append(lines, cluster.HistoryLine{Timeline: x.parent.tli, LSN: x.fork, Reason: "no recovery target specified"})
	}
	for i, j := 0, len(lines)-1; i < j; i, j = i+1, j-1 {
		lines[i], lines[j] = lines[j], lines[i]
	}
	return lines
}

// commit is one acknowledged transaction.
type commit struct {
	id   int
	at   place // its end
	node string
}
