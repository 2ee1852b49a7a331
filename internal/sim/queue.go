package sim

import "time"

// event is one thing that will happen.
type event struct {
	at  time.Duration
	seq uint64 // order of those at one instant
	fn  func()
}

// queue is a binary heap of events by time, then by order of insertion.
type queue struct {
	heap []event
	seq  uint64
}

func (q *queue) push(at time.Duration, fn func()) {
	q.seq++
	q.heap = append(q.heap, event{at, q.seq, fn})
	for i := len(q.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.less(i, up) {
			break
		}
		q.heap[i], q.heap[up] = q.heap[up], q.heap[i]
		i = up
	}
}

func (q *queue) less(i, j int) bool {
	a, b := &q.heap[i], &q.heap[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (q *queue) pop() event {
	first := q.heap[0]
	last := len(q.heap) - 1
	q.heap[0] = q.heap[last]
	q.heap[last] = event{}
	q.heap = q.heap[:last]
	for i := 0; ; {
		small := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(q.heap); c++ {
			if q.less(c, small) {
				small = c
			}
		}
		if small == i {
			return first
		}
		q.heap[i], q.heap[small] = q.heap[small], q.heap[i]
		i = small
	}
}
