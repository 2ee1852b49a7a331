package cluster

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// pair is one key with a value that a real agent wrote.
type pair struct {
	Key, Value string
	Op         string
}

// captured are all values in the recordings of a real cluster.
func captured(t testing.TB) []pair {
	t.Helper()
	files, err := filepath.Glob("testdata/etcd3/*.json")
	if err != nil || len(files) < 30 {
		t.Fatalf("recordings: %d, %v", len(files), err)
	}
	var all []pair
	for _, f := range files {
		var situation struct{ Keys []pair }
		data, err := os.ReadFile(f)
		if err == nil {
			err = json.Unmarshal(data, &situation)
		}
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all = append(all, situation.Keys...)
	}
	data, err := os.ReadFile("testdata/etcd3/events.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var p pair
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		if p.Op == "PUT" {
			all = append(all, p)
		}
	}
	for i := range all {
		all[i].Key = strings.SplitN(all[i].Key, "/", 4)[3]
	}
	return all
}

// again reads a value of a key and writes it; ok is false for plain text keys.
func again(key, value string) (string, bool) {
	data := []byte(value)
	switch {
	case strings.HasPrefix(key, KeyMembers):
		m := ParseMember(strings.TrimPrefix(key, KeyMembers), data)
		return string(m.JSON()), true
	case key == KeySync:
		s := ParseSync(data)
		return string(s.JSON()), true
	case key == KeyStatus:
		s := ParseStatus(data)
		return string(s.JSON()), true
	case key == KeyFailover:
		f := ParseFailover(data)
		return string(f.JSON()), true
	case key == KeyHistory:
		h, ok := ParseHistory(data)
		return string(h.JSON()), ok
	case key == KeyConfig, key == KeyFailsafe:
		o, err := ParseObject(data)
		return string(Compact(o)), err == nil
	}
	return "", false
}

func TestCapturedValuesAreWrittenBackByteForByte(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for _, p := range captured(t) {
		got, ok := again(p.Key, p.Value)
		kind, _, _ := strings.Cut(p.Key, "/")
		seen[kind]++
		switch kind {
		case KeyLeader, KeyInitialize:
			continue
		}
		if !ok || got != p.Value {
			t.Errorf("%s\n read %s\nwrote %s", p.Key, p.Value, got)
		}
	}
	for _, kind := range []string{"members", KeySync, KeyStatus, KeyFailover, KeyHistory, KeyConfig, KeyFailsafe} {
		if seen[kind] < 3 {
			t.Errorf("only %d values of %s were seen", seen[kind], kind)
		}
	}
}

func TestCapturedMembersLeaveNothingUnderstoodAside(t *testing.T) {
	t.Parallel()
	for _, p := range captured(t) {
		if name, ok := strings.CutPrefix(p.Key, KeyMembers); ok {
			if m := ParseMember(name, []byte(p.Value)); m.Extra != nil {
				t.Errorf("%s: %s not understood: %s", p.Key, Compact(m.Extra), p.Value)
			}
		}
	}
}

func TestBuilderMakesTheClusterOfARecording(t *testing.T) {
	t.Parallel()
	var situation struct {
		Keys []struct {
			Key, Value     string
			ModRevision    Version `json:"mod_revision"`
			CreateRevision Version `json:"create_revision"`
			LeaseID        string  `json:"lease_id"`
		}
	}
	data, err := os.ReadFile("testdata/etcd3/quorum-mode.json")
	if err == nil {
		err = json.Unmarshal(data, &situation)
	}
	if err != nil {
		t.Fatal(err)
	}
	var b Builder
	for i := len(situation.Keys) - 1; i >= 0; i-- { // any order will do
		k := situation.Keys[i]
		b.Add(strings.TrimPrefix(k.Key, "/service/batman/"), []byte(k.Value), k.ModRevision, k.CreateRevision, k.LeaseID)
	}
	b.Add("members/", []byte(`{}`), 1, 1, "")
	b.Add("members/a/b", []byte(`{}`), 1, 1, "")
	b.Add("unknown", []byte(`{}`), 1, 1, "")
	b.Add(KeyOptime, []byte(`5`), 1, 1, "")
	c := b.Cluster()
	leader := c.LeaderMember()
	if len(c.Members) != 3 || c.Members[0].Name != "pg-a" || leader == nil || leader.Role != RolePrimary || c.Leader.Session == "" || c.Leader.Created == 0 {
		t.Fatalf("got %+v", c)
	}
	if leader.Session != c.Leader.Session {
		t.Errorf("leader and its member key hang on %s and %s", c.Leader.Session, leader.Session)
	}
	if !ValidSysid(c.Initialize.Value) || !c.Sync.Active() || c.Status.LSN <= 5 || c.Config.Version == 0 || c.Empty() {
		t.Errorf("got %+v", c)
	}
	if c.Member("pg-x") != nil || (*Cluster)(nil).Member("x") != nil || (*Cluster)(nil).LeaderName() != "" || !(*Cluster)(nil).Empty() {
		t.Error("found what is not there")
	}
	if host, port, ok := leader.Address(); host != "127.0.0.1" || port == 0 || !ok {
		t.Errorf("address %s %d %v", host, port, ok)
	}
}

func TestUnknownFieldsAreKept(t *testing.T) {
	t.Parallel()
	for _, p := range []pair{
		{Key: "members/x", Value: `{"conn_url":"postgres://h:1/d","state":"running","new":{"a":[1,null]},"z":1.50}`},
		{Key: "members/x", Value: `{"state":"running","tamada":{"version":"9","guardian":true,"more":1}}`},
		{Key: KeySync, Value: `{"leader":"a","quorum":1,"sync_standby":"b,c","new":[]}`},
		{Key: KeyStatus, Value: `{"optime":5,"new":"x"}`},
		{Key: KeyStatus, Value: `{"optime":5,"tamada":{"version":"1","guardian":false}}`},
		{Key: KeyFailover, Value: `{"member":"b","new":false}`},
		{Key: KeyHistory, Value: `[[1,5,"r"],[2,6,"r","t"],[3,7,"r","t","l",{"new":1}]]`},
	} {
		if got, _ := again(p.Key, p.Value); got != p.Value {
			t.Errorf("%s\n read %s\nwrote %s", p.Key, p.Value, got)
		}
	}
	// A value of the wrong type is not understood, and not thrown away either.
	m := ParseMember("x", []byte(`{"state":5,"xlog_location":-1,"pause":"yes","timeline":0}`))
	if m.State != "" || m.XLogLocation != 0 || m.Pause || m.Timeline != 0 || m.Extra.Len() != 4 {
		t.Errorf("got %+v", m)
	}
}

var garbage = []string{"", " ", "null", "true", "5", `"text"`, "[]", "[1]", "{", `{"leader":`, "\x00", "\xff", `{"leader":"a"} x`, `{"leader":["a"]}`,
	`{"leader":null,"member":null}`, `{"leader":5,"quorum":1}`, `{"leader":"","sync_standby":"b"}`, strings.Repeat("[", 200) + strings.Repeat("]", 200)}

func TestGarbageNeverBecomesSomething(t *testing.T) {
	t.Parallel()
	for _, g := range garbage {
		data := []byte(g)
		if f := ParseFailover(data); f.Pending() {
			t.Errorf("%q is a failover request: %+v", g, f)
		}
		if s := ParseSync(data); s.Active() || s.Matches("a", true) || s.Matches("b", false) {
			t.Errorf("%q is a synchronous state: %+v", g, s)
		}
		if s := ParseStatus(data); s.LSN != 0 && g != "5" || s.Slots != nil || s.RetainSlots != nil {
			t.Errorf("%q is a status: %+v", g, s)
		}
		if h, ok := ParseHistory(data); ok && (g != "[]" || len(h.Lines) > 0) {
			t.Errorf("%q is a history: %+v", g, h)
		}
		if m := ParseMember("x", data); m.Role != "" || m.State != "" || m.ConnURL != "" {
			t.Errorf("%q is a member with data: %+v", g, m)
		}
		var b Builder
		b.Add(KeyConfig, data, 1, 1, "")
		if c := b.Cluster(); c.Config != nil && !strings.HasPrefix(g, "{") {
			t.Errorf("%q is a configuration: %v", g, c.Config)
		}
	}
	for _, s := range []string{`{"leader":"a","quorum":-1}`, `{"leader":"a","quorum":"1"}`, `{"leader":"a","sync_standby":["b"]}`, `{"leader":"a","quorum":1.5}`} {
		if x := ParseSync([]byte(s)); x.Active() {
			t.Errorf("%s is active: %+v", s, x)
		}
	}
	for _, s := range []string{`[[1,2]]`, `[[1,2,3]]`, `[["1",2,"r"]]`, `[[1,-2,"r"]]`, `[[1,2,"r"],5]`} {
		if h, ok := ParseHistory([]byte(s)); ok {
			t.Errorf("%s is a history: %+v", s, h)
		}
	}
	var none *History
	if none.Timeline() != 0 || (&History{}).Timeline() != 1 {
		t.Error("no history and an empty one are not the same")
	}
}

func TestOldForms(t *testing.T) {
	t.Parallel()
	m := ParseMember("x", []byte("postgres://h:1/d?application_name=http%3A%2F%2Fh%3A8008%2Fpatroni"))
	if m.ConnURL != "postgres://h:1/d" || m.APIURL != "http://h:8008/patroni" {
		t.Errorf("member: %+v", m)
	}
	if m := ParseMember("x", []byte(`{"role":"master"}`)); m.Role != RolePrimary {
		t.Errorf("role: %s", m.Role)
	}
	if f := ParseFailover([]byte("pg-a:pg-b")); f.Leader != "pg-a" || f.Candidate != "pg-b" {
		t.Errorf("failover: %+v", f)
	}
	if s := ParseStatus([]byte("1234")); s.LSN != 1234 {
		t.Errorf("status: %+v", s)
	}
	if s := ParseStatus([]byte(`{"optime":"x","slots":"{\"a\":5}","retain_slots":"[\"a\"]"}`)); s.LSN != 0 || len(s.Slots) != 1 || s.Slots[0] != (Slot{"a", 5}) || len(s.RetainSlots) != 1 {
		t.Errorf("status with parts as text: %+v", s)
	}
	var b Builder
	b.Add(KeyOptime, []byte("77"), 3, 3, "")
	if c := b.Cluster(); c.Status.LSN != 77 {
		t.Errorf("without status the old key counts: %+v", c.Status)
	}
}

func TestSlotNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"Node.1": "node_1", "a b": "au0032b", "pg-a": "pg_a", "ä": "u0228", "a/b": "au0047b", strings.Repeat("x", 70): strings.Repeat("x", 63)} {
		if got := SlotName(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		if got := SlotName(rapid.String().Draw(t, "name")); len(got) > 63 || strings.Trim(got, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			t.Fatalf("%q is not a slot name", got)
		}
	})
}

func TestSyncComparesWithoutRegardToCase(t *testing.T) {
	t.Parallel()
	s := ParseSync([]byte(`{"leader":"PG-A","sync_standby":" b , C,"}`))
	if !s.Matches("c", false) || !s.Matches("B", false) || s.Matches("pg-a", false) || !s.Matches("pg-a", true) || s.Matches("", false) {
		t.Errorf("got %+v", s)
	}
	s.Members = []string{"c", "a"}
	if got, want := string(s.JSON()), `{"leader":"PG-A","quorum":0,"sync_standby":"a,c"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := string((&Sync{}).JSON()), `{"leader":null,"quorum":0,"sync_standby":null}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMembersReadBack(t *testing.T) {
	t.Parallel()
	text := rapid.StringMatching(`[ -~äß€😀]{0,12}`)
	rapid.Check(t, func(t *rapid.T) {
		m := Member{Name: "x", ConnURL: text.Draw(t, "conn"), APIURL: text.Draw(t, "api"), State: State(text.Draw(t, "state")), Role: RoleReplica,
			XLogLocation: LSN(rapid.Uint64().Draw(t, "xlog")), ReceiveLSN: LSN(rapid.Uint64().Draw(t, "receive")), Timeline: Timeline(rapid.Uint32().Draw(t, "tli")),
			Pause: rapid.Bool().Draw(t, "pause"), PendingRestart: rapid.Bool().Draw(t, "pending"), CheckpointPending: rapid.Bool().Draw(t, "checkpoint"),
			Tags: NewObject("a", text.Draw(t, "tag"))}
		if rapid.Bool().Draw(t, "ours") {
			m.Agent = &AgentInfo{Version: "1", Guardian: rapid.Bool().Draw(t, "guardian"),
				ConfigError: rapid.SampledFrom([]string{"", "x.yml:1:2: ttl: too small"}).Draw(t, "config error")}
		}
		back := ParseMember("x", m.JSON())
		if back.Extra != nil || !bytes.Equal(back.JSON(), m.JSON()) || back.XLogLocation != m.XLogLocation || back.Pause != m.Pause || (back.Agent == nil) != (m.Agent == nil) {
			t.Fatalf("wrote %s\nread %+v", m.JSON(), back)
		}
	})
}
