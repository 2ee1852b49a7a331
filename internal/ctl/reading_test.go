package ctl

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"tamada/internal/dcs/memory"
)

// recorded are runs on a situation of which all keys were written down.
var recorded = map[string][]string{
	"unknown-config-key": {"list-explicit-cluster", "list-healthy-default", "list-healthy-extended", "list-healthy-extended-json", "list-healthy-extended-tsv",
		"list-healthy-json", "list-healthy-timestamp", "list-healthy-tsv", "list-healthy-yaml", "list-healthy-yml", "topology-healthy"},
	"healthy":                           {"list-healthy-pretty", "show-config", "history-empty-json", "history-empty-pretty", "history-empty-tsv", "history-empty-yaml"},
	"bootstrapping":                     {"list-bootstrapping"},
	"pending-restart":                   {"list-pending-restart-json", "list-pending-restart-pretty", "list-pending-restart-tsv", "list-pending-restart-yaml", "topology-pending-restart"},
	"permanent-slots":                   {"show-config-slots"},
	"paused":                            {"list-paused-json", "list-paused-pretty", "list-paused-tsv", "list-paused-yaml", "topology-paused"},
	"paused-primary-stopped":            {"list-paused-primary-stopped-json", "list-paused-primary-stopped-pretty", "topology-paused-primary-stopped"},
	"paused-replica-stopped":            {"list-paused-replica-stopped-json", "list-paused-replica-stopped-pretty"},
	"scheduled-restart":                 {"list-scheduled-restart-json", "list-scheduled-restart-pretty", "list-scheduled-restart-tsv", "list-scheduled-restart-yaml"},
	"scheduled-switchover":              {"list-scheduled-switchover-json", "list-scheduled-switchover-pretty", "list-scheduled-switchover-tsv", "list-scheduled-switchover-yaml"},
	"synchronous-mode":                  {"list-synchronous-mode-json", "list-synchronous-mode-pretty", "list-synchronous-mode-tsv", "list-synchronous-mode-yaml", "topology-synchronous-mode"},
	"quorum-mode":                       {"list-quorum-mode-json", "list-quorum-mode-pretty", "list-quorum-mode-tsv", "list-quorum-mode-yaml", "topology-quorum-mode"},
	"quorum-mode-direct":                {"list-quorum-mode-direct"},
	"standby-cluster":                   {"list-standby-cluster-json", "list-standby-cluster-pretty", "list-standby-cluster-tsv", "list-standby-cluster-yaml", "topology-standby-cluster"},
	"replica-being-created":             {"list-creating-replica", "list-creating-replica-json"},
	"after-switchover":                  {"list-after-switchover", "history-json", "history-pretty", "history-tsv", "history-yaml"},
	"after-leader-killed":               {"list-after-leader-killed", "history-after-failovers"},
	"after-leader-agent-stopped":        {"list-after-leader-agent-stopped", "list-after-leader-agent-stopped-2"},
	"all-agents-stopped":                {"list-all-stopped", "list-all-stopped-json"},
	"scheduled-switchover-no-candidate": {"list-scheduled-switchover-no-candidate"},
	"":                                  {"list-unknown-cluster", "list-unknown-cluster-json", "show-config-unknown-cluster", "list-bad-format", "no-command", "unknown-command"},
}

// recordedAt are runs between two such situations: revision of the store at
// which they were made.
var recordedAt = map[int64][]string{56: {"show-config-custom"}, 104: {"list-after-restart"}, 157: {"topology-scheduled-switchover"}, 258: {"list-leader-agent-killed"}}

func TestReadingCommandsPrintWhatTheReferencePrints(t *testing.T) {
	t.Parallel()
	for name, runs := range recorded {
		for _, run := range runs {
			t.Run(run, func(t *testing.T) {
				t.Parallel()
				c := readCapture(t, run)
				b := &bench{stores: map[string]*memory.Server{"batman": situation(t, name)}}
				same(t, b.run(t, c.args...), c)
			})
		}
	}
	for revision, runs := range recordedAt {
		for _, run := range runs {
			t.Run(run, func(t *testing.T) {
				t.Parallel()
				c := readCapture(t, run)
				b := &bench{stores: map[string]*memory.Server{"batman": atRevision(t, revision)}}
				same(t, b.run(t, c.args...), c)
			})
		}
	}
}

// atRevision replays the recorded changes up to a revision.
func atRevision(t *testing.T, revision int64) *memory.Server {
	t.Helper()
	server := memory.New(func() time.Duration { return 0 })
	for key, value := range keysAt(t, revision) {
		server.Set(key, []byte(value))
	}
	return server
}

// keysAt are the keys, below the scope, at a revision.
func keysAt(t *testing.T, revision int64) map[string]string {
	t.Helper()
	data, err := os.ReadFile("../cluster/testdata/etcd3/events.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Rev            int64
			Op, Key, Value string
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if e.Rev > revision {
			break
		}
		key := strings.SplitN(e.Key, "/", 4)[3]
		delete(keys, key)
		if e.Op == "PUT" {
			keys[key] = e.Value
		}
	}
	return keys
}

// made is a store with keys written by hand.
func made(keys ...string) *memory.Server {
	server := memory.New(func() time.Duration { return 0 })
	for i := 0; i+1 < len(keys); i += 2 {
		server.Set(keys[i], []byte(keys[i+1]))
	}
	return server
}

func TestMembersThatAreHalfThereAreShown(t *testing.T) {
	t.Parallel()
	b := &bench{stores: map[string]*memory.Server{"batman": made("initialize", "", "leader", "gone", "status", `{"optime":104857600}`,
		"members/a", `garbage`,
		"members/b", `{"conn_url":"postgres://10.0.0.1:5432/postgres","state":"running","xlog_location":50331648,"replication_state":"streaming","timeline":3}`,
		"members/c", `{"conn_url":"postgres://10.0.0.2:5432/postgres","state":"starting","xlog_location":104857600,"pending_restart_reason":{"x":{"old_value":"`+strings.Repeat("o", 60)+`","new_value":"n"}}}`)}}
	got := b.run(t, "list")
	want := `+ Cluster: batman (initializing) ---------+----+-------------+-----+------------+-----+------------------------+
| Member | Host     | Role    | State     | TL | Receive LSN | Lag | Replay LSN | Lag | Pending restart reason |
+--------+----------+---------+-----------+----+-------------+-----+------------+-----+------------------------+
| a      |          | Replica |           |    |     unknown |     |    unknown |     |                        |
| b      | 10.0.0.1 | Replica | streaming |  3 |   0/3000000 |  52 |    unknown |     |                        |
| c      | 10.0.0.2 | Replica | starting  |    |     unknown |     |  0/6400000 |   0 | x: [hidden - too long] |
+--------+----------+---------+-----------+----+-------------+-----+------------+-----+------------------------+
`
	if got.stdout != want || got.code != 0 {
		t.Errorf("got\n%s\nwant\n%s", got.stdout, want)
	}
}

func TestTopologyFollowsReplicateFrom(t *testing.T) {
	t.Parallel()
	member := func(from string) string {
		return `{"conn_url":"postgres://h:5432/d","state":"running","tags":{"replicatefrom":"` + from + `"}}`
	}
	b := &bench{stores: map[string]*memory.Server{"batman": made("leader", "l", "members/l", member("a"), "members/a", member(""), "members/b", member("a"),
		"members/c", member("b"), "members/d", member("l"), "members/e", member("nobody"), "members/x", member("y"), "members/y", member("x"), "members/z", member("z"))}}
	got := b.run(t, "topology")
	var names []string
	for line := range strings.SplitSeq(got.stdout, "\n") {
		if cells := strings.Split(line, "|"); len(cells) > 2 && !strings.Contains(line, "Member") {
			names = append(names, strings.TrimRight(cells[1][1:], " "))
		}
	}
	if want := "l,+ a,  + b,    + c,+ d,+ e,+ z"; strings.Join(names, ",") != want {
		t.Errorf("got %s, want %s", strings.Join(names, ","), want)
	}
}

func TestTitleIsCutToTheTable(t *testing.T) {
	t.Parallel()
	got := withTitle("+----+\n| TL |\n+----+", "Cluster: long")
	if got != "+ Clu+\n| TL |\n+----+" {
		t.Errorf("got %s", got)
	}
}
