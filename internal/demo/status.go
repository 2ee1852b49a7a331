//go:build linux

package demo

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"tamada/internal/postgres/proc"
)

// pollTimeout is how long a node may take to answer. It is on this machine: one
// that takes longer is frozen.
const pollTimeout = time.Second

// status is one node as it shows itself.
type status struct {
	name     string
	wanted   bool // the demo has started it and nobody stopped it
	frozen   bool
	led      bool // it led when it was frozen
	replaced bool // it was frozen, and its guardian has replaced the agent
	etcd     bool // something listens on the etcd member's port
	reached  bool // its REST API answers
	state    string
	role     string
	leader   bool // it holds the lock, and says so
	timeline int
	stream   string // replication state of a replica
	server   bool   // a process of PostgreSQL runs
}

// picture is all nodes at one moment, in the order of their names.
type picture []status

// leader is the node that leads, nil when none does.
func (p picture) leader() *status {
	for i := range p {
		if p[i].leader {
			return &p[i]
		}
	}
	return nil
}

func (s *status) follows(leader *status) bool {
	return s.reached && s.role == "replica" && s.stream == "streaming" && s.timeline == leader.timeline
}

// healthy: most etcd members run, one node leads, and every other that should
// run and is not frozen streams from it.
func (p picture) healthy() bool {
	l, leaders := p.leader(), 0
	for i := range p {
		s := &p[i]
		if s.leader {
			leaders++
		}
		if l != nil && s.wanted && !s.frozen && s != l && !s.follows(l) {
			return false
		}
	}
	return leaders == 1 && p.majority()
}

// members counts the etcd members that run.
func (p picture) members() (n int) {
	for i := range p {
		if p[i].etcd {
			n++
		}
	}
	return n
}

// majority: enough etcd members run to decide anything.
func (p picture) majority() bool { return p.members() >= len(p)/2+1 }

// document is what the demo reads of GET /patroni.
type document struct {
	State            string `json:"state"`
	Role             string `json:"role"`
	Timeline         int    `json:"timeline"`
	ReplicationState string `json:"replication_state"`
}

// eyes look at the nodes.
type eyes struct {
	http *http.Client
	list []node
}

func newEyes(p *plan) *eyes {
	return &eyes{list: p.nodes(), http: &http.Client{Timeout: pollTimeout,
		Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: pollTimeout}).DialContext, MaxIdleConnsPerHost: 1}}}
}

// look asks all nodes at the same time.
func (e *eyes) look(ctx context.Context) picture {
	p := make(picture, len(e.list))
	var wg sync.WaitGroup
	for i, n := range e.list {
		wg.Go(func() { p[i] = e.lookAt(ctx, n) })
	}
	wg.Wait()
	return p
}

func (e *eyes) lookAt(ctx context.Context, n node) status {
	s := status{name: n.name()}
	if h, _, err := proc.Find(n.data()); err == nil {
		s.server = true
		h.Close()
	}
	var d document
	if code, body := e.get(ctx, n.api()+"/patroni"); code == 0 || json.Unmarshal(body, &d) != nil {
		s.etcd = listens(ctx, n.clientPort())
		return s
	}
	s.etcd, s.reached = true, true
	s.state, s.role, s.timeline, s.stream = d.State, d.Role, d.Timeline, d.ReplicationState
	if d.Role == "primary" {
		code, _ := e.get(ctx, n.api()+"/primary")
		s.leader = code == http.StatusOK
	}
	return s
}

// published tells whether every member's own word in the store is that it runs
// as the leader or streams from it.
func (e *eyes) published(ctx context.Context, n node) bool {
	var c struct {
		Members []struct{ Role, State string }
	}
	code, body := e.get(ctx, n.api()+"/cluster")
	if code != http.StatusOK || json.Unmarshal(body, &c) != nil {
		return false
	}
	for _, m := range c.Members {
		if m.Role == "leader" && m.State != "running" || m.Role != "leader" && m.State != "streaming" {
			return false
		}
	}
	return len(c.Members) == len(e.list)
}

// get returns the code of an answer, 0 when there is none.
func (e *eyes) get(ctx context.Context, url string) (int, []byte) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, nil
	}
	return resp.StatusCode, body
}

func listens(ctx context.Context, port int) bool {
	c, err := (&net.Dialer{Timeout: pollTimeout}).DialContext(ctx, "tcp", at(port))
	if err != nil {
		return false
	}
	c.Close()
	return true
}
