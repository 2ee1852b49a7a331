package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tamada/internal/cluster"
)

const sample = `scope: batman
name: pg-a
restapi:
  listen: 127.0.0.1:8008
  authentication: {username: patroni, password: rest-secret}
etcd3:
  hosts: 127.0.0.1:2379,127.0.0.2:2379
bootstrap:
  dcs:
    ttl: 30
    loop_wait: 3
    postgresql:
      use_pg_rewind: true
      parameters:
        max_connections: 40
        Wal_Keep_Size: 64MB
        archive_mode: on
        max_wal_senders: 2
  initdb:
  - encoding: UTF8
  - data-checksums
postgresql:
  listen: 127.0.0.1,::1:5432
  connect_address: 127.0.0.1:5432
  data_dir: /var/lib/pg/data
  bin_dir: /usr/lib/postgresql/15/bin
  authentication:
    superuser: {username: postgres, password: super-secret}
    replication: {username: replicator, password: 1234}
  parameters:
    shared_buffers: 16MB
    Archive_Mode: off
    max_connections: 999
tags:
  nofailover: true
  zone: eu-1
`

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRelativeFoldersCountFromWhereTheProgramWasStarted(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	relative := strings.NewReplacer("data_dir: /var/lib/pg/data", "data_dir: data/postgresql0\n  config_dir: ./conf/\n  pgpass: ../pgpass0\n  custom_conf: my.conf",
		"bin_dir: /usr/lib/postgresql/15/bin", "bin_dir: bin").Replace(sample)
	c, err := load(t, relative)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Merge(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, p := range map[string]Postgresql{"loaded": c.Postgresql, "merged": m.Postgresql} {
		if p.DataDir != here+"/data/postgresql0" || p.ConfigDir != here+"/conf" || p.PgPass != filepath.Dir(here)+"/pgpass0" || p.BinDir != here+"/bin" || p.CustomConf != "my.conf" {
			t.Errorf("%s: %q %q %q %q %q", what, p.DataDir, p.ConfigDir, p.PgPass, p.BinDir, p.CustomConf)
		}
	}
	if c.StateDir != here+"/data/postgresql0.tamada" {
		t.Errorf("state folder %q", c.StateDir)
	}
	// Others stay as they are written.
	c, err = load(t, strings.Replace(sample, "data_dir: /var/lib/pg/data", "data_dir: /var/lib//pg/data/", 1))
	if err != nil || c.Postgresql.DataDir != "/var/lib//pg/data/" || c.Postgresql.ConfigDir != "/var/lib//pg/data/" || c.Postgresql.PgPass != "" {
		t.Errorf("%+v %v", c.Postgresql, err)
	}
}

func load(t *testing.T, text string, environ ...string) (*Config, error) {
	t.Helper()
	return Load(write(t, "node.yml", text), environ)
}

func TestSampleLoadsWithDefaults(t *testing.T) {
	t.Parallel()
	c, err := load(t, sample)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range c.Warnings {
		t.Log(w)
	}
	for _, tc := range []struct{ what, got, want string }{
		{"scope", c.Scope, "batman"},
		{"namespace", c.Namespace, "service"},
		{"etcd3 hosts", strings.Join(c.Etcd3.Hosts, " "), "127.0.0.1:2379 127.0.0.2:2379"},
		{"listen", c.Postgresql.Listen.String(), "127.0.0.1,::1:5432"},
		{"state_dir", c.StateDir, "/var/lib/pg/data.tamada"},
		{"api url", c.RestAPI.URL(), "http://127.0.0.1:8008/patroni"},
		{"ctl user falls back", c.Ctl.Username, "patroni"},
		{"number as password", string(c.Postgresql.Replication.Password), "1234"},
		{"rewind user", c.Postgresql.Rewind.Username, "postgres"},
		{"initdb", c.Bootstrap.Initdb[0].String() + " " + c.Bootstrap.Initdb[1].String(), "--encoding=UTF8 --data-checksums"},
		{"boolean parameter", c.Postgresql.Parameters["Archive_Mode"], "False"},
		{"methods", strings.Join(c.Postgresql.CreateReplicaMethods, " "), "basebackup"},
		{"guardian", c.Guardian.Mode, "automatic"},
		{"log level", c.Log.Level, "INFO"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.what, tc.got, tc.want)
		}
	}
	if len(c.Warnings) != 1 || c.Warnings[0].Path != "postgresql.parameters.max_connections" {
		t.Errorf("warnings: %v", c.Warnings)
	}
}

// problems are the lines of an error without the folder of the file.
func problems(t *testing.T, err error) []string {
	t.Helper()
	list, ok := err.(Errors)
	if !ok {
		t.Fatalf("got %v (%T), want Errors", err, err)
	}
	var lines []string
	for _, p := range list {
		p.Pos.Source = filepath.Base(p.Pos.Source)
		lines = append(lines, p.String())
	}
	return lines
}

func TestEachMistakeIsReportedWhereItStands(t *testing.T) {
	t.Parallel()
	change := func(old, new string) string {
		if !strings.Contains(sample, old) {
			t.Fatalf("%q is not in the sample", old)
		}
		return strings.Replace(sample, old, new, 1)
	}
	for _, tc := range []struct{ what, text, want string }{
		{"tab", change("  listen: 127.0.0.1:8008", "\tlisten: 127.0.0.1:8008"), "node.yml:4:2: the YAML cannot be read: a tab is used"},
		{"duplicate", sample + "scope: again\n", "node.yml:37:1: scope: is given a second time (first in line 1)"},
		{"no name", change("name: pg-a\n", ""), "name: is missing"},
		{"scope is a list", change("scope: batman", "scope: [batman]"), "node.yml:1:1: scope: found a list, expected a text"},
		{"boolean as name", change("name: pg-a", "name: on"), "node.yml:2:1: name: found true, expected a text (on, off, yes and no must be quoted"},
		{"no port", change("listen: 127.0.0.1:8008", "listen: 127.0.0.1"), `node.yml:4:3: restapi.listen: "127.0.0.1" has no port, expected HOST:PORT (Invalid "restapi" config: expected <HOST>:<PORT> for "listen", but got "127.0.0.1")`},
		{"no listen", change("  listen: 127.0.0.1:8008\n", ""), `restapi.listen: is missing, expected HOST:PORT (Can not find "restapi.listen" config)`},
		{"half of the credentials", change("{username: patroni, password: rest-secret}", "{username: patroni}"), "node.yml:5:3: restapi.authentication.password: is missing"},
		{"no store", change("etcd3:\n  hosts: 127.0.0.1:2379,127.0.0.2:2379\n", ""), "etcd3: Can not find suitable configuration of distributed configuration store"},
		{"store not yet", change("etcd3:", "consul:"), "node.yml:6:1: consul: this store is not supported yet"},
		{"raft", sample + "raft:\n  self_addr: a:1\n", "node.yml:37:1: raft: the Raft store is replaced by the embedded etcd"},
		{"citus", sample + "citus: {group: 0, database: c}\n", "node.yml:37:1: citus: Citus is not supported yet"},
		{"watchdog", sample + "watchdog: {mode: perhaps}\n", "node.yml:37:12: watchdog.mode: found"},
		{"synchronous mode", change("loop_wait: 3", "synchronous_mode: quorum"), "node.yml:11:5: bootstrap.dcs.synchronous_mode: synchronous replication is not supported yet"},
		{"standby cluster", change("loop_wait: 3", "standby_cluster: {host: a}"), "bootstrap.dcs.standby_cluster: standby clusters are not supported yet"},
		{"seconds with a unit", change("ttl: 30", "ttl: 30s"), `node.yml:10:5: bootstrap.dcs.ttl: found the text "30s", expected a number of seconds`},
		{"switch with a value", change("- data-checksums", "- data-checksums: true"), "write a switch without a value: - data-checksums"},
		{"method without a section", change("  initdb:", "  method: restore\n  initdb:"), "bootstrap.method: there is no section bootstrap.restore with a command"},
		{"list as text", change("  bin_dir: /usr/lib/postgresql/15/bin", "  pg_hba: host all all all md5"), `node.yml:26:3: postgresql.pg_hba: found the text "host all all all md5", expected a list of texts`},
		{"missing blank", change("  parameters:\n    shared_buffers: 16MB\n    Archive_Mode: off\n    max_connections: 999", "  parameters:\n    shared_buffers:16MB"), "node.yml:30:3: postgresql.parameters: found the text \"shared_buffers:16MB\", expected a mapping"},
		{"slip in a name", change("data_dir: /var", "data_dri: /var"), "node.yml:25:3: postgresql.data_dri: unknown key (did you mean postgresql.data_dir?)"},
		{"state in the data folder", sample + "state_dir: /var/lib/pg/data/x\n", "node.yml:37:1: state_dir: /var/lib/pg/data/x is inside the data folder"},
		{"embedded", change("  hosts: 127.0.0.1:2379,127.0.0.2:2379", "  embedded: {peer: 'a:1', client: 'a:2', initial_cluster: 'a'}"), `etcd3.embedded.initial_cluster: member "a" has the address "", expected HOST:PORT`},
	} {
		t.Run(tc.what, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tc.text)
			lines := problems(t, err)
			for _, l := range lines {
				if strings.Contains(l, tc.want) {
					return
				}
			}
			t.Errorf("got\n%s\nwant %s", strings.Join(lines, "\n"), tc.want)
		})
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := load(t, "scope: [a]\nrestapi: {listen: x}\netcd3: {}\n")
	if got := problems(t, err); len(got) != 7 {
		t.Errorf("got %d problems, want 7:\n%s", len(got), strings.Join(got, "\n"))
	}
}

func TestSecretsAreNotRepeatedInErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"restapi: {authentication: {username: a, password: [hunter2]}}",
		"restapi: {authentication: {username: a, password: *hunter2}}",
		"restapi: {authentication: {username: a, password: !hunter2}}",
		"restapi: {authentication: {username: a, password: !hunter2 x}}",
		"postgresql: {authentication: {superuser: hunter2}}",
		"etcd3: {url: 'ftp://u:hunter2@h'}",
		"etcd3: {hosts: 'http://u:hunter2@h:2379'}",
		"etcd3: {host: 'u:hunter2@h:2379'}",
		"etcd3: {password: {hunter2: x}}",
		"consul: {token: hunter2}",
		"bootstrap: {users: {admin: {password: hunter2}}}",
	} {
		_, err := load(t, text)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSecretsAreHiddenWhenPrinted(t *testing.T) {
	t.Parallel()
	c, err := load(t, sample)
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join([]string{sprint("%v", c.Postgresql), sprint("%+v", c.RestAPI), sprint("%#v", c.Ctl)}, ""); strings.Contains(text, "secret") {
		t.Errorf("a secret is printed: %s", text)
	}
}

func TestFolderIsPatchedInTheOrderOfNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"10-base.yml":  sample,
		"20-more.yaml": "name: second\ntags: {nofailover: null, extra: 1}\n",
		"30-not.txt":   "name: third\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "40-folder.yml"), 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := Load(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(cluster.Compact(c.Tags)), `{"zone":"eu-1","extra":1}`; c.Name != "second" || got != want {
		t.Errorf("got %s %s, want second %s", c.Name, got, want)
	}
	if err := os.WriteFile(filepath.Join(dir, "50-bad.yml"), []byte("scope:\n  - a\nscope: b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, nil); err == nil || !strings.Contains(err.Error(), "50-bad.yml:3:1: scope: is given a second time") {
		t.Errorf("got %v", err)
	}
}

func TestErrorPointsIntoTheFileThatWon(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"1.yml": sample, "2.yml": "\n\nrestapi:\n  listen: nowhere\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Load(dir, nil)
	if err == nil || !strings.Contains(err.Error(), "2.yml:4:3: restapi.listen") {
		t.Errorf("got %v", err)
	}
}

func TestOldSpellingsAreTranslated(t *testing.T) {
	t.Parallel()
	text := strings.Replace(sample, `  authentication:
    superuser: {username: postgres, password: super-secret}
    replication: {username: replicator, password: 1234}
`, `  name: old
  replication: {username: rep, password: a}
  pg_rewind: {username: rew, password: b}
`, 1)
	c, err := load(t, strings.Replace(text, "name: pg-a\n", "", 1))
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "old" || c.Postgresql.Replication.Username != "rep" || c.Postgresql.Superuser.Username != "rew" || !c.Postgresql.UsePgRewind {
		t.Errorf("got %s, %+v", c.Name, c.Postgresql)
	}
}

func TestAnchorsAndMergeKeys(t *testing.T) {
	t.Parallel()
	v, err := ParseYAML("x", []byte("base: &b {a: 1, b: 2}\nother: &o {b: 3, c: 4}\nmerged:\n  d: 5\n  <<: [*b, *o]\n  a: 9\nalias: *b\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(cluster.Compact(v)), `{"base":{"a":1,"b":2},"other":{"b":3,"c":4},"merged":{"a":9,"b":2,"c":4,"d":5},"alias":{"a":1,"b":2}}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		p := string(c - 1)
		bomb += string(c) + ": &" + string(c) + " [*" + strings.Repeat(p+",*", 9) + p + "]\n"
	}
	if _, err := ParseYAML("x", []byte(bomb)); err == nil || !strings.Contains(err.Error(), "too many values") {
		t.Errorf("a document that grows by aliases: %v", err)
	}
	if _, err := ParseYAML("x", []byte("a: &a [*a, *a]\n")); err == nil {
		t.Error("an anchor within itself is accepted")
	}
}

func TestClientNeedsOnlyTheStore(t *testing.T) {
	t.Parallel()
	c, err := LoadClient(write(t, "ctl.yml", "scope: s\netcd3: {host: h}\nrestapi: {listen: [wrong]}\npostgresql: wrong\n"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Scope != "s" || strings.Join(c.Etcd3.Hosts, "") != "h:2379" {
		t.Errorf("got %+v", c)
	}
	if _, err := LoadClient(write(t, "ctl.yml", "scope: s\nconsul: {host: h}\n"), nil, nil); err == nil {
		t.Error("a store that is not supported is accepted")
	}
}

func TestEmbeddedStore(t *testing.T) {
	t.Parallel()
	c, err := load(t, strings.Replace(sample, "  hosts: 127.0.0.1:2379,127.0.0.2:2379", `  embedded:
    peer: 10.0.0.1:2380
    client: 10.0.0.1:2379
    initial_cluster: {pg-a: 10.0.0.1:2380, pg-b: 10.0.0.2:2380}`, 1))
	if err != nil {
		t.Fatal(err)
	}
	e := c.Etcd3.Embedded
	if e == nil || e.DataDir != "/var/lib/pg/data.tamada/etcd" || len(e.InitialCluster) != 2 || e.InitialCluster[1] != (Peer{"pg-b", "10.0.0.2:2380"}) {
		t.Errorf("got %+v", e)
	}
	if len(c.Etcd3.Hosts) != 0 {
		t.Errorf("hosts were not configured, got %v", c.Etcd3.Hosts)
	}
}

func TestURLCarriesCredentialsButTheSectionWins(t *testing.T) {
	t.Parallel()
	for yaml, want := range map[string]string{
		"{url: 'https://u:p@h'}":                             "https h:2379 u p",
		"{url: 'https://u:p@h:1', username: x, password: y}": "https h:1 x y",
		"{hosts: [a, 'b:1'], protocol: HTTPS}":               "https a:2379,b:1  ",
	} {
		c, err := LoadClient(write(t, "c.yml", "etcd3: "+yaml), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join([]string{c.Etcd3.Protocol, strings.Join(c.Etcd3.Hosts, ","), c.Etcd3.Username, string(c.Etcd3.Password)}, " "); got != want {
			t.Errorf("%s: got %q, want %q", yaml, got, want)
		}
	}
}

func sprint(format string, v any) string { return fmt.Sprintf(format, v) }

// The YAML library names the beginning of the section, or the end of the file.
func TestSyntaxErrorsPointAtTheLine(t *testing.T) {
	t.Parallel()
	const begin = "scope: a\npostgresql:\n  listen: a:1\n  authentication:\n    superuser: {username: x}\n"
	const end = "  pg_hba:\n  - a\n  - b\nname: n\ntags:\n  a: b\n"
	for line, want := range map[string]string{
		"   data_dir: /x\n":         "6:4: the YAML cannot be read: did not find expected key",
		"  data_dir: \"/x\n":        "6:3: the YAML cannot be read: found unexpected end of stream",
		"  data_dir: '/x\n":         "6:3: the YAML cannot be read: found unexpected end of stream",
		"  data_dir: [a, b\n":       "6:3: the YAML cannot be read: did not find expected ',' or ']'",
		"  data_dir: /x: y\n":       "6:3: the YAML cannot be read: mapping values are not allowed",
		"  data_dir: /x\n - a\n":    "7:2: the YAML cannot be read: did not find expected key",
		"  - a\n":                   "6:3: the YAML cannot be read: did not find expected key",
		"  data_dir: @x\n":          "6:3: the YAML cannot be read: found character that cannot start any token",
		"  data_dir: \"a\\d\"\n":    "6:3: the YAML cannot be read: found unknown escape character",
		"---\n":                     "6:1: the YAML cannot be read: a second document begins",
		"  data_dir: 'a\n\n  b'x\n": "8:3: the YAML cannot be read: did not find expected key",
	} {
		_, err := parseDocument("x", []byte(begin+line+end))
		if err == nil || !strings.HasPrefix(err.Error(), "x:"+want) || !strings.HasSuffix(err.Error(), ")") {
			t.Errorf("%q: got %v, want %s", line, err, want)
		}
	}
}

// A node that runs, or is to run, must not be stopped by words that the REST API
// gets along with (reference rest-api.md 1); a validation refuses them.
func TestWordsThatTheAPIGetsAlongWith(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"server_tokens", "verify_client"} {
		text := strings.Replace(sample, "restapi:\n", "restapi:\n  "+key+": Nonsense\n", 1)
		cfg, err := load(t, text)
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		if got := cfg.RestAPI.ServerTokens + cfg.RestAPI.VerifyClient; !strings.Contains(got, "nonsense") {
			t.Errorf("%s: the API does not get to see it: %q", key, got)
		}
		r := Validate([]string{write(t, "node.yml", text)}, nil)
		if !slices.ContainsFunc(r.Errors, func(p Problem) bool { return p.Path == "restapi."+key }) {
			t.Errorf("%s: a validation says %v", key, r.Errors)
		}
	}
}
