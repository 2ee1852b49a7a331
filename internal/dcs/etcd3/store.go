package etcd3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

// Store is one member's client of etcd.
type Store struct {
	pool  *pool
	name  string
	base  string // "/NAMESPACE/SCOPE/"
	log   *slog.Logger
	cache dcs.Cache
	watch watching

	touching chan struct{} // holds one element: one Touch at a time
	granting chan struct{} // holds one element: one at a time looks after the session

	mu    sync.Mutex // guards what follows
	times dcs.Times
	lease lease
	moved map[int64]int64 // lease -> the one from which Touch moves our leader key to it
	own   ownMember
}

var _ dcs.Store = (*Store)(nil)

// Open makes a client. It touches the network only to look up SRV records and,
// if there is a user, to log in: ErrCredentials is certain and final, while an
// etcd that cannot be reached is left to the first request.
func Open(ctx context.Context, o Options) (*Store, error) {
	o, err := o.normalize()
	if err != nil {
		return nil, err
	}
	if o.SRV != "" {
		hosts, protocol, err := lookupSRV(ctx, o.SRV, o.SRVSuffix)
		if err != nil {
			return nil, err
		}
		if o.Hosts, o.Protocol, err = addresses(hosts, protocol); err != nil {
			return nil, err
		}
	}
	p, err := newPool(o)
	if err != nil {
		return nil, err
	}
	s := &Store{
		pool: p, name: o.Name, base: base(o), log: o.Logger, times: o.Times,
		touching: make(chan struct{}, 1), granting: make(chan struct{}, 1), moved: map[int64]int64{},
	}
	s.touching <- struct{}{}
	s.granting <- struct{}{}
	if o.Session != "" {
		if s.lease.id, err = parseLease(o.Session); err != nil {
			return nil, err
		}
	}
	if o.Username != "" {
		_, err := ask(ctx, p, request{name: "log in"}, func(context.Context, *link, int) (struct{}, error) { return struct{}{}, nil })
		if errors.Is(err, ErrCredentials) {
			p.shut()
			return nil, err
		}
	}
	return s, nil
}

// base is the prefix of all keys, with runs of slashes collapsed.
func base(o Options) string {
	var b strings.Builder
	for part := range strings.SplitSeq(o.Namespace+"/"+o.Scope, "/") {
		if part != "" {
			b.WriteString("/" + part)
		}
	}
	return b.String() + "/"
}

func withDefaults(t dcs.Times) dcs.Times {
	if t.TTL <= 0 {
		t.TTL = 30 * time.Second
	}
	if t.LoopWait <= 0 {
		t.LoopWait = 10 * time.Second
	}
	if t.RetryTimeout <= 0 {
		t.RetryTimeout = 10 * time.Second
	}
	return t
}

// SetTimes implements dcs.Store.
func (s *Store) SetTimes(t dcs.Times) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times = withDefaults(t)
}

// Close implements dcs.Store.
func (s *Store) Close() error {
	s.pool.shut()
	return nil
}

// Sessions are leases, written as etcdctl writes them.
func formatLease(id int64) string { return strconv.FormatInt(id, 16) }

func parseLease(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 16, 64)
	if err != nil || id == 0 {
		return 0, fmt.Errorf("etcd3: session %q is not a lease id", s)
	}
	return id, nil
}

func (s *Store) key(k string) []byte { return []byte(s.base + k) }

// prefix is the range of everything below the scope: its end is the base with
// the last byte, a slash, counted up.
func (s *Store) prefix() (key, end []byte) {
	return []byte(s.base), []byte(s.base[:len(s.base)-1] + "0")
}

func entry(kv *mvccpb.KeyValue) dcs.Entry {
	e := dcs.Entry{Value: kv.Value, Version: cluster.Version(kv.ModRevision), Created: cluster.Version(kv.CreateRevision)}
	if kv.Lease != 0 {
		e.Session = formatLease(kv.Lease)
	}
	return e
}

// picture is everything below the scope at one revision.
type picture struct {
	keys     map[string]dcs.Entry
	revision int64
	link     *link
}

// read reads the scope linearizably.
func (s *Store) read(ctx context.Context, what string) (picture, error) {
	key, end := s.prefix()
	return ask(ctx, s.pool, request{name: what}, func(ctx context.Context, l *link, _ int) (picture, error) {
		resp, err := pb.NewKVClient(l.conn).Range(ctx, &pb.RangeRequest{Key: key, RangeEnd: end})
		if err != nil {
			return picture{}, err
		}
		if err := s.pool.header(l, resp.Header, true); err != nil {
			return picture{}, err
		}
		p := picture{keys: map[string]dcs.Entry{}, revision: resp.Header.Revision, link: l}
		for _, kv := range resp.Kvs {
			p.keys[strings.TrimPrefix(string(kv.Key), s.base)] = entry(kv)
		}
		return p, nil
	})
}

// Load implements dcs.Store: one linearizable range.
func (s *Store) Load(ctx context.Context) (*cluster.Cluster, error) {
	p, err := s.read(ctx, "read the cluster")
	if err != nil {
		return nil, err
	}
	var b cluster.Builder
	for k, e := range p.keys {
		b.Add(k, e.Value, e.Version, e.Created, e.Session)
	}
	return b.Cluster(), nil
}

// Put implements dcs.Store.
func (s *Store) Put(ctx context.Context, key string, value []byte, cond dcs.Condition) (cluster.Version, error) {
	put := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: s.key(key), Value: value}}}
	revision, err := s.change(ctx, "write "+key, key, cond, put)
	if err != nil {
		return 0, err
	}
	s.cache.Own(key, dcs.Entry{Value: value, Version: cluster.Version(revision)})
	return cluster.Version(revision), nil
}

// Delete implements dcs.Store.
func (s *Store) Delete(ctx context.Context, key string, cond dcs.Condition) error {
	if _, absent, _ := cond.Want(); absent {
		return fmt.Errorf("etcd: delete %s: %w", key, dcs.ErrConflict)
	}
	del := &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: s.key(key)}}}
	revision, err := s.change(ctx, "delete "+key, key, cond, del)
	if err != nil {
		return err
	}
	s.cache.Own(key, dcs.Entry{Version: cluster.Version(revision), Deleted: true})
	return nil
}

// change carries out one operation on one key under a condition and returns
// the revision at which it happened.
func (s *Store) change(ctx context.Context, what, key string, cond dcs.Condition, op *pb.RequestOp) (int64, error) {
	txn := &pb.TxnRequest{Success: []*pb.RequestOp{op}}
	anything, absent, version := cond.Want()
	switch {
	case anything:
	case absent:
		txn.Compare = []*pb.Compare{created(s.key(key), 0)}
	default:
		txn.Compare = []*pb.Compare{modified(s.key(key), int64(version))}
	}
	revision, err := ask(ctx, s.pool, request{name: what, writes: true, conditional: !anything}, func(ctx context.Context, l *link, _ int) (int64, error) {
		resp, err := s.txn(ctx, l, txn)
		if err != nil {
			return 0, err
		}
		if !resp.Succeeded {
			return 0, dcs.ErrConflict
		}
		return resp.Header.Revision, nil
	})
	if errors.Is(err, dcs.ErrConflict) {
		// What we believed was wrong: perhaps the watch is stuck, and the next try
		// would fail for the same reason (trap 6).
		s.watch.restart()
	}
	return revision, err
}

// RemoveCluster implements dcs.Store.
func (s *Store) RemoveCluster(ctx context.Context) error {
	key, end := s.prefix()
	_, err := ask(ctx, s.pool, request{name: "remove the cluster", writes: true}, func(ctx context.Context, l *link, _ int) (struct{}, error) {
		resp, err := pb.NewKVClient(l.conn).DeleteRange(ctx, &pb.DeleteRangeRequest{Key: key, RangeEnd: end})
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, s.pool.header(l, resp.Header, true)
	})
	return err
}

// txn runs one transaction on one link and checks who answered.
func (s *Store) txn(ctx context.Context, l *link, t *pb.TxnRequest) (*pb.TxnResponse, error) {
	resp, err := pb.NewKVClient(l.conn).Txn(ctx, t)
	if err != nil {
		return nil, err
	}
	return resp, s.pool.header(l, resp.Header, true)
}

// Comparisons of a transaction.

func created(key []byte, revision int64) *pb.Compare {
	return &pb.Compare{Key: key, Target: pb.Compare_CREATE, TargetUnion: &pb.Compare_CreateRevision{CreateRevision: revision}}
}

func modified(key []byte, revision int64) *pb.Compare {
	return &pb.Compare{Key: key, Target: pb.Compare_MOD, TargetUnion: &pb.Compare_ModRevision{ModRevision: revision}}
}

func valued(key, value []byte) *pb.Compare {
	return &pb.Compare{Key: key, Target: pb.Compare_VALUE, TargetUnion: &pb.Compare_Value{Value: value}}
}

func leased(key []byte, id int64) *pb.Compare {
	return &pb.Compare{Key: key, Target: pb.Compare_LEASE, TargetUnion: &pb.Compare_Lease{Lease: id}}
}

// Operations of a transaction.

func get(key []byte) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}
}

func put(key, value []byte, lease int64) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: value, Lease: lease}}}
}

// found is the key that the operation i of a transaction has read, nil if it
// is absent.
func found(resp *pb.TxnResponse, i int) *mvccpb.KeyValue {
	if i >= len(resp.Responses) {
		return nil
	}
	if kvs := resp.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
		return kvs[0]
	}
	return nil
}
