//go:build linux

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A sample is one answer to GET /primary.
type sample struct {
	asked, answered time.Time
	code            int
	state           string
}

// A prober asks one node for GET /primary over kept connections, without a
// pause between two requests or with one.
type prober struct {
	stop chan struct{}
	wg   sync.WaitGroup
	all  atomic.Int64 // requests

	mu      sync.Mutex // guards the rest
	changes []sample   // the first answer of each kind in a row, of the first connection
	times   []time.Duration
}

var stateField = regexp.MustCompile(`"state": "([^"]*)"`)

func (n *node) probe(connections int, pause time.Duration) *prober {
	p := &prober{stop: make(chan struct{})}
	for i := range connections {
		p.wg.Go(func() { p.run(n, i == 0, pause) })
	}
	n.c.t.Cleanup(p.end)
	return p
}

func (p *prober) run(n *node, records bool, pause time.Duration) {
	var last sample
	for {
		conn, err := n.at.dial(contextFor(n.c.t, time.Minute), "tcp", fmt.Sprintf("%s:%d", n.at.address, n.restPort))
		if err != nil {
			return
		}
		r := bufio.NewReader(conn)
		for {
			select {
			case <-p.stop:
				conn.Close()
				return
			case <-time.After(pause):
			}
			s := sample{asked: time.Now()}
			fmt.Fprint(conn, "GET /primary HTTP/1.1\r\nHost: x\r\n\r\n")
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				break
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				break
			}
			p.all.Add(1)
			s.answered, s.code = time.Now(), resp.StatusCode
			if m := stateField.FindSubmatch(body); m != nil {
				s.state = string(m[1])
			}
			p.mu.Lock()
			p.times = append(p.times, s.answered.Sub(s.asked))
			if records && (s.code != last.code || s.state != last.state) {
				p.changes = append(p.changes, s)
			}
			p.mu.Unlock()
			last = s
		}
		conn.Close()
	}
}

func (p *prober) end() {
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	p.wg.Wait()
}

// first is the first answer that fits and was given after a moment.
func (p *prober) first(after time.Time, fits func(sample) bool) (sample, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.changes {
		if s.answered.After(after) && fits(s) {
			return s, true
		}
	}
	return sample{}, false
}

// slowest is the time below which that part of the requests stayed.
func (p *prober) slowest(part float64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.times)
	if len(p.times) == 0 {
		return 0
	}
	return p.times[int(float64(len(p.times)-1)*part)]
}

// TestHealthChecksUnderLoadShowChangesAtOnce measures on the real thing; the
// bounds are wide, because other tests share the machine.
func TestHealthChecksUnderLoadShowChangesAtOnce(t *testing.T) {
	c, leader := bringUpGuarded(t)
	const bound = 500 * time.Millisecond
	load := leader.probe(16, 0)
	begun := time.Now()
	c.quietFor(3*time.Second, "GET /primary answers 200", func() (bool, string) { code, body := leader.get("/primary"); return code == 200, body })
	took := time.Since(begun)
	t.Logf("%.0f requests/s over 16 connections, client, three nodes and etcd on one machine; p99 %v", float64(load.all.Load())/took.Seconds(), load.slowest(.99))

	shows := func(what string, p *prober, since time.Time, fits func(sample) bool) sample {
		t.Helper()
		var s sample
		c.eventually(patience, what, func() (ok bool, _ string) { s, ok = p.first(since, fits); return ok, "not yet" })
		t.Logf("%s after %v", what, s.answered.Sub(since).Round(100*time.Microsecond))
		return s
	}

	killed := time.Now()
	leader.kill(leader.postmasterPID(), syscall.SIGKILL, "postmaster")
	if s := shows("the killed postmaster shows", load, killed, func(s sample) bool { return s.state != "running" }); s.answered.Sub(killed) > bound {
		t.Errorf("the killed postmaster showed after %v", s.answered.Sub(killed))
	}
	shows("that it runs again shows", load, killed.Add(time.Millisecond), func(s sample) bool { return s.state == "running" })
	c.waitHealthy(patience, leader)

	next := c.nodes[1]
	watch := next.probe(1, time.Millisecond)
	asked := time.Now()
	leader.want(200, `Successfully switched over to "n2"`, "POST", "/switchover", `{"leader": "n1", "candidate": "n2"}`)
	answered := time.Now()
	off := shows("that the old leader is none shows", load, asked, func(s sample) bool { return s.code == 503 })
	on := shows("that the new leader is one shows", watch, asked, func(s sample) bool { return s.code == 200 })
	if on.answered.Sub(answered) > bound {
		t.Errorf("the new leader showed %v after the answer", on.answered.Sub(answered))
	}
	t.Logf("the new leader showed %v after the answer to the request", on.answered.Sub(answered).Round(100*time.Microsecond))
	if !off.answered.Before(on.answered) {
		t.Errorf("both were the primary for clients: the old one until %v after the new one", off.answered.Sub(on.answered))
	}
	load.end()
	watch.end()
	_, metrics := leader.get("/metrics")
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "tamada_loop_duration_seconds") || strings.HasPrefix(line, "tamada_demotions_total") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if m := regexp.MustCompile(`tamada_demotions_total\{.*reason="switchover".*\} (\d)`).FindStringSubmatch(metrics); m == nil || m[1] != "1" {
		t.Errorf("the switchover is not counted: %v", m)
	}
	_, metrics = next.get("/metrics")
	for _, want := range []string{`tamada_switchovers_total\{.*reason="requested".*\} 1`, `tamada_promotions_total\{.*reason="switchover".*\} 1`,
		`tamada_lease_deadline_seconds\{.*\} 1\d`, `tamada_dcs_request_duration_seconds_count\{.*operation="acquire".*\} 1`} {
		if !regexp.MustCompile(want).MatchString(metrics) {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
	c.waitHealthy(patience, next)
	// Right after the switchover nobody may be able to take over: the old leader
	// starts, and the third node's published position is the one of before.
	c.eventually(patience, "both replicas count as candidates", func() (bool, string) {
		_, metrics := next.get("/metrics")
		m := regexp.MustCompile(`tamada_failover_candidates\{.*\} (\d)`).FindStringSubmatch(metrics)
		return m != nil && m[1] == "2", fmt.Sprint(m)
	})
}
