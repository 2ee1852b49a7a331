//go:build linux

package demo

import (
	"context"
	"sync"
	"time"
)

// sight is a picture and when the look at it began: what was done before that is
// in it.
type sight struct {
	picture
	began time.Time
}

// feed hands the newest picture to all that wait for one. Who is slow misses
// some, which does no harm: a story is told from what changed.
type feed struct {
	mu      sync.Mutex // guards the rest
	last    sight
	changed chan struct{} // closed when the next picture is there
}

func (f *feed) put(s sight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = s
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

func (f *feed) latest() sight {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// next waits for a picture newer than s.
func (f *feed) next(ctx context.Context, s sight) (sight, error) {
	for {
		f.mu.Lock()
		if f.last.began.After(s.began) {
			defer f.mu.Unlock()
			return f.last, nil
		}
		if f.changed == nil {
			f.changed = make(chan struct{})
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}
