package rest

import (
	"context"
	"sync"
	"time"
)

// A flight is one call that many requests may share: running, or ended.
type flight[T any] struct {
	generation uint64
	started    time.Duration
	done       chan struct{} // closed after the fields below were set
	ended      time.Duration
	value      T
	err        error
}

// shared lets at most one call be under way at any time and remembers the last
// one. The call does not belong to the request that began it: that client may
// go away while others wait.
type shared[T any] struct {
	mu   sync.Mutex // guards last
	last *flight[T]
}

// maxFlights bounds how many calls in a row one request waits for. Two are
// enough (the one that ran when it came and the next); the third is for a
// change of role between them.
const maxFlights = 3

// get returns the outcome of a call that is good for the caller: the last one,
// the running one when it ends, or a new one made by launch. launch must fill
// in generation and started, and end the flight by [flight.land].
func (s *shared[T]) get(ctx context.Context, good func(*flight[T]) bool, launch func() *flight[T]) (T, error) {
	var f *flight[T]
	for range maxFlights {
		f = s.current(good, launch)
		select {
		case <-f.done:
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
		if good(f) {
			break
		}
	}
	return f.value, f.err
}

// current is the flight to wait for.
func (s *shared[T]) current(good func(*flight[T]) bool, launch func() *flight[T]) *flight[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.last; f != nil {
		select {
		case <-f.done:
			if good(f) {
				return f
			}
		default:
			return f
		}
	}
	s.last = launch()
	return s.last
}

func (f *flight[T]) land(value T, err error, at time.Duration) {
	f.value, f.err, f.ended = value, err, at
	close(f.done)
}
