package config

import (
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tamada/internal/cluster"
)

func mustObject(t *testing.T, json string) *cluster.Object {
	t.Helper()
	o, err := cluster.ParseObject([]byte(json))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func merge(t *testing.T, dynamic string) *Merged {
	t.Helper()
	c, err := load(t, sample)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Merge(c, mustObject(t, dynamic))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestControlledParametersComeFromTheStoreAlone(t *testing.T) {
	t.Parallel()
	m := merge(t, `{"postgresql":{"parameters":{"MAX_CONNECTIONS":"200","max_wal_senders":2,"wal_level":"Logical","hot_standby":"off",
		"port":1,"cluster_name":"x","listen_addresses":"*","wal_keep_size":"8MB","work_mem":"4MB","nothing":null,"shared_buffers":"1GB"}}}`)
	p := m.Postgresql.Parameters
	for name, want := range map[string]string{
		"MAX_CONNECTIONS": "200", "max_wal_senders": "10", "wal_level": "Logical", "hot_standby": "on", "port": "5432",
		"cluster_name": "batman", "listen_addresses": "127.0.0.1,::1", "max_worker_processes": "8", "wal_log_hints": "on",
		"work_mem": "4MB", "shared_buffers": "16MB", "Archive_Mode": "False", "track_commit_timestamp": "off",
	} {
		if p[name] != want {
			t.Errorf("%s is %q, want %q", name, p[name], want)
		}
	}
	for _, name := range []string{"max_connections", "wal_keep_size", "nothing"} {
		if v, there := p[name]; there {
			t.Errorf("%s is there: %q", name, v)
		}
	}
	want := []string{
		"postgresql parameter max_wal_senders=2 failed validation, defaulting to 10",
		"postgresql parameter hot_standby=off failed validation, defaulting to on",
		"postgresql parameter wal_keep_size=8MB failed validation, defaulting to 128MB",
	}
	if !slices.Equal(m.Warnings, want) {
		t.Errorf("warnings\n%s", strings.Join(m.Warnings, "\n"))
	}
}

func TestLocalKeyReplacesTheDynamicOneWhole(t *testing.T) {
	t.Parallel()
	c, err := load(t, strings.Replace(sample, "  parameters:\n    shared_buffers", "  pg_hba: [local]\n  callbacks: {on_stop: b}\n  use_slots: true\n  pg_ident:\n  parameters:\n    shared_buffers", 1))
	if err != nil {
		t.Fatal(err)
	}
	m, err := Merge(c, mustObject(t, `{"ttl":20,"loop_wait":5,"retry_timeout":5,"postgresql":{"pg_hba":["dynamic","lines"],"pg_ident":["x"],"callbacks":{"on_start":"a"},
		"data_dir":"/elsewhere","listen":"*:1","authentication":{},"use_slots":false,"use_pg_rewind":true,"wal_e":{"command":"x","no_leader":1},
		"create_replica_methods":["wal_e","basebackup"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	p := m.Postgresql
	if !slices.Equal(p.PgHBA, []string{"local"}) || p.PgIdent != nil || p.Callbacks["on_start"] != "" || p.Callbacks["on_stop"] != "b" {
		t.Errorf("local keys do not replace: %+v", p)
	}
	if p.DataDir != "/var/lib/pg/data" || p.Listen.Port != 5432 || p.Replication.Username != "replicator" {
		t.Errorf("keys that are local only were taken from the store: %+v", p)
	}
	if p.UseSlots || !p.UsePgRewind || !slices.Equal(p.CreateReplicaMethods, []string{"wal_e", "basebackup"}) || p.Methods["wal_e"] == nil {
		t.Errorf("keys of the store are not taken: %+v", p)
	}
	if m.Settings.TTL.Seconds() != 20 {
		t.Errorf("ttl is %v", m.Settings.TTL)
	}
}

func TestBrokenDocumentIsRejectedAsAWhole(t *testing.T) {
	t.Parallel()
	c, err := load(t, sample)
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range []string{`{"ttl":"30s"}`, `{"loop_wait":null}`, `{"postgresql":{"parameters":["a"]}}`, `{"postgresql":"x"}`} {
		if m, err := Merge(c, mustObject(t, doc)); err == nil {
			t.Errorf("%s is accepted: %+v", doc, m.Settings)
		}
	}
}

func TestRoleOverridesSpareControlledParameters(t *testing.T) {
	t.Parallel()
	m := merge(t, `{"postgresql":{"parameters_primary":{"WORK_MEM":"8MB","max_connections":1},"pg_hba_replica":["only"],"parameters":{"work_mem":"1MB"}}}`)
	p, hba, _, warnings := m.Postgresql.ForRole(cluster.RolePromoted)
	if p["WORK_MEM"] != "8MB" || p["work_mem"] != "" || p["max_connections"] != "100" || hba != nil {
		t.Errorf("primary: %v %v", p, hba)
	}
	if want := "Role-based config attempted to override protected parameter 'max_connections', ignoring"; len(warnings) != 1 || warnings[0] != want {
		t.Errorf("warnings: %v", warnings)
	}
	p, hba, _, _ = m.Postgresql.ForRole(cluster.RoleDemoted)
	if p["work_mem"] != "1MB" || !slices.Equal(hba, []string{"only"}) {
		t.Errorf("replica: %v %v", p, hba)
	}
	if p, hba, _, _ = m.Postgresql.ForRole(cluster.RoleUninitialized); p["work_mem"] != "1MB" || hba != nil {
		t.Errorf("uninitialized: %v %v", p, hba)
	}
	if m.Postgresql.Parameters["work_mem"] != "1MB" {
		t.Error("asking for a role changed the common parameters")
	}
}

func TestUnsupportedNamesEachKey(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{}`:                            "",
		`{"synchronous_mode":true}`:     "synchronous_mode",
		`{"synchronous_mode":"quorum"}`: "synchronous_mode",
		`{"synchronous_mode":"off","pause":"no"}`:                               "",
		`{"ttl":"x","pause":true,"failsafe_mode":"on"}`:                         "",
		`{"standby_cluster":{"host":"","create_x":1}}`:                          "",
		`{"standby_cluster":{"port":1},"synchronous_mode":1}`:                   "synchronous_mode standby_cluster",
		`{"slots":{},"permanent_slots":null,"ignore_slots":[{}]}`:               "",
		`{"slots":{"a":null}}`:                                                  "slots",
		`{"permanent_replication_slots":{"a":null},"permanent_slots":{"b":{}}}`: "permanent_replication_slots permanent_slots",
	} {
		var keys []string
		for _, line := range Unsupported(mustObject(t, doc)) {
			key, _, _ := strings.Cut(line, ":")
			keys = append(keys, key)
		}
		if got := strings.Join(keys, " "); got != want {
			t.Errorf("%s: got %q, want %q", doc, got, want)
		}
	}
	if Unsupported(nil) != nil {
		t.Error("no document has something unsupported")
	}
}

func TestPublishedTags(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"nofailover":false,"nosync":true,"clonefrom":false,"zone":"a","x":null}`:    `{"nosync":true,"zone":"a","x":null}`,
		`{"nofailover":false,"failover_priority":0,"sync_priority":2}`:                `{"nofailover":false,"failover_priority":0,"sync_priority":2}`,
		`{"nofailover":"false","noloadbalance":0,"nostream":"no","replicatefrom":""}`: `{"nofailover":"false","nostream":"no","replicatefrom":""}`,
	} {
		got, _ := PublishedTags(mustObject(t, in))
		if string(cluster.Compact(got)) != want {
			t.Errorf("%s: got %s, want %s", in, cluster.Compact(got), want)
		}
	}
	_, warnings := PublishedTags(mustObject(t, `{"nofailover":true,"failover_priority":1,"nosync":false,"sync_priority":1}`))
	if want := "Conflicting configuration between nofailover: True and failover_priority: 1. Defaulting to nofailover: True"; len(warnings) != 1 || warnings[0] != want {
		t.Errorf("warnings: %v", warnings)
	}
}

func TestCacheIsReadBackAndPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if doc, err := LoadCache(dir); doc != nil || err != nil {
		t.Fatalf("nothing cached: %v, %v", doc, err)
	}
	doc := mustObject(t, `{"ttl": 30, "x": ["é", 1.50]}`)
	for range 2 {
		if err := SaveCache(dir, doc, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	back, err := LoadCache(dir)
	if err != nil || !cluster.Equal(back, doc) {
		t.Fatalf("read back %v, %v", back, err)
	}
	files, _ := os.ReadDir(dir)
	info, _ := files[0].Info()
	if len(files) != 1 || info.Mode().Perm() != 0o600 {
		t.Errorf("left %v, mode %v", files, info.Mode())
	}
	if err := os.WriteFile(dir+"/"+CacheFile, []byte("[1]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if doc, err := LoadCache(dir); doc != nil || err == nil {
		t.Errorf("a cache that is not an object: %v, %v", doc, err)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"127.0.0.1:1": "127.0.0.1:1", "[::1]:5433": "[::1]:5433", "::1:5433": "[::1]:5433", "a,b:2": "a,b:2",
		"a, [::1] ,::2:3": "a,::1,::2:3", "h": "h:5432", ":7": ":7", "*:8": "*:8",
		"[::1]": "", "h:": "", "h:0": "", "h:65536": "", "h:x": "", "http://h:1": "", "u@h:1": "", "a b:1": "",
	} {
		a, err := ParseAddress(in, 5432)
		if (err != nil) != (want == "") || err == nil && a.String() != want {
			t.Errorf("%q: got %v, %v, want %q", in, a, err, want)
		}
	}
	if _, err := ParseAddress("h", 0); err == nil {
		t.Error("a port is needed and missing")
	}
	for in, ok := range map[string]bool{"10.0.0.1:1": true, "h": true, "127.0.0.1:1": false, "*:1": false, "[::1]:1": false, "a,b:1": false, "": false} {
		if err := CheckConnectAddress(in); (err == nil) != ok {
			t.Errorf("connect address %q: %v", in, err)
		}
	}
}

func TestAddressesReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		host := rapid.StringMatching(`[a-z0-9.]{1,20}|[0-9a-f]{1,4}(:[0-9a-f]{0,4}){2,7}`).Draw(t, "host")
		port := rapid.IntRange(1, 65535).Draw(t, "port")
		a := Address{[]string{host}, port}
		b, err := ParseAddress(a.String(), 0)
		if err != nil || b.Port != port || len(b.Hosts) != 1 || b.Hosts[0] != host {
			t.Fatalf("%v: read back %v, %v", a, b, err)
		}
	})
}

func TestEveryKeyOfTheTableIsUsable(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range Keys() {
		id := k.Path + map[Place]string{Local: " local", Dynamic: " dynamic", Both: ""}[k.Place]
		if seen[id] || k.Doc == "" || k.Place == 0 {
			t.Errorf("%s: is there twice, or has no place or no meaning", k.Path)
		}
		seen[id] = true
		if k.Env != "" && k.Place&Local == 0 {
			t.Errorf("%s has a variable and is not local", k.Path)
		}
		for path := k.Path; strings.Contains(path, "."); {
			path = path[:strings.LastIndexByte(path, '.')]
			if p := trees().local.find(path); k.Place&Local != 0 && (p == nil || p.key == nil || p.key.Kind != Section && p.key.Kind != Map) {
				t.Errorf("%s stands in %s, which is not a section of the table", k.Path, path)
			}
		}
	}
}
