package etcd3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

// ownMember is what we know of our own member key. It is part of Store and
// guarded by its mutex.
type ownMember struct {
	value    []byte
	lease    int64 // 0: not known to be written
	revision int64 // mod_revision of the last write, 0 when not known
}

// Touch implements dcs.Store.
func (s *Store) Touch(ctx context.Context, value []byte) error {
	select {
	case <-s.touching:
		defer func() { s.touching <- struct{}{} }()
	case <-ctx.Done():
		return fmt.Errorf("etcd: write the member key: %w", ctx.Err())
	}
	for try := range 2 {
		a, before, err := s.session(ctx, true)
		if err != nil {
			return err
		}
		if s.current(value, a.id) {
			return nil
		}
		err = s.writeMember(ctx, value, a.id, before)
		if errors.Is(err, errLeaseGone) && try == 0 {
			s.forget(a.id)
			continue
		}
		if err != nil {
			if before.id != 0 {
				s.fallBack(before) // the leader key is still there; move it next time
			}
			return err
		}
		if before.retire {
			s.revoke(ctx, before.id)
		}
		return nil
	}
	panic("unreachable")
}

// current tells whether the member key needs no write.
func (s *Store) current(value []byte, id int64) bool {
	seen, known := s.cache.Get(cluster.KeyMembers + s.name)
	if known && (seen.Deleted || seen.Session != formatLease(id) || !bytes.Equal(seen.Value, value)) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own.lease == id && bytes.Equal(s.own.value, value)
}

// writeMember writes the member key on a lease and, in the same step, moves our
// leader key to it from the lease before.
//
// The write is conditional on the revision of our last one: should this request
// be stuck in a frozen server and come late, it must not undo a newer one.
func (s *Store) writeMember(ctx context.Context, value []byte, id int64, before lease) error {
	member, leader := s.key(cluster.KeyMembers+s.name), s.key(cluster.KeyLeader)
	s.mu.Lock()
	revision := s.own.revision
	if before.id != 0 {
		// Noted before it happens: a renewal may run at the same time.
		if len(s.moved) > 16 {
			clear(s.moved) // long known to everybody
		}
		s.moved[id] = before.id
	}
	s.mu.Unlock()
	if before.id != 0 {
		if err := s.moveLeader(ctx, leader, id, before.id); err != nil {
			return err
		}
	}
	written, err := ask(ctx, s.pool, request{name: "write the member key", writes: true}, func(ctx context.Context, l *link, _ int) (int64, error) {
		for {
			txn := &pb.TxnRequest{Success: []*pb.RequestOp{put(member, value, id)}, Failure: []*pb.RequestOp{get(member)}}
			if revision != 0 {
				txn.Compare = []*pb.Compare{modified(member, revision)}
			}
			resp, err := s.txn(ctx, l, txn)
			if leaseGone(err) {
				return 0, errLeaseGone
			}
			if err != nil {
				return 0, err
			}
			if resp.Succeeded {
				return resp.Header.Revision, nil
			}
			// Somebody removed it, or an earlier try of ours was carried out.
			kv := found(resp, 0)
			switch {
			case kv == nil:
				revision = 0
			case kv.Lease == id && bytes.Equal(kv.Value, value):
				return kv.ModRevision, nil
			default:
				revision = kv.ModRevision
			}
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.own = ownMember{}
		return err
	}
	s.own = ownMember{slices.Clone(value), id, written}
	s.cache.Own(cluster.KeyMembers+s.name, dcs.Entry{Value: s.own.value, Version: cluster.Version(written), Session: formatLease(id)})
	return nil
}

// moveLeader moves our leader key, if we have one, from one lease to another.
// The key keeps its creation, so it is the same tenure.
func (s *Store) moveLeader(ctx context.Context, leader []byte, id, before int64) error {
	_, err := ask(ctx, s.pool, request{name: "move the leader key to a new session", writes: true}, func(ctx context.Context, l *link, _ int) (struct{}, error) {
		resp, err := s.txn(ctx, l, &pb.TxnRequest{
			Compare: []*pb.Compare{valued(leader, []byte(s.name)), leased(leader, before)},
			Success: []*pb.RequestOp{put(leader, []byte(s.name), id), get(leader)},
		})
		if leaseGone(err) {
			return struct{}{}, errLeaseGone
		}
		if err != nil {
			return struct{}{}, err
		}
		if kv := found(resp, 1); resp.Succeeded && kv != nil {
			s.cache.Own(cluster.KeyLeader, entry(kv))
		}
		return struct{}{}, nil
	})
	return err
}

// fallBack goes on with the lease before, whose ttl is still not the one
// wanted, so that the next Touch tries again.
func (s *Store) fallBack(before lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lease = before
}

// revoke ends a lease that nothing of ours hangs on any more. If it fails the
// lease expires.
func (s *Store) revoke(ctx context.Context, id int64) {
	_, err := ask(ctx, s.pool, request{name: "end the former session"}, func(ctx context.Context, l *link, _ int) (struct{}, error) {
		_, err := pb.NewLeaseClient(l.conn).LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: id})
		if leaseGone(err) {
			err = nil
		}
		return struct{}{}, err
	})
	if err != nil {
		s.log.Debug("etcd: the former session is left to expire", "error", err)
	}
}
