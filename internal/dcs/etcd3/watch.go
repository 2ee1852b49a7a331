package etcd3

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

// quickRead is how long the first read may take after a watch has ended,
// before the view is declared unknown.
const quickRead = time.Second

// watching lets others restart the watch.
type watching struct {
	mu     sync.Mutex // guards cancel
	cancel context.CancelCauseFunc
}

var errRestart = errors.New("the view may be stale")

func (w *watching) restart() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		w.cancel(errRestart)
	}
}

func (w *watching) set(cancel context.CancelCauseFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancel = cancel
}

// Watch implements dcs.Store.
func (s *Store) Watch(ctx context.Context) <-chan dcs.Update {
	ch := s.cache.Open(ctx)
	go s.follow(ctx)
	return ch
}

// follow reads and watches until ctx ends. The view is as good as the
// connection that it comes by: when that is given up, because it broke, because
// no ping came back or because some request got no answer on it, the watch ends
// and the scope is read anew, on whichever node answers.
func (s *Store) follow(ctx context.Context) {
	var reason error // why there is no view; nil: there is one, or none was asked for yet
	discovered := (*link)(nil)
	for pause := firstPause; ctx.Err() == nil; {
		limit := quickRead
		if reason != nil {
			s.mu.Lock()
			limit = s.times.RetryTimeout
			s.mu.Unlock()
		}
		mark := s.cache.Mark()
		rctx, cancel := context.WithTimeout(ctx, limit)
		p, err := s.read(rctx, "read the cluster")
		cancel()
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			if reason == nil {
				s.log.Debug("etcd: the view is lost", "error", err)
			}
			reason = err
			s.cache.Fail(err)
			wait(ctx, pause)
			pause = min(2*pause, longestPause)
			continue
		}
		reason = nil
		s.cache.Reset(mark, p.keys, cluster.Version(p.revision))
		if discovered != p.link {
			discovered = p.link
			go s.discover(ctx)
		}
		began := time.Now()
		err = s.stream(ctx, p)
		s.log.Debug("etcd: the watch ended, reading anew", "reason", err)
		if time.Since(began) > pause {
			pause = firstPause
		} else { // a watch that ends at once must not become a busy loop
			wait(ctx, pause)
			pause = min(2*pause, longestPause)
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// stream watches the scope from the revision after a picture, on the link that
// gave it, and returns why it ended.
func (s *Store) stream(ctx context.Context, p picture) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	undo := context.AfterFunc(p.link.ctx, func() { cancel(errRetired) })
	defer undo()
	s.watch.set(cancel)
	defer s.watch.set(nil)

	token, err := s.pool.authenticate(ctx, p.link, "")
	if err != nil {
		return err
	}
	stream, err := pb.NewWatchClient(p.link.conn).Watch(requireLeader(ctx, token))
	if err != nil {
		return err
	}
	key, end := s.prefix()
	create := &pb.WatchCreateRequest{Key: key, RangeEnd: end, StartRevision: p.revision + 1}
	if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}); err != nil {
		return err
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return err
		}
		if err := s.pool.header(p.link, resp.Header, false); err != nil {
			return err
		}
		switch {
		case resp.CompactRevision != 0:
			return fmt.Errorf("revision %d is compacted", p.revision+1)
		case resp.Canceled:
			return fmt.Errorf("the server canceled the watch: %s", resp.CancelReason)
		case len(resp.Events) > 0:
			s.apply(resp)
		}
	}
}

// apply takes over the changes of one answer. Revisions in an answer are
// complete, since we do not ask for fragments.
func (s *Store) apply(resp *pb.WatchResponse) {
	keys := make([]string, 0, len(resp.Events))
	entries := make([]dcs.Entry, 0, len(resp.Events))
	var last int64
	for _, ev := range resp.Events {
		e := entry(ev.Kv)
		if ev.Type == mvccpb.Event_DELETE {
			e = dcs.Entry{Version: cluster.Version(ev.Kv.ModRevision), Deleted: true}
		}
		keys = append(keys, strings.TrimPrefix(string(ev.Kv.Key), s.base))
		entries = append(entries, e)
		last = max(last, ev.Kv.ModRevision)
	}
	s.cache.Apply(keys, entries, cluster.Version(last))
}
