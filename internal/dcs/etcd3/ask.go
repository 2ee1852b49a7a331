package etcd3

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/metadata"

	"tamada/internal/dcs"
)

func refused(err error) bool { return dcs.Refused(err) }

// request describes what is asked.
type request struct {
	name string
	// writes: it changes something, conditionally or not.
	writes bool
	// conditional: the request changes something under a condition, so that a
	// refusal of one try may be the effect of an earlier one whose answer was lost.
	conditional bool
}

// Limits of one try.
const (
	hedgeAtMost  = time.Second            // silence after which the next node is asked as well
	hedgeAtLeast = 100 * time.Millisecond // below, a busy server would be asked twice
	triesPerCall = 3                      // of one node when it does not answer at all
	tryAtLeast   = time.Second
	firstPause   = 100 * time.Millisecond // after all nodes failed; doubles
	longestPause = time.Second
)

// ask carries out one request on the node in use. When no answer comes in time
// the other nodes are asked as well, in parallel, so that a node that is frozen
// or cut off costs a fraction of the time that is left; when all failed it
// starts again, until ctx is nearly over. do is given the number of the try: if
// it is above 0 an earlier one may have been carried out, or may still be.
//
// The error is a refusal of the store only if it is certain; else it is an
// outage that names the nodes.
func ask[T any](ctx context.Context, p *pool, r request, do func(ctx context.Context, l *link, try int) (T, error)) (T, error) {
	ctx, cancel := p.budget(ctx)
	defer cancel()
	q := &inquiry[T]{p: p, r: r, do: do, results: make(chan result[T]), busy: map[*node]bool{}, out: &outage{what: r.name, last: map[string]error{}}}
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline)
	q.patience = max(tryAtLeast, left/triesPerCall)
	queue := p.order()
	hedge := min(hedgeAtMost, max(hedgeAtLeast, left/time.Duration(2*len(queue))))
	pause := firstPause
	q.launch(ctx, queue[0])
	queue = queue[1:]
	timer := time.NewTimer(hedge)
	defer timer.Stop()
	if len(queue) == 0 {
		timer.Stop() // there is nobody else to ask
	}
	for {
		select {
		case <-ctx.Done():
			return q.end()
		case res := <-q.results:
			if v, err, over := q.take(res); over {
				return v, err
			}
			if len(queue) > 0 {
				break // the next one at once
			}
			// All have been tried. Begin again after a pause, if there is time for it.
			if time.Until(deadline) > pause+hedgeAtLeast {
				queue = p.order()
				timer.Reset(pause)
				pause = min(2*pause, longestPause)
			} else if len(q.busy) == 0 {
				return q.end()
			}
			continue
		case <-timer.C:
		}
		if len(queue) > 0 {
			q.launch(ctx, queue[0])
			queue = queue[1:]
			timer.Reset(hedge)
		}
	}
}

// inquiry is the state of one call of ask.
type inquiry[T any] struct {
	p        *pool
	r        request
	do       func(context.Context, *link, int) (T, error)
	results  chan result[T]
	busy     map[*node]bool // tries that run
	tries    int
	lost     bool // a try that failed may have been carried out
	no       error
	patience time.Duration // with one try
	out      *outage
}

type result[T any] struct {
	node  *node
	value T
	err   error
}

func (q *inquiry[T]) launch(ctx context.Context, n *node) {
	if q.busy[n] {
		return
	}
	q.busy[n] = true
	try := q.tries
	q.tries++
	go func() {
		v, err := attempt(ctx, q.p, n, q.patience, func(ctx context.Context, l *link) (T, error) { return q.do(ctx, l, try) })
		select {
		case q.results <- result[T]{n, v, err}:
		case <-ctx.Done():
		}
	}()
}

// take judges one result; over means that the call ends with it.
func (q *inquiry[T]) take(res result[T]) (v T, err error, over bool) {
	delete(q.busy, res.node)
	if res.err == nil {
		return res.value, nil, true
	}
	switch classify(res.err) {
	case refusal:
		if !q.r.conditional || !q.lost && len(q.busy) == 0 {
			return v, fmt.Errorf("etcd: %s: %w", q.r.name, res.err), true
		}
		// An earlier try may be the reason for this refusal. Its own answer would tell.
		q.lost = true
		q.no = res.err
		q.out.last[res.node.addr] = fmt.Errorf("refused after an earlier try was not answered (%v)", res.err)
		if len(q.busy) == 0 {
			v, err = q.end()
			return v, err, true
		}
	case hopeless:
		return v, fmt.Errorf("etcd: %s: %w", q.r.name, hint(res.err)), true
	case unknown:
		q.lost = true
		q.out.last[res.node.addr] = res.err
	default:
		q.out.last[res.node.addr] = res.err
	}
	return v, nil, false
}

// end is the outcome when no node answered for certain.
func (q *inquiry[T]) end() (v T, err error) {
	q.out.lost = q.r.writes && (q.lost || len(q.busy) > 0)
	for n := range q.busy {
		q.out.last[n.addr] = errors.New("no answer in time")
	}
	return v, q.out
}

// attempt is one try on one node, within its share of the time.
func attempt[T any](ctx context.Context, p *pool, n *node, patience time.Duration, do func(context.Context, *link) (T, error)) (T, error) {
	var none T
	l, err := p.use(n)
	if err != nil {
		return none, unsentError{err}
	}
	defer p.done(l)
	began := time.Now()
	tctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := l.ready(tctx); err != nil {
		if ctx.Err() == nil || time.Since(began) > hedgeAtMost/2 {
			p.drop(l)
		}
		return none, unsentError{err}
	}
	v, err := authorized(tctx, p, l, func(ctx context.Context) (T, error) {
		if err := p.vet(ctx, l); err != nil {
			return none, unsentError{err}
		}
		return do(ctx, l)
	})
	if err == nil || classify(err) == refusal {
		if p.promote(l) {
			p.log.Info("etcd: another node answers, now using it", "node", n.addr)
		}
		return v, err
	}
	// The connection is given up when it failed or is silent although the node had
	// time enough. It is kept when the node itself says that it cannot, and when the
	// caller only lost patience.
	switch classify(err) {
	case unknown, unsent:
		if !serverSays(err) && (time.Since(began) > hedgeAtMost/2 || ctx.Err() == nil) {
			p.drop(l)
		}
	}
	return v, err
}

// vet makes sure before the first request to a node that it belongs to our
// cluster, lest something is written into a foreign one.
func (p *pool) vet(ctx context.Context, l *link) error {
	p.mu.Lock()
	known := p.cluster == 0 || l.node.cluster != 0
	p.mu.Unlock()
	if known {
		return nil
	}
	resp, err := pb.NewKVClient(l.conn).Range(ctx, &pb.RangeRequest{Key: []byte(base(p.opt) + "leader"), CountOnly: true, Serializable: true})
	if err != nil {
		return err
	}
	return p.header(l, resp.Header, false)
}

// budget is the time for one call: what ctx leaves, or retry_timeout, and a
// little less, so that the caller learns what happened before its own time is
// over.
func (p *pool) budget(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := p.opt.Times.RetryTimeout
	if d, ok := ctx.Deadline(); ok {
		limit = time.Until(d)
	}
	return context.WithTimeout(ctx, limit-min(limit/10, 250*time.Millisecond))
}

// requireLeader makes a node that has lost its leader answer at once.
func requireLeader(ctx context.Context, token string) context.Context {
	md := metadata.Pairs(rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader)
	if token != "" {
		md.Set(rpctypes.TokenFieldNameGRPC, token)
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// hint adds what an operator can do.
func hint(err error) error {
	switch message(err) {
	case message(rpctypes.ErrGRPCNoSpace):
		return fmt.Errorf("%w: etcd's quota is used up; compact and defragment it, then disarm its alarm", err)
	case message(rpctypes.ErrGRPCPermissionDenied):
		return fmt.Errorf("%w: the user needs a role that may read and write below the scope", err)
	}
	return err
}
