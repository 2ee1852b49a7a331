//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// connString is for a client of the node.
func (n *node) connString() string {
	return fmt.Sprintf("host=%s port=%d user=postgres password=%s dbname=postgres sslmode=disable connect_timeout=2", n.at.address, n.port, superuserPassword)
}

// connect opens a connection to the node's PostgreSQL.
func (n *node) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(n.connString())
	if err != nil {
		return nil, err
	}
	cfg.DialFunc = n.at.dial
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	return pgx.ConnectConfig(ctx, cfg)
}

// query runs a query on a kept connection and returns its one value as text;
// empty for NULL or no row. A connection that broke since is replaced once.
func (n *node) query(sql string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sql != nil {
		v, err := queryOn(ctx, n.sql, sql)
		if err == nil {
			return v, nil
		}
		hangUp(n.sql)
		n.sql = nil
	}
	conn, err := n.connect(ctx)
	if err != nil {
		return "", err
	}
	n.sql = conn
	return queryOn(ctx, conn, sql)
}

func queryOn(ctx context.Context, conn *pgx.Conn, sql string) (string, error) {
	var v any
	err := conn.QueryRow(ctx, sql).Scan(&v)
	switch {
	case errors.Is(err, pgx.ErrNoRows) || err == nil && v == nil:
		return "", nil
	case err != nil:
		return "", err
	}
	return fmt.Sprint(v), nil
}

// must is query where an error ends the test.
func (n *node) must(sql string) string {
	n.c.t.Helper()
	v, err := n.query(sql)
	if err != nil {
		n.c.t.Fatalf("%s: %s: %v", n.name, sql, err)
	}
	return v
}

// timeline of the node's WAL; only where it is a primary.
func (n *node) timeline() int {
	n.c.t.Helper()
	v, err := strconv.ParseInt(n.must("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"), 16, 32)
	if err != nil {
		n.c.t.Fatal(err)
	}
	return int(v)
}

func (n *node) closeViews() {
	n.mu.Lock()
	defer n.mu.Unlock()
	hangUp(n.sql)
	n.sql = nil
}

// get asks the REST API; status is 0 when there is no answer.
func (n *node) get(path string) (status int, body string) {
	resp, err := n.http.Get(n.restURL() + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// etcdctl runs the command of that name.
func (c *cluster) etcdctl(args ...string) ([]byte, error) {
	program, err := exec.LookPath("etcdctl")
	if err != nil {
		c.t.Skip("etcdctl is not installed (scripts/setup installs it)")
	}
	cmd := c.where.command(c.t, append([]string{program, "--endpoints=http://" + c.store, "--command-timeout=2s"}, args...)...)
	cmd.Env = append(cmd.Env, "ETCDCTL_API=3")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("etcdctl %s: %w: %s", strings.Join(args, " "), err, exit.Stderr)
	}
	return out, err
}

// A keyValue is one key.
type keyValue struct {
	Key, Value []byte
	Lease      int64
}

func byName(kvs []keyValue) map[string]keyValue {
	keys := map[string]keyValue{}
	for _, kv := range kvs {
		keys[strings.TrimPrefix(string(kv.Key), prefix)] = kv
	}
	return keys
}

// prefix is what all keys of the cluster begin with.
const prefix = "/service/" + scope + "/"

// keysByEtcdctl reads all keys of the cluster as an operator would.
func (c *cluster) keysByEtcdctl() (map[string]keyValue, error) {
	out, err := c.etcdctl("get", "--prefix", prefix, "-w", "json")
	if err != nil {
		return nil, err
	}
	var answer struct{ Kvs []keyValue }
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("etcdctl get: %w", err)
	}
	return byName(answer.Kvs), nil
}

// keys reads all keys of the cluster, by their names below the prefix. It is for
// polling: starting etcdctl costs more than all the rest of a round.
func (c *cluster) keys() (map[string]keyValue, error) {
	kvs, err := c.fetch(prefix, []byte("/service/"+scope+"0")) // the first key behind the prefix
	return byName(kvs), err
}

// leaderKey is who holds the leader key; empty for nobody or no answer.
func (c *cluster) leaderKey() string {
	kvs, err := c.fetch(prefix+"leader", nil)
	if err != nil || len(kvs) == 0 {
		return ""
	}
	return string(kvs[0].Value)
}

// fetch reads a key, or all keys up to end, through etcd's JSON gateway.
func (c *cluster) fetch(key string, end []byte) ([]keyValue, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	body, err := json.Marshal(struct {
		Key []byte `json:"key"`
		End []byte `json:"range_end,omitempty"`
	}{[]byte(key), end})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.store+"/v3/kv/range", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Kvs   []struct {
			Key, Value []byte
			Lease      int64 `json:",string"`
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if answer.Error != "" {
		return nil, errors.New("read keys: " + answer.Error)
	}
	var kvs []keyValue
	for _, kv := range answer.Kvs {
		kvs = append(kvs, keyValue{kv.Key, kv.Value, kv.Lease})
	}
	return kvs, nil
}

// A member is what a member key says, as far as tests ask.
type member struct {
	State            string `json:"state"`
	Role             string `json:"role"`
	Timeline         int    `json:"timeline"`
	ReplicationState string `json:"replication_state"`
	LSN              int64  `json:"xlog_location"`
}

type storeView struct {
	leader  string
	members map[string]member
}

// view reads what the members have published.
func (c *cluster) view() (storeView, error) {
	v := storeView{members: map[string]member{}}
	keys, err := c.keys()
	if err != nil {
		return v, err
	}
	for key, kv := range keys {
		switch {
		case key == "leader":
			v.leader = string(kv.Value)
		case filepath.Dir(key) == "members":
			var m member
			if err := json.Unmarshal(kv.Value, &m); err != nil {
				return v, fmt.Errorf("key %s: %w", key, err)
			}
			v.members[filepath.Base(key)] = m
		}
	}
	return v, nil
}
