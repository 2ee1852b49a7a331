package etcd3

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

// Acquire implements dcs.Store: extend the session, then create the key.
func (s *Store) Acquire(ctx context.Context) (dcs.Grant, error) {
	const what = "acquire the leader key"
	var g dcs.Grant
	for try := range 2 {
		a, _, err := s.session(ctx, false)
		if err != nil {
			return g, err
		}
		g, err = s.create(ctx, what, a)
		switch {
		case errors.Is(err, errLeaseGone) && try == 0:
			s.forget(a.id) // it ended between the two steps
		case errors.Is(err, errLeaseGone):
			return g, fmt.Errorf("etcd: %s: %w twice", what, errLeaseGone)
		case errors.Is(err, errTermChanged):
			// The key is ours, but the time granted is not: the keepalive may have been
			// answered by a leader that was none any more.
			return s.Renew(ctx, g.Hold)
		default:
			if err != nil && !dcs.Refused(err) {
				s.doubt(a.id)
			}
			return g, err
		}
	}
	panic("unreachable")
}

// create creates the leader key on a lease.
func (s *Store) create(ctx context.Context, what string, a answer) (dcs.Grant, error) {
	key := s.key(cluster.KeyLeader)
	txn := &pb.TxnRequest{
		Compare: []*pb.Compare{created(key, 0)},
		Success: []*pb.RequestOp{put(key, []byte(s.name), a.id)},
		Failure: []*pb.RequestOp{get(key)},
	}
	type made struct {
		revision int64
		term     uint64
	}
	m, err := ask(ctx, s.pool, request{name: what, writes: true}, func(ctx context.Context, l *link, try int) (made, error) {
		resp, err := s.txn(ctx, l, txn)
		if leaseGone(err) {
			return made{}, errLeaseGone
		}
		if err != nil {
			return made{}, err
		}
		if resp.Succeeded {
			return made{resp.Header.Revision, resp.Header.RaftTerm}, nil
		}
		kv := found(resp, 0)
		if kv == nil {
			return made{}, errors.New("the transaction found the key neither absent nor present")
		}
		if try > 0 && kv.Lease == a.id && string(kv.Value) == s.name {
			return made{kv.CreateRevision, resp.Header.RaftTerm}, nil // an earlier try of this call made it
		}
		return made{}, dcs.Held(string(kv.Value), s.name)
	})
	if err != nil {
		return dcs.Grant{}, err
	}
	hold := dcs.Hold{Session: formatLease(a.id), Created: cluster.Version(m.revision)}
	s.cache.Own(cluster.KeyLeader, dcs.Entry{Value: []byte(s.name), Version: hold.Created, Created: hold.Created, Session: hold.Session})
	g := dcs.Grant{Hold: hold, TTL: a.ttl, Epoch: m.term}
	if m.term != a.term {
		return g, errTermChanged
	}
	return g, nil
}

// Renew implements dcs.Store: a keepalive, and after it a linearizable
// transaction that finds exactly our key.
//
// What if an etcd leader was frozen, was replaced, and wakes up? A server of
// version 3.4 may answer a keepalive that waited in its socket, although the new
// leader, whose count of the lease's time is the one that matters, never hears
// of it. Its answer names the raft term that it knew. The proof after it cannot
// be given without the new leader, so it names the new term; the two do not fit
// and the keepalive does not count.
func (s *Store) Renew(ctx context.Context, h dcs.Hold) (dcs.Grant, error) {
	id, err := parseLease(h.Session)
	if err != nil {
		return dcs.Grant{}, fmt.Errorf("etcd: renew: %w", err)
	}
	return ask(ctx, s.pool, request{name: "renew the leader key"}, func(ctx context.Context, l *link, _ int) (dcs.Grant, error) {
		const rounds = 3 // an election or a moved key takes one more each
		var g dcs.Grant
		id := id
		for range rounds {
			var next int64
			if g, next, err = s.renewOnce(ctx, l, h, id); err == nil || !errors.Is(err, errTermChanged) && next == id {
				break
			}
			id = next
		}
		return g, err
	})
}

// renewOnce is one keepalive and one proof. next is the lease on which the key
// was found, if that is one to which we moved it ourselves.
func (s *Store) renewOnce(ctx context.Context, l *link, h dcs.Hold, id int64) (g dcs.Grant, next int64, err error) {
	a, err := s.keepAlive(ctx, l, id)
	gone := errors.Is(err, errLeaseGone)
	if err != nil && !gone {
		return g, id, err
	}
	key := s.key(cluster.KeyLeader)
	// The operations are reads that are not serializable: only that makes etcd
	// confirm its leadership with a quorum before it compares.
	resp, err := s.txn(ctx, l, &pb.TxnRequest{
		Compare: []*pb.Compare{valued(key, []byte(s.name)), leased(key, id), created(key, int64(h.Created))},
		Success: []*pb.RequestOp{get(key)},
		Failure: []*pb.RequestOp{get(key)},
	})
	if err != nil {
		return g, id, err
	}
	kv := found(resp, 0)
	switch {
	case !resp.Succeeded:
		if kv != nil && s.movedTo(kv, h) {
			return g, kv.Lease, errTermChanged // once more, on the new lease
		}
		return g, id, s.refuse(kv)
	case gone:
		// A key hangs on the lease, so the lease exists: a leader that has not caught
		// up yet. Not a refusal, and not a renewal either.
		return g, id, errors.New("etcd does not know the lease but has our key on it")
	case a.term != resp.Header.RaftTerm:
		return g, id, errTermChanged
	}
	return dcs.Grant{Hold: dcs.Hold{Session: formatLease(id), Created: h.Created}, TTL: a.ttl, Epoch: a.term}, id, nil
}

// movedTo tells whether the leader key is the tenure h on a lease to which
// Touch moved it from h's.
func (s *Store) movedTo(kv *mvccpb.KeyValue, h dcs.Hold) bool {
	if string(kv.Value) != s.name || cluster.Version(kv.CreateRevision) != h.Created {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := s.moved[kv.Lease]; id != 0; id = s.moved[id] {
		if formatLease(id) == h.Session {
			return true
		}
	}
	return false
}

// refuse is the refusal that fits what was found in place of our key.
func (s *Store) refuse(kv *mvccpb.KeyValue) error {
	if kv == nil {
		return dcs.ErrAbsent
	}
	return dcs.Held(string(kv.Value), s.name)
}

// Release implements dcs.Store.
func (s *Store) Release(ctx context.Context, h dcs.Hold) error {
	id, err := parseLease(h.Session)
	if err != nil {
		return fmt.Errorf("etcd: release: %w", err)
	}
	key := s.key(cluster.KeyLeader)
	left, err := ask(ctx, s.pool, request{name: "release the leader key", writes: true}, func(ctx context.Context, l *link, try int) (dcs.Entry, error) {
		id := id // tries run beside each other
		for {
			resp, err := s.txn(ctx, l, &pb.TxnRequest{
				Compare: []*pb.Compare{valued(key, []byte(s.name)), leased(key, id), created(key, int64(h.Created))},
				Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: key}}}},
				Failure: []*pb.RequestOp{get(key)},
			})
			switch {
			case err != nil:
				return dcs.Entry{}, err
			case resp.Succeeded:
				return dcs.Entry{Version: cluster.Version(resp.Header.Revision), Deleted: true}, nil
			}
			// On a later try: gone by an earlier one, or by itself, and perhaps the next
			// leader's already, which must not be hidden.
			kv := found(resp, 0)
			switch {
			case kv != nil && kv.Lease != id && s.movedTo(kv, h):
				id = kv.Lease
			case try > 0 && kv == nil:
				return dcs.Entry{Version: cluster.Version(resp.Header.Revision), Deleted: true}, nil
			case try > 0 && cluster.Version(kv.CreateRevision) != h.Created:
				return entry(kv), nil
			default:
				return dcs.Entry{}, s.refuse(kv)
			}
		}
	})
	if err != nil {
		return err
	}
	s.cache.Own(cluster.KeyLeader, left)
	s.mu.Lock()
	defer s.mu.Unlock()
	// An acquisition that was never answered may wait in a frozen server and would
	// make the key again as soon as that goes on. Without the lease it cannot.
	s.lease.retire = s.lease.retire || s.lease.doubtful
	return nil
}

// forget drops a lease that is gone.
func (s *Store) forget(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease.id == id {
		s.lease = lease{}
	}
}

// doubt notes that an acquisition on a lease may still be carried out.
func (s *Store) doubt(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease.id == id {
		s.lease.doubtful = true
	}
}

// Reclaim implements dcs.Store: extend the session, then move the key to it. Its
// creation stays what it was, so nobody else takes it for a new tenure.
//
// What if another node runs under our name? It would lose the key here without
// having done anything wrong; that is why a node makes sure of its name before
// it decides anything.
func (s *Store) Reclaim(ctx context.Context, seen cluster.Leader) (dcs.Grant, error) {
	const what = "reclaim the leader key"
	a, _, err := s.session(ctx, false)
	if err != nil {
		return dcs.Grant{}, err
	}
	hold := dcs.Hold{Session: formatLease(a.id), Created: seen.Created}
	if seen.Session != hold.Session {
		if err := s.move(ctx, what, seen, a); err != nil {
			if !dcs.Refused(err) {
				s.doubt(a.id)
			}
			return dcs.Grant{}, err
		}
	}
	return s.Renew(ctx, hold)
}

// move puts the leader key, if it is exactly as seen, on another lease.
func (s *Store) move(ctx context.Context, what string, seen cluster.Leader, a answer) error {
	key := s.key(cluster.KeyLeader)
	txn := &pb.TxnRequest{
		Compare: []*pb.Compare{valued(key, []byte(s.name)), created(key, int64(seen.Created)), modified(key, int64(seen.Version))},
		Success: []*pb.RequestOp{put(key, []byte(s.name), a.id)},
		Failure: []*pb.RequestOp{get(key)},
	}
	revision, err := ask(ctx, s.pool, request{name: what, writes: true}, func(ctx context.Context, l *link, try int) (int64, error) {
		resp, err := s.txn(ctx, l, txn)
		if err != nil {
			return 0, err
		}
		if resp.Succeeded {
			return resp.Header.Revision, nil
		}
		kv := found(resp, 0)
		if try > 0 && kv != nil && kv.Lease == a.id && string(kv.Value) == s.name {
			return kv.ModRevision, nil // an earlier try of this call moved it
		}
		return 0, s.refuse(kv)
	})
	if err != nil {
		return err
	}
	s.cache.Own(cluster.KeyLeader, dcs.Entry{Value: []byte(s.name), Version: cluster.Version(revision), Created: seen.Created, Session: formatLease(a.id)})
	return nil
}
