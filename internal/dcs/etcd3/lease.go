package etcd3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// lease is the session in use. It is part of Store and guarded by its mutex.
type lease struct {
	id        int64         // 0: none
	requested time.Duration // ttl it was asked for, 0 while that of an inherited one is not known
	granted   time.Duration
	sent      time.Time // of the last keepalive that was answered
	doubtful  bool      // an acquisition on it was not answered and may still be carried out
	retire    bool      // begin a new one, and revoke this
}

// answer is one successful keepalive or grant.
type answer struct {
	id   int64
	ttl  time.Duration
	term uint64
}

// keeper is the stream of keepalives of one link: one request, one answer, in
// turn, and nothing in between. Cheaper than a stream for each.
type keeper struct {
	turn   chan struct{} // holds one element; whoever has it owns the stream
	stream pb.Lease_LeaseKeepAliveClient
	stop   context.CancelFunc
}

func (k *keeper) init() { k.turn = make(chan struct{}, 1); k.turn <- struct{}{} }

// keepAlive extends a lease; errLeaseGone when the server does not know it.
func (s *Store) keepAlive(ctx context.Context, l *link, id int64) (answer, error) {
	k := &l.lease
	select {
	case <-k.turn:
		defer func() { k.turn <- struct{}{} }()
	case <-ctx.Done():
		return answer{}, unsentError{ctx.Err()}
	}
	for {
		fresh := k.stream == nil
		if fresh {
			// The stream outlives the call but has its credentials.
			sctx, stop := context.WithCancel(context.WithoutCancel(ctx))
			stream, err := pb.NewLeaseClient(l.conn).LeaseKeepAlive(sctx)
			if err != nil {
				stop()
				return answer{}, err
			}
			k.stream, k.stop = stream, stop
		}
		sent := time.Now()
		resp, err := k.exchange(ctx, id)
		if err != nil {
			// Whatever is still to come on this stream must not be taken for the answer
			// to a later request.
			k.stop()
			k.stream = nil
			if !fresh && ctx.Err() == nil && !authFailed(err) {
				continue // an old stream may have ended long ago
			}
			return answer{}, err
		}
		if err := s.pool.header(l, resp.Header, false); err != nil {
			return answer{}, err
		}
		if resp.TTL <= 0 {
			return answer{id: id, term: resp.Header.GetRaftTerm()}, errLeaseGone
		}
		a := answer{id, time.Duration(resp.TTL) * time.Second, resp.Header.GetRaftTerm()}
		s.extended(a, sent)
		return a, nil
	}
}

// exchange is one request and its answer.
func (k *keeper) exchange(ctx context.Context, id int64) (*pb.LeaseKeepAliveResponse, error) {
	undo := context.AfterFunc(ctx, k.stop)
	defer undo()
	// The reason why sending failed is what receiving returns.
	if err := k.stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	resp, err := k.stream.Recv()
	if err == nil && resp.ID != id {
		err = errors.New("the answer is for another lease")
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the server ended the stream")
	}
	return resp, err
}

// extended notes a keepalive that was answered.
func (s *Store) extended(a answer, sent time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease.id == a.id {
		s.lease.granted, s.lease.sent = a.ttl, sent
		if s.lease.requested == 0 {
			s.lease.requested = a.ttl
		}
	}
}

// grant asks for a new lease. One whose answer is lost expires by itself.
func (s *Store) grant(ctx context.Context, ttl time.Duration) (answer, error) {
	seconds := int64((ttl + time.Second - 1) / time.Second)
	return ask(ctx, s.pool, request{name: "begin a session"}, func(ctx context.Context, l *link, _ int) (answer, error) {
		resp, err := pb.NewLeaseClient(l.conn).LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: seconds})
		if err != nil {
			return answer{}, err
		}
		if resp.Error != "" {
			return answer{}, errors.New(resp.Error)
		}
		return answer{resp.ID, time.Duration(resp.TTL) * time.Second, resp.Header.GetRaftTerm()}, s.pool.header(l, resp.Header, true)
	})
}

// session gives a lease that was extended just now (or, if lazily, lately),
// beginning a new one when there is none or the present one must not go on.
// before is the lease that it replaces, 0 if it replaces none.
func (s *Store) session(ctx context.Context, lazily bool) (a answer, before lease, err error) {
	select {
	case <-s.granting:
		defer func() { s.granting <- struct{}{} }()
	case <-ctx.Done():
		return a, lease{}, fmt.Errorf("etcd: extend the session: %w", ctx.Err())
	}
	s.mu.Lock()
	present, times := s.lease, s.times
	s.mu.Unlock()
	if present.id != 0 && !present.retire {
		a, err := s.extend(ctx, present, times.LoopWait/2, lazily)
		if err == nil {
			s.mu.Lock()
			same := s.lease.requested == times.TTL || s.lease.id != present.id
			s.mu.Unlock()
			if same {
				return a, lease{}, nil
			}
		} else if !errors.Is(err, errLeaseGone) {
			return a, lease{}, err
		}
		// Gone, says etcd. A leader that has not caught up may say so of a lease that
		// lives; then our leader key still hangs on it and has to be moved, as when
		// the ttl changes.
	}
	sent := time.Now()
	if a, err = s.grant(ctx, times.TTL); err != nil {
		return a, lease{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lease = lease{id: a.id, requested: times.TTL, granted: a.ttl, sent: sent}
	return a, present, nil
}

// extend extends a lease. Lazily means that a keepalive which was sent less
// than age ago, or a sixth of the ttl, is enough: whoever renews the leader key
// need not extend the same lease again. A renewal that is due now may be under
// way, so a quarter more counts as well.
func (s *Store) extend(ctx context.Context, x lease, age time.Duration, lazily bool) (answer, error) {
	if lazily && x.requested != 0 && time.Since(x.sent) < min(age, x.granted/6)*5/4 {
		return answer{id: x.id, ttl: x.granted}, nil
	}
	return ask(ctx, s.pool, request{name: "extend the session"}, func(ctx context.Context, l *link, _ int) (answer, error) {
		return s.keepAlive(ctx, l, x.id)
	})
}
