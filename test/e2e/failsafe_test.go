//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slotsOf are the replication slots of a node that are in use.
func slotsOf(n *node) string {
	v, err := n.query("SELECT string_agg(slot_name || ':' || active, ' ' ORDER BY slot_name) FROM pg_replication_slots")
	return v + errorText(err)
}

// waitTopology waits until the leader has published every node.
func (c *cluster) waitTopology() {
	c.t.Helper()
	c.eventually(patience, "the key failsafe names every node", func() (bool, string) {
		key := c.key("failsafe")
		var o object
		_ = json.Unmarshal([]byte(key), &o)
		return len(o) == len(c.nodes), key
	})
}

// askFailsafe is what a primary asks that has lost the store.
func (n *node) askFailsafe(body string) (code int, text, lsn string) {
	n.c.t.Helper()
	r, err := http.NewRequest("POST", n.restURL()+"/failsafe", strings.NewReader(body))
	if err != nil {
		n.c.t.Fatal(err)
	}
	r.SetBasicAuth(restUser, restPassword)
	resp, err := n.http.Do(r)
	if err != nil {
		n.c.t.Fatalf("%s: POST /failsafe: %v", n.name, err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), resp.Header.Get("lsn")
}

func TestFailsafeKeepsThePrimaryWithoutTheStore(t *testing.T) {
	t.Parallel()
	x := shortTimes()
	c := newCluster(t)
	x.use(c)
	c.dynamic["failsafe_mode"] = true
	leader := c.bringUp(3, guarded)
	c.waitTimes(leader, x)
	c.waitTopology()
	replica, other := c.nodes[1], c.nodes[2]
	w := c.startWriter(leader)
	timeline, postmaster := leader.timeline(), leader.postmasterPID()
	slots, others := slotsOf(leader), slotsOf(replica)
	away := 2*x.ttl + 2*time.Second
	if long {
		away = 60 * time.Second
	}

	c.note("etcd is frozen")
	c.etcd.signal(syscall.SIGSTOP)
	frozen := time.Now()
	c.eventually(x.ttl, "failsafe mode is active", func() (bool, string) {
		d := leader.status()
		return d["failsafe_mode_is_active"] == true && replica.status()["failsafe_mode_is_active"] == true, fmt.Sprint(d)
	})
	t.Run("answers", func(t *testing.T) { assertFailsafeAnswers(t, c) })
	old, from := replica.agentPID(), replica.logSize()
	replica.kill(old, syscall.SIGKILL, "agent")
	c.eventually(patience, "another agent of the replica keeps the promise", func() (bool, string) {
		pid := replica.agentPID()
		return pid != 0 && pid != old && strings.Contains(replica.logSince(from), "keeping the promise that the previous agent gave to "+leader.name), replica.logSince(from)
	})
	c.quietFor(away-time.Since(frozen), "the primary goes on without the store", func() (bool, string) {
		code, body := leader.get("/primary")
		return code == 200 && leader.postmasterPID() == postmaster, fmt.Sprint(code, body)
	})
	gap := w.gap(frozen)
	t.Logf("the store was away for %v, the longest gap between two rows was %v", time.Since(frozen).Round(time.Millisecond), gap)
	if gap > 2*time.Second {
		t.Errorf("no writes for %v although every member could be reached", gap)
	}
	if now := slotsOf(leader); now != slots {
		t.Errorf("slots of the leader: %s, before: %s", now, slots)
	}
	if now := slotsOf(replica); now != others {
		t.Errorf("slots of the replica: %s, before: %s", now, others)
	}

	c.note("etcd goes on")
	c.etcd.signal(syscall.SIGCONT)
	thawed := time.Now()
	c.waitHealthy(patience, leader)
	c.quietFor(x.interval()*3, "nobody takes over", func() (bool, string) { return c.leaderKey() == leader.name, c.leaderKey() })
	if gap := w.gap(thawed); gap > 2*time.Second {
		t.Errorf("no writes for %v after the store was back", gap)
	}
	if now := leader.timeline(); now != timeline {
		t.Errorf("timeline %d became %d", timeline, now)
	}

	c.note("etcd and the agent of %s are frozen", other.name)
	agent := other.agentPID()
	other.kill(other.main.pid(), syscall.SIGSTOP, "guardian")
	other.kill(agent, syscall.SIGSTOP, "agent")
	c.etcd.signal(syscall.SIGSTOP)
	frozen = time.Now()
	c.eventually(x.ttl+patience, "writes have stopped", func() (bool, string) {
		return time.Since(w.last().at) > 1500*time.Millisecond, "last row " + time.Since(w.last().at).String() + " ago"
	})
	stopped := w.last().at.Sub(frozen)
	t.Logf("with one member out of reach writes stopped after %v, the lease being %v", stopped.Round(time.Millisecond), x.ttl)
	if stopped > x.latest() || stopped < x.earliest() {
		t.Errorf("with a member out of reach writes stopped after %v, want %v to %v", stopped, x.earliest(), x.latest())
	}
	other.kill(agent, syscall.SIGCONT, "agent")
	other.kill(other.main.pid(), syscall.SIGCONT, "guardian")
	c.etcd.signal(syscall.SIGCONT)
	w.progress(patience, 20)
	final := c.nodeNamed(c.leaderKey())
	c.waitHealthy(patience, final)
	w.assertNothingLost(t, final)
}

// The figure that is promised, with the times of the defaults; the ordinary run
// has TestFrozenStoreStopsWritesAtTheDeadlineAndNotBefore.
func TestWithoutFailsafeWritesGoOnForMoreThanAThirdOfAMinute(t *testing.T) {
	if !long {
		t.Skip("set TAMADA_LONG=1 for this one")
	}
	t.Parallel()
	x := shortTimes()
	c, leader := bringUpWith(t, x)
	w := c.startWriter(leader)
	c.note("etcd is frozen")
	c.etcd.signal(syscall.SIGSTOP)
	frozen := time.Now()
	c.eventually(2*time.Minute, "a minute has passed", func() (bool, string) { return time.Since(frozen) > time.Minute, "waiting" })
	stopped := w.last().at.Sub(frozen)
	t.Logf("writes went on for %v, %.0f %% of the minute", stopped.Round(time.Millisecond), 100*stopped.Minutes())
	if stopped > x.latest() || stopped.Minutes() < 0.36 {
		t.Errorf("writes went on for %v, want 36 %% of a minute at least, and %v at most", stopped, x.latest())
	}
	c.etcd.signal(syscall.SIGCONT)
	w.progress(patience, 20)
	w.assertNothingLost(t, c.nodeNamed(c.leaderKey()))
}

// assertFailsafeAnswers compares what nodes answer with the reference
// (rest-api.md 8): a replica promises, a primary does not, what is not a
// question is refused.
func assertFailsafeAnswers(t *testing.T, c *cluster) {
	leader, replica := c.nodes[0], c.nodes[1]
	topology := map[string]string{}
	_, text := replica.get("/failsafe")
	if err := json.Unmarshal([]byte(text), &topology); err != nil || len(topology) != 3 {
		t.Fatalf("GET /failsafe: %s", text)
	}
	question := fmt.Sprintf(`{"name": "%s", "conn_url": "postgres://%s:%d/postgres", "api_url": "%s", "slots": {"n2": 1}}`, leader.name, leader.at.address, leader.port, topology[leader.name])
	for _, q := range []struct {
		to         *node
		body, text string
		code       int
		lsn        bool
	}{
		{replica, question, "Accepted", 200, true},
		{leader, question, "Running as a leader", 500, true},
		{replica, `{"name": 1}`, "", 400, false},
		{replica, `no question`, "", 400, false},
	} {
		code, text, lsn := q.to.askFailsafe(q.body)
		if code != q.code || q.text != "" && text != q.text || q.lsn && code == 200 && lsn == "" {
			t.Errorf("%s: POST /failsafe %s: %d %q lsn %q, want %d %q", q.to.name, q.body, code, text, lsn, q.code, q.text)
		}
	}
}

// nodeNamed is the node of that name.
func (c *cluster) nodeNamed(name string) *node {
	c.t.Helper()
	for _, n := range c.nodes {
		if n.name == name {
			return n
		}
	}
	c.t.Fatalf("there is no node %q", name)
	return nil
}
