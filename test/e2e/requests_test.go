//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	restUser     = "operator"
	restPassword = "rest-secret"
)

// ask sends a request of an operator and returns code and text; the code is 0
// when there is no answer.
func (n *node) ask(method, path, body string) (code int, text string) {
	return n.askAs(restUser, restPassword, method, path, body)
}

func (n *node) askAs(user, password, method, path, body string) (code int, text string) {
	n.c.t.Helper()
	r, err := http.NewRequest(method, n.restURL()+path, strings.NewReader(body))
	if err != nil {
		n.c.t.Fatal(err)
	}
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	client := *n.http
	client.Timeout = patience
	begin := time.Now()
	resp, err := client.Do(r)
	if err != nil {
		n.c.note("%s: %s %s %s: %v", n.name, method, path, clip(body), err)
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	n.c.note("%s: %s %s %s: %d %s (%v)", n.name, method, path, clip(body), resp.StatusCode, clip(string(b)), time.Since(begin).Round(time.Millisecond))
	return resp.StatusCode, string(b)
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

// want sends a request and demands an answer.
func (n *node) want(code int, text, method, path, body string) {
	n.c.t.Helper()
	if c, got := n.ask(method, path, body); c != code || got != text {
		n.c.t.Fatalf("%s: %s %s %s: answered %d %q, want %d %q", n.name, method, path, body, c, got, code, text)
	}
}

// patch changes the dynamic configuration.
func (n *node) patch(body string) {
	n.c.t.Helper()
	if code, text := n.ask("PATCH", "/config", body); code != 200 {
		n.c.t.Fatalf("%s: PATCH /config %s: %d %s", n.name, body, code, text)
	}
}

// status is the document of GET /patroni.
func (n *node) status() (doc object) {
	_, body := n.get("/patroni")
	_ = json.Unmarshal([]byte(body), &doc)
	return doc
}

// guarded gives a node a user and a password for its REST API.
func guarded(n *node) {
	n.set("restapi.authentication", object{"username": restUser, "password": restPassword})
}

// bringUpGuarded makes three nodes whose REST API has a password, the loop
// waiting for two seconds.
func bringUpGuarded(t *testing.T, change ...func(*node)) (*cluster, *node) {
	t.Helper()
	c := newCluster(t)
	c.dynamic["loop_wait"] = 2
	return c, c.bringUp(3, append(change, guarded)...)
}

// key is the value of one key; empty when there is none.
func (c *cluster) key(name string) string {
	c.t.Helper()
	keys, err := c.keys()
	if err != nil {
		c.t.Fatal(err)
	}
	return string(keys[name].Value)
}

// others are the nodes besides one.
func (c *cluster) others(than *node) (list []*node) {
	for _, n := range c.nodes {
		if n != than {
			list = append(list, n)
		}
	}
	return list
}

func TestBadRequestsLeaveTheClusterUnchanged(t *testing.T) {
	t.Parallel()
	c, leader := bringUpGuarded(t, func(n *node) {
		if n.name == "n3" {
			n.set("tags", object{"nofailover": true})
		}
	})
	timeline := leader.timeline()
	config, postmasters := c.key("config"), []int{}
	for _, n := range c.nodes {
		postmasters = append(postmasters, n.postmasterPID())
	}
	zone := time.Now().Add(time.Hour).Format(time.RFC3339)
	for _, r := range []struct {
		method, path, body string
		code               int
		text               string
	}{
		{"POST", "/switchover", `{"leader": "n1"`, 400, "Bad request syntax"},
		{"POST", "/switchover", `{"leader": "n1", "candidate": "` + strings.Repeat("x", 64<<10) + `"}`, 413, "too large"},
		{"POST", "/switchover", `{"leader": 1}`, 400, "Bad request syntax"},
		{"POST", "/switchover", `{"candidate": "n2"}`, 400, "Switchover could be performed only from a specific leader"},
		{"POST", "/switchover", `{"leader": "n2", "candidate": "n1"}`, 412, "leader name does not match"},
		{"POST", "/switchover", `{"leader": "n1", "candidate": "nowhere"}`, 412, "candidate does not exists"},
		{"POST", "/switchover", `{"leader": "n1", "candidate": "n3"}`, 412, "switchover is not possible: no good candidates have been found"},
		{"POST", "/switchover", `{"leader": "n1", "candidate": "n1"}`, 400, "Switchover target and source are the same"},
		{"POST", "/switchover", `{"leader": "n1", "scheduled_at": "2001-01-01T00:00:00Z"}`, 422, "Cannot schedule switchover in the past"},
		{"POST", "/switchover", `{"leader": "n1", "scheduled_at": "2101-01-01T00:00:00"}`, 400, "Timezone information is mandatory for the scheduled switchover"},
		{"DELETE", "/switchover", "", 404, "no switchover is scheduled"},
		{"POST", "/failover", `{"leader": "n1"}`, 400, "Failover could be performed only to a specific candidate"},
		{"POST", "/failover", `{"candidate": "n2", "scheduled_at": "` + zone + `"}`, 400, "Failover can't be scheduled"},
		{"POST", "/failover", `{"candidate": "n1"}`, 503, "Failover failed"}, // by the leader's own judgement
		{"POST", "/restart", `{"role": "replica"}`, 503, "restart conditions are not satisfied"},
		{"POST", "/restart", `{"restart_pending": false}`, 503, "restart conditions are not satisfied"},
		{"POST", "/restart", `{"postgres_version": "10.1"}`, 503, "restart conditions are not satisfied"},
		{"POST", "/restart", `{"schedule": "2101-01-01T00:00:00"}`, 400, "Timezone information is mandatory for the scheduled restart"},
		{"DELETE", "/restart", "", 404, "no restarts are scheduled"},
		{"POST", "/reinitialize", `{"force": true}`, 503, "I am the leader, can not reinitialize"},
		{"PATCH", "/config", `{"ttl": `, 400, "Bad request syntax"},
	} {
		if code, text := leader.ask(r.method, r.path, r.body); code != r.code || !strings.Contains(text, r.text) {
			t.Errorf("%s %s %s: %d %q, want %d %q", r.method, r.path, clip(r.body), code, text, r.code, r.text)
		}
	}
	for _, r := range [][2]string{{"POST", "/switchover"}, {"POST", "/failover"}, {"POST", "/restart"}, {"DELETE", "/restart"}, {"DELETE", "/switchover"},
		{"POST", "/reinitialize"}, {"POST", "/reload"}, {"POST", "/sigterm"}, {"PATCH", "/config"}, {"PUT", "/config"}} {
		const body = `{"leader": "n1", "candidate": "n2"}`
		if code, text := c.nodes[1].askAs("", "", r[0], r[1], body); code != 401 || text != "no auth header received" {
			t.Errorf("%s %s without a password: %d %q", r[0], r[1], code, text)
		}
		if code, text := c.nodes[1].askAs(restUser, "guess", r[0], r[1], body); code != 401 || text != "not authenticated" {
			t.Errorf("%s %s with a wrong password: %d %q", r[0], r[1], code, text)
		}
	}
	c.waitHealthy(patience, leader)
	if key := c.key("failover"); key != "" && key != "{}" {
		t.Errorf("the key failover is %s", key)
	}
	if now := c.key("config"); now != config {
		t.Errorf("the configuration became %s", now)
	}
	for i, n := range c.nodes {
		if now := n.postmasterPID(); now != postmasters[i] {
			t.Errorf("%s: postmaster %d became %d", n.name, postmasters[i], now)
		}
	}
	if now := leader.timeline(); now != timeline {
		t.Errorf("timeline %d became %d", timeline, now)
	}
}

// The leader writes what it knows over a configuration that cannot be read; and a
// request that waits for its time survives that guardian and agent of the leader die.
func TestKeysOutliveMistakesAndCrashes(t *testing.T) {
	t.Parallel()
	c, leader := bringUpGuarded(t)
	for _, broken := range []string{"", "not json", "[1]", "{}"} {
		if _, err := c.etcdctl("put", prefix+"config", "--", broken); err != nil {
			t.Fatal(err)
		}
		c.eventually(patience, fmt.Sprintf("%q was written over", broken), func() (bool, string) {
			v := c.key("config")
			return strings.Contains(v, `"loop_wait":2`), v
		})
	}
	waits := `{"leader":"n1","member":"n2","scheduled_at":"2031-01-01T00:00:00+00:00"}`
	leader.want(202, "Switchover scheduled", "POST", "/switchover", `{"leader": "n1", "candidate": "n2", "scheduled_at": "2031-01-01T00:00+00:00"}`)
	if v := c.key("failover"); v != waits {
		t.Fatalf("failover: %s", v)
	}
	from := leader.logSize()
	leader.kill(leader.main.pid(), syscall.SIGKILL, "guardian")
	leader.kill(leader.agentPID(), syscall.SIGKILL, "agent")
	leader.start()
	c.waitHealthy(patience, leader)
	leader.says(from, "took over the leader key of this node's previous agent")
	if v := c.key("failover"); v != waits {
		t.Errorf("the request is gone: %s", v)
	}
}

func TestSwitchoverByRequest(t *testing.T) {
	t.Parallel()
	c, first := bringUpGuarded(t)
	w := c.startWriter(first)
	leader := first

	// moved checks what must hold after the leader has moved by a request.
	moved := func(t *testing.T, to *node, asked time.Time) {
		t.Helper()
		c.waitHealthy(patience, to)
		t.Logf("no writes for %v", w.gap(asked).Round(time.Millisecond))
		c.eventually(patience, "the request is off the store", func() (bool, string) {
			key := c.key("failover")
			return key == "" || key == "{}", key
		})
		w.progress(patience, 20)
		leader = to
	}

	t.Run("to a named candidate, asked at a replica", func(t *testing.T) {
		from, to, asked := leader, c.nodes[1], time.Now()
		c.nodes[2].want(200, fmt.Sprintf(`Successfully switched over to "%s"`, to.name), "POST", "/switchover",
			fmt.Sprintf(`{"leader": "%s", "candidate": "%s"}`, from.name, to.name))
		if key := c.leaderKey(); key != to.name {
			t.Errorf("the answer came while the leader key was %s", key)
		}
		if took := time.Since(asked); took > 4*time.Second {
			t.Errorf("the answer took %v", took)
		}
		moved(t, to, asked)
	})
	t.Run("to the best one", func(t *testing.T) {
		from, asked := leader, time.Now()
		code, text := from.ask("POST", "/switchover", fmt.Sprintf(`{"leader": "%s"}`, from.name))
		m := regexp.MustCompile(`^Successfully switched over to "(n\d)"$`).FindStringSubmatch(text)
		if code != 200 || m == nil || m[1] == from.name {
			t.Fatalf("answered %d %s", code, text)
		}
		moved(t, c.waitNewLeader(patience, from), asked)
	})
	t.Run("at a time", func(t *testing.T) {
		from, to := leader, c.others(leader)[0]
		at := time.Now().Add(5 * time.Second).Truncate(time.Second)
		from.want(202, "Switchover scheduled", "POST", "/switchover",
			fmt.Sprintf(`{"leader": "%s", "candidate": "%s", "scheduled_at": "%s"}`, from.name, to.name, at.Format(time.RFC3339)))
		c.eventually(patience, "GET /cluster shows it", func() (bool, string) {
			_, body := to.get("/cluster")
			return strings.Contains(body, `"scheduled_switchover": {"at": "`) && strings.Contains(body, `"to": "`+to.name+`"`), body
		})
		c.waitLeader(patience, to)
		began := w.firstAfter(to, at.Add(-10*time.Second))
		c.eventually(patience, "the new leader takes writes", func() (bool, string) {
			began = w.firstAfter(to, at.Add(-4*time.Second))
			return !began.IsZero(), "no row"
		})
		if last := w.lastOn(from); last.Before(at.Add(-time.Second)) || began.Before(at) || began.After(at.Add(4*time.Second)) {
			t.Errorf("planned for %v; %s took rows until %v, %s from %v on", at, from.name, last, to.name, began)
		}
		moved(t, to, at)
	})
	t.Run("at a time, taken back", func(t *testing.T) {
		at := time.Now().Add(3 * time.Second)
		body := fmt.Sprintf(`{"leader": "%s", "scheduled_at": "%s"}`, leader.name, at.Format(time.RFC3339Nano))
		leader.want(202, "Switchover scheduled", "POST", "/switchover", body)
		leader.want(200, "scheduled switchover deleted", "DELETE", "/switchover", "")
		leader.want(404, "no switchover is scheduled", "DELETE", "/switchover", "")
		c.eventually(patience, "its time is over", func() (bool, string) { return time.Now().After(at.Add(3 * time.Second)), "" })
		if key := c.leaderKey(); key != leader.name {
			t.Errorf("the leader is %s", key)
		}
	})
	t.Run("failover to a candidate", func(t *testing.T) {
		to, asked := c.others(leader)[1], time.Now()
		to.want(200, fmt.Sprintf(`Successfully failed over to "%s"`, to.name), "POST", "/failover", fmt.Sprintf(`{"candidate": "%s"}`, to.name))
		moved(t, to, asked)
	})
	t.Run("failover with a leader is a switchover", func(t *testing.T) {
		from, to, asked := leader, c.others(leader)[0], time.Now()
		from.want(200, fmt.Sprintf(`Successfully switched over to "%s"`, to.name), "POST", "/failover",
			fmt.Sprintf(`{"leader": "%s", "candidate": "%s"}`, from.name, to.name))
		moved(t, to, asked)
	})
	w.assertNothingLost(t, leader)
	for _, n := range c.nodes {
		if log := n.logSince(0); strings.Contains(log, "pg_rewind") && strings.Contains(log, "running pg_rewind from") {
			t.Errorf("%s was rewound: a planned switchover must not need it", n.name)
		}
	}
}

// TestFailoverWithoutALeaderGoesToALaggingNodeWhenToldSo: nobody takes over by
// itself, because that would lose more than the configuration allows; the
// operator may say so.
func TestFailoverWithoutALeaderGoesToALaggingNodeWhenToldSo(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.dynamic["loop_wait"], c.dynamic["maximum_lag_on_failover"] = 2, 1<<16
	old := c.bringUp(2, guarded)
	replica := c.nodes[1]
	old.must("CREATE TABLE lost (x text)")
	c.eventually(patience, "the table is replicated", func() (bool, string) {
		v, err := replica.query("SELECT count(*) FROM lost")
		return err == nil, v + errorText(err)
	})
	for _, pid := range old.children("walsender") {
		old.kill(pid, syscall.SIGSTOP, "WAL sender")
	}
	old.must("INSERT INTO lost SELECT repeat('x', 1000) FROM generate_series(1, 4000)")
	position := old.must("SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint")
	c.eventually(patience, "the position is published", func() (bool, string) {
		var s struct{ Optime int64 }
		status := c.key("status")
		_ = json.Unmarshal([]byte(status), &s)
		return s.Optime > 0 && !atLeast(position, s.Optime+1), status + " " + position
	})
	c.note("power failure of %s", old.name)
	old.killAll()
	c.eventually(ttl+patience, "the leader key has expired", func() (bool, string) { k := c.leaderKey(); return k == "", k })
	held := time.Now()
	c.eventually(patience, "nobody takes over for three cycles", func() (bool, string) {
		if k := c.leaderKey(); k != "" {
			t.Fatalf("%s leads", k)
		}
		return time.Since(held) > 6*time.Second, ""
	})
	replica.want(412, "leader name does not match", "POST", "/switchover", `{"leader": "n1", "candidate": "n2"}`)
	replica.want(200, `Successfully failed over to "n2"`, "POST", "/failover", `{"candidate": "n2"}`)
	c.waitLeader(patience, replica)
	if v := replica.must("SELECT count(*) FROM lost"); v != "0" {
		t.Errorf("%s rows there that were never received", v)
	}
	old.start()
	c.waitHealthy(patience, replica)
}

func TestRestartByRequest(t *testing.T) {
	t.Parallel()
	c, leader := bringUpGuarded(t)
	w := c.startWriter(leader)
	replica := c.nodes[1]
	timeline := leader.timeline()
	restarted := func(t *testing.T, n *node, before int) {
		t.Helper()
		if now := n.postmasterPID(); now == before || now == 0 {
			t.Errorf("%s: postmaster %d became %d", n.name, before, now)
		}
		c.waitHealthy(patience, leader)
	}

	t.Run("of a replica, by role", func(t *testing.T) {
		before := replica.postmasterPID()
		replica.want(200, "restarted successfully", "POST", "/restart", `{"role": "replica", "timeout": "30s"}`)
		restarted(t, replica, before)
	})
	t.Run("of the leader keeps the leader key", func(t *testing.T) {
		before, asked := leader.postmasterPID(), time.Now()
		leader.want(200, "restarted successfully", "POST", "/restart", "")
		if code, body := leader.get("/health"); code != 200 || !strings.Contains(body, `"state": "running"`) {
			t.Errorf("right after the answer: %d %s", code, body)
		}
		leader.want(202, "Restart scheduled", "POST", "/restart", `{"schedule": "2101-01-01T00:00:00Z"}`)
		restarted(t, leader, before)
		w.progress(patience, 20)
		t.Logf("no writes for %v", w.gap(asked).Round(time.Millisecond))
		if now := leader.timeline(); now != timeline {
			t.Errorf("timeline %d became %d", timeline, now)
		}
		leader.want(200, "scheduled restart deleted", "DELETE", "/restart", "") // nothing has cancelled it
	})
	t.Run("only where one is pending", func(t *testing.T) {
		leader.patch(`{"postgresql": {"parameters": {"max_files_per_process": 900}}}`)
		c.eventually(patience, "a restart is pending", func() (bool, string) {
			d := replica.status()
			return d["pending_restart"] == true, fmt.Sprint(d)
		})
		for _, n := range c.nodes {
			c.eventually(patience, n.name+" knows that a restart is pending", func() (bool, string) {
				d := n.status()
				return d["pending_restart"] == true, fmt.Sprint(d)
			})
			before := n.postmasterPID()
			n.want(200, "restarted successfully", "POST", "/restart", `{"restart_pending": true}`)
			restarted(t, n, before)
			if v := n.must("SHOW max_files_per_process"); v != "900" {
				t.Errorf("%s: max_files_per_process is %s", n.name, v)
			}
			c.eventually(patience, "no restart is pending any more", func() (bool, string) {
				d := n.status()
				return d["pending_restart"] == nil, fmt.Sprint(d)
			})
		}
	})
	t.Run("of servers older than a version", func(t *testing.T) {
		before := replica.postmasterPID()
		replica.want(503, "restart conditions are not satisfied", "POST", "/restart", `{"postgres_version": "9.6.1"}`)
		if now := replica.postmasterPID(); now != before {
			t.Errorf("it was restarted")
		}
		replica.want(200, "restarted successfully", "POST", "/restart", `{"postgres_version": "99.1"}`)
		restarted(t, replica, before)
	})
	t.Run("at a time", func(t *testing.T) {
		before := replica.postmasterPID()
		at := time.Now().Add(4 * time.Second).Truncate(time.Second)
		body := fmt.Sprintf(`{"schedule": "%s", "role": "replica"}`, at.Format(time.RFC3339))
		replica.want(202, "Restart scheduled", "POST", "/restart", body)
		replica.want(409, "Another restart is already scheduled", "POST", "/restart", body)
		c.eventually(patience, "it is shown by the node and in its member key", func() (bool, string) {
			key := c.key("members/" + replica.name)
			d, _ := replica.status()["scheduled_restart"].(object)
			return d["role"] == "replica" && d["postmaster_start_time"] == nil && strings.Contains(key, `"scheduled_restart":{"schedule":`) &&
				strings.Contains(key, `"postmaster_start_time":`), fmt.Sprint(key, d)
		})
		c.eventually(patience, "it is restarted", func() (bool, string) {
			now := replica.postmasterPID()
			return now != 0 && now != before, fmt.Sprint(now)
		})
		if late := time.Since(at); late < 0 || late > 4*time.Second {
			t.Errorf("restarted %v after its time", late)
		}
		restarted(t, replica, before)
		c.eventually(patience, "it is not shown any more", func() (bool, string) {
			d := replica.status()
			return d["scheduled_restart"] == nil, fmt.Sprint(d)
		})
	})
	t.Run("at a time, taken back", func(t *testing.T) {
		before, at := replica.postmasterPID(), time.Now().Add(2*time.Second)
		replica.want(202, "Restart scheduled", "POST", "/restart", fmt.Sprintf(`{"schedule": "%s"}`, at.Format(time.RFC3339Nano)))
		replica.want(200, "scheduled restart deleted", "DELETE", "/restart", "")
		replica.want(404, "no restarts are scheduled", "DELETE", "/restart", "")
		c.eventually(patience, "its time is over", func() (bool, string) { return time.Now().After(at.Add(3 * time.Second)), "" })
		if now := replica.postmasterPID(); now != before {
			t.Errorf("postmaster %d became %d", before, now)
		}
	})
	t.Run("reload reads the node's own configuration", func(t *testing.T) {
		replica.set("tags", object{"zone": "eu-2"})
		replica.writeConfig()
		replica.want(202, "reload scheduled", "POST", "/reload", "")
		c.eventually(patience, "the tag is shown", func() (bool, string) {
			tags, _ := replica.status()["tags"].(object)
			return tags["zone"] == "eu-2", fmt.Sprint(tags)
		})
		if code, _ := replica.get("/replica?tag_zone=eu-2"); code != 200 {
			t.Errorf("GET /replica?tag_zone=eu-2: %d", code)
		}
	})
	t.Run("sigterm does nothing", func(t *testing.T) {
		replica.want(202, "shutdown scheduled", "POST", "/sigterm", "")
		if !replica.running() {
			t.Error("it ended")
		}
	})
	w.assertNothingLost(t, leader)
}

func TestReinitializeByRequest(t *testing.T) {
	t.Parallel()
	c, leader := bringUpGuarded(t)
	w := c.startWriter(leader)
	replica := c.nodes[2]
	marker := func() bool {
		v, err := replica.query("SELECT pg_ls_dir FROM pg_ls_dir('.') WHERE pg_ls_dir = 'marker'")
		return err == nil && v == ""
	}
	mark := func() {
		t.Helper()
		if err := touch(replica.dataDir() + "/marker"); err != nil {
			t.Fatal(err)
		}
	}
	for name, body := range map[string]string{"without a body": "", "from the leader": `{"from_leader": true}`, "by force": `{"force": "yes"}`} {
		t.Run(name, func(t *testing.T) {
			mark()
			replica.want(200, "reinitialize started", "POST", "/reinitialize", body)
			c.eventually(patience, "the data was copied anew", func() (bool, string) { return marker(), "the marker is there, or no answer" })
			c.waitHealthy(patience, leader)
		})
	}
	t.Run("refused on the leader", func(t *testing.T) {
		leader.want(503, "I am the leader, can not reinitialize", "POST", "/reinitialize", `{}`)
	})
	w.assertNothingLost(t, leader)
}

// TestListenAddressIsReloaded: the guardian owns the first socket, the agent
// the next ones.
func TestListenAddressIsReloaded(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := c.bringUp(1, guarded)
	postmaster := n.postmasterPID()
	refused := func(port int) func() (bool, string) {
		return func() (bool, string) {
			conn, err := n.at.dial(contextFor(t, time.Second), "tcp", fmt.Sprintf("%s:%d", n.at.address, port))
			if err == nil {
				conn.Close()
			}
			return err != nil && strings.Contains(err.Error(), "refused"), fmt.Sprint(err)
		}
	}
	serves := func() (bool, string) {
		code, body := n.get("/primary")
		return code == 200, fmt.Sprint(code, body)
	}
	move := func(host string, port int) {
		t.Helper()
		n.set("restapi.listen", fmt.Sprintf("%s:%d", host, port))
		n.set("restapi.connect_address", fmt.Sprintf("%s:%d", n.at.address, port))
		n.writeConfig()
		n.want(202, "reload scheduled", "POST", "/reload", "")
		n.restPort = port
		c.eventually(patience, fmt.Sprintf("it serves at %s:%d", host, port), serves)
		c.eventually(patience, "the address is published", func() (bool, string) {
			key := c.key("members/n1")
			return strings.Contains(key, fmt.Sprintf(`"api_url":"%s/patroni"`, n.restURL())), key
		})
	}
	first, second := n.restPort, freePort(t)
	move(n.at.address, second)
	c.eventually(patience, "the old port refuses", refused(first))

	agent := n.agentPID()
	n.kill(agent, syscall.SIGKILL, "agent")
	c.eventually(patience, "the next agent serves at the new address", func() (bool, string) {
		ok, saw := serves()
		return ok && n.agentPID() != agent, saw
	})
	move("0.0.0.0", second) // the same port, another host
	// The published address does not tell, it is the same. While one socket is exchanged for the other the port refuses.
	c.eventually(patience, "it serves at every address", func() (bool, string) {
		conn, err := n.at.dial(contextFor(t, time.Second), "tcp", fmt.Sprintf("127.0.0.2:%d", second))
		if err == nil {
			conn.Close()
		}
		return err == nil, errorText(err)
	})
	move(n.at.address, first)
	c.eventually(patience, "the other port refuses", refused(second))

	// A port that is taken: everything stays, and goes on being published.
	taken := fmt.Sprintf("%s:%d", n.at.address, n.port)
	n.set("restapi.listen", taken)
	n.set("restapi.connect_address", taken)
	n.writeConfig()
	n.want(202, "reload scheduled", "POST", "/reload", "")
	c.eventually(patience, "it says so", func() (bool, string) {
		return strings.Contains(n.logSince(0), "the REST API stays where it is"), ""
	})
	if ok, saw := serves(); !ok {
		t.Error(saw)
	}
	if key := c.key("members/n1"); strings.Contains(key, `"api_url":"http://`+taken) {
		t.Errorf("published: %s", key)
	}
	if now := n.postmasterPID(); now != postmaster {
		t.Errorf("postmaster %d became %d", postmaster, now)
	}
}
