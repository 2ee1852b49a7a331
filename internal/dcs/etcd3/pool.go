package etcd3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// Times of one connection. A ping is sent only when nothing has been received
// for pingAfter; the server tolerates one every 5 s. An idle connection that
// died without a word is noticed after both.
const (
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
)

// pool is the set of nodes of one etcd cluster, of which one is in use.
type pool struct {
	opt   Options
	creds credentials.TransportCredentials
	log   *slog.Logger
	auth  auth

	mu      sync.Mutex // guards what follows, and the links' users and retired
	nodes   []*node
	current int
	cluster uint64 // cluster id, 0 until the first answer
	term    uint64 // highest raft term that a quorum has confirmed
	closed  bool
}

// node is one server by its address.
type node struct {
	addr       string
	discovered bool   // not configured but named by the cluster
	cluster    uint64 // cluster id of its last answer
	link       *link  // nil when there is no connection
}

// link is one connection to one node.
type link struct {
	node    *node
	conn    *grpc.ClientConn
	lease   keeper
	ctx     context.Context // ends when the link must no longer be used
	cancel  context.CancelFunc
	users   int // asks that use it now
	retired bool

	mu      sync.Mutex // guards dialErr
	dialErr error
}

var errRetired = errors.New("the connection was given up")

func newPool(opt Options) (*pool, error) {
	cfg, err := opt.tls()
	if err != nil {
		return nil, err
	}
	p := &pool{opt: opt, log: opt.Logger, creds: insecure.NewCredentials()}
	p.auth.init()
	if cfg != nil {
		p.creds = credentials.NewTLS(cfg)
	}
	for _, h := range opt.Hosts {
		p.nodes = append(p.nodes, &node{addr: h})
	}
	return p, nil
}

// order is the nodes in the order in which a request tries them: the one in
// use first.
func (p *pool) order() []*node {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.nodes)
	list := make([]*node, 0, n)
	for i := range n {
		list = append(list, p.nodes[(p.current+i)%n])
	}
	return list
}

// use gives a node's connection, making one if there is none. Every use must
// be followed by done.
func (p *pool) use(n *node) (*link, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("the store is closed")
	}
	if n.link == nil {
		l, err := p.dial(n)
		if err != nil {
			return nil, err
		}
		n.link = l
	}
	n.link.users++
	return n.link, nil
}

// done ends a use. A connection to a node other than the current one is closed
// when nobody uses it: an idle agent has one connection.
func (p *pool) done(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.users--
	if l.users == 0 && (l.retired || p.nodes[p.current] != l.node) {
		p.close(l)
	}
}

// drop closes a connection that failed.
func (p *pool) drop(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.close(l)
}

// close closes a link; the mutex is held.
func (p *pool) close(l *link) {
	l.retired = true
	l.cancel()
	if l.node.link == l {
		l.node.link = nil
	}
	// Close waits for nothing that we hold, but takes locks of its own.
	go l.conn.Close()
}

// promote makes the node that answered the current one. The former one is told
// to its users (the watch) as given up, and closed when the last is done.
func (p *pool) promote(l *link) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.nodes, l.node)
	if i < 0 || i == p.current {
		return false
	}
	old := p.nodes[p.current]
	p.current = i
	if old.link != nil {
		old.link.retired = true
		if old.link.cancel(); old.link.users == 0 {
			p.close(old.link)
		} else {
			old.link = nil // the next use makes a new one
		}
	}
	return true
}

// addDiscovered takes over what the cluster says about its members.
func (p *pool) addDiscovered(hosts []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	current := p.nodes[p.current]
	p.nodes = slices.DeleteFunc(p.nodes, func(n *node) bool {
		return n.discovered && n != current && !slices.Contains(hosts, n.addr)
	})
	for _, h := range hosts {
		if !slices.ContainsFunc(p.nodes, func(n *node) bool { return n.addr == h }) {
			p.nodes = append(p.nodes, &node{addr: h, discovered: true})
		}
	}
	p.current = slices.Index(p.nodes, current)
}

// shut closes everything.
func (p *pool) shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, n := range p.nodes {
		if n.link != nil {
			p.close(n.link)
		}
	}
}

// header checks where an answer comes from (reference 7.1, stale-node guard).
// Only a linearizable one proves the term that it names: a node that is cut off
// may have counted its term up alone.
func (p *pool) header(l *link, h *pb.ResponseHeader, linearizable bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, term := h.GetClusterId(), h.GetRaftTerm()
	if id != p.cluster {
		// A node that was ours and is now of another cluster was set up anew. One that
		// we never knew belongs somewhere else: following it would be a split brain.
		if p.cluster != 0 && l.node.cluster != p.cluster {
			return fmt.Errorf("the node belongs to etcd cluster %x, not to %x: check the list of hosts", id, p.cluster)
		}
		if p.cluster != 0 {
			p.log.Warn("etcd was set up anew: it has another cluster id", "node", l.node.addr, "was", p.cluster, "is", id)
		}
		p.cluster, p.term = id, 0
	}
	l.node.cluster = id
	if linearizable && term > p.term {
		p.term = term
	}
	if term < p.term {
		return fmt.Errorf("the node is behind: raft term %d, but %d was seen", term, p.term)
	}
	return nil
}

// dial makes a connection that is opened in the background and at most once:
// when it fails the link is dropped, and the next use begins a new one.
func (p *pool) dial(n *node) (*link, error) {
	l := &link{node: n}
	l.lease.init()
	l.ctx, l.cancel = context.WithCancel(context.Background())
	conn, err := grpc.NewClient("passthrough:///"+n.addr,
		grpc.WithTransportCredentials(&noting{p.creds, l}),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			l.note(err)
			return c, err
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: time.Second, Multiplier: 1, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(), grpc.WithDisableHealthCheck(),
		// small messages: small buffers, and no bandwidth estimation by pings
		grpc.WithReadBufferSize(4096), grpc.WithWriteBufferSize(4096),
		grpc.WithInitialWindowSize(1<<16), grpc.WithInitialConnWindowSize(1<<17),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
		grpc.WithIdleTimeout(0),
	)
	if err != nil {
		l.cancel()
		return nil, fmt.Errorf("connect to %s: %w", n.addr, err)
	}
	l.conn = conn
	return l, nil
}

// ready waits until the connection is open. Nothing has been sent when it
// fails.
func (l *link) ready(ctx context.Context) error {
	for {
		state := l.conn.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.Idle:
			l.conn.Connect()
		case connectivity.TransientFailure:
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.dialErr != nil {
				return l.dialErr
			}
			return errors.New("the connection failed")
		case connectivity.Shutdown:
			return errRetired
		}
		if !l.conn.WaitForStateChange(ctx, state) {
			return fmt.Errorf("connect: %w", ctx.Err())
		}
	}
}

func (l *link) note(err error) {
	if err != nil {
		l.mu.Lock()
		l.dialErr = err
		l.mu.Unlock()
	}
}

// noting keeps the error of a TLS handshake, which gRPC would only tell to a
// request.
type noting struct {
	credentials.TransportCredentials
	l *link
}

func (n *noting) ClientHandshake(ctx context.Context, authority string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := n.TransportCredentials.ClientHandshake(ctx, authority, c)
	if err != nil {
		n.l.note(fmt.Errorf("TLS: %w", err))
	}
	return conn, info, err
}

func (n *noting) Clone() credentials.TransportCredentials {
	return &noting{n.TransportCredentials.Clone(), n.l}
}
