package setup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tryValidate writes files, checks them, and returns the lines without folders.
func tryValidate(t *testing.T, o ValidateOptions, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for i, text := range files {
		p := filepath.Join(dir, fmt.Sprintf("%d.yml", i+1))
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	var b bytes.Buffer
	if err := WriteReport(&b, Validate(paths, nil, o), "text"); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(b.String(), dir+"/", "")
}

// good is a configuration without a mistake; its parts can be replaced.
func good(t *testing.T) string {
	return fmt.Sprintf(`scope: b
name: a
restapi:
  listen: %s
etcd3:
  hosts: [10.0.0.1:2379]
bootstrap:
  dcs:
    ttl: 30
    loop_wait: 10
    retry_timeout: 10
    postgresql:
      parameters:
        max_connections: 100
        archive_mode: on
  initdb:
    - encoding: UTF8
    - data-checksums
postgresql:
  listen: %s
  data_dir: %s
  bin_dir: %s
  authentication:
    superuser: {username: postgres, password: secret1}
    replication: {username: replicator, password: secret2}
  parameters:
    shared_buffers: 128MB
`, free(t), free(t), t.TempDir(), fakeBin(t, append(neededPrograms, "pg_rewind")...))
}

func TestValidateFindsEverythingInOneRun(t *testing.T) {
	t.Parallel()
	base := good(t)
	if got := tryValidate(t, ValidateOptions{}, base); got != "" {
		t.Fatalf("the base is not good: %s", got)
	}
	port, _ := listener(t)
	change := func(pairs ...string) string {
		text := base
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(text, pairs[i]) {
				t.Fatalf("%q is not there", pairs[i])
			}
			text = strings.Replace(text, pairs[i], pairs[i+1], 1)
		}
		return text
	}
	for _, c := range []struct {
		what, text string
		want       []string
	}{
		{"three mistakes", change("  data_dir:", "  data_dri:", "shared_buffers: 128MB", "shared_bufers: 128MB\n    work_mem: lots", "ttl: 30", "ttl: 20"), []string{
			`error: 1.yml:9:5: bootstrap.dcs.ttl: ttl = 20 does not fit: it must be at least loop_wait + 2 × retry_timeout = 10 + 2 × 10 = 30, or the leader loses its key while it still tries to keep it (raise ttl to 30, or lower retry_timeout to 5)`,
			`error: 1.yml:19:1: postgresql.data_dir: is missing, expected a text (Data folder.)`,
			`error: 1.yml:28:5: postgresql.parameters.work_mem: found lots, expected a number from 64 to 2147483647 (in kB, or with a unit) (agents would correct it or leave it out)`,
			`warning: 1.yml:21:3: postgresql.data_dri: unknown key (did you mean postgresql.data_dir?)`,
			`warning: 1.yml:27:5: postgresql.parameters.shared_bufers: PostgreSQL 15 has no such parameter (did you mean shared_buffers?)`}},
		{"data-checksums: true", change("- data-checksums", "- data-checksums: true"), []string{
			`error: 1.yml:16:3: bootstrap.initdb: option data-checksums has the value true; write a switch without a value: - data-checksums (each line is "- switch" or "- option: value")`}},
		{"a blank is missing behind the dash", change("    - data-checksums", "    -data-checksums"), []string{
			`error: 1.yml:18:5: the YAML cannot be read: an item of a list has no blank behind its dash (write "- item")`}},
		{"and is indented more", change("    - data-checksums", "        -data-checksums"), []string{
			`error: 1.yml:17:7: bootstrap.initdb.0.encoding: the text goes on in the next line, which begins with a dash (write "- item" with a blank behind the dash, or quote the text)`}},
		{"a list became a text", change("  listen: "+strings.TrimPrefix(base[strings.LastIndex(base, "  listen: "):strings.Index(base, "\n  data_dir")], "  listen: "),
			"  pg_hba:\n    -host all all all md5\n  listen: "+free(t)), []string{
			`error: 1.yml:20:3: postgresql.pg_hba: found the text "-host all all all md5", expected a list of texts (each line begins with "- ", with a blank behind the dash)`}},
		{"a tab", change("  dcs:", "\tdcs:"), []string{`error: 1.yml:8:2: the YAML cannot be read: a tab is used for indentation (YAML allows only blanks there)`}},
		{"a key twice", base + "scope: c\n", []string{`error: 1.yml:28:1: scope: is given a second time (first in line 1) (remove one of them)`}},
		{"a port in use", change("  listen: "+base[strings.Index(base, "listen: ")+8:strings.Index(base, "\netcd3")], "  listen: "+port), []string{
			`error: 1.yml:4:3: restapi.listen: port ` + port[10:] + ` of 127.0.0.1 is in use (choose another, or say --ignore-listen-port if it is this node that runs)`}},
		{"controlled parameters", change("max_connections: 100", "max_connections: 10\n        port: 5433\n        wal_level: minimal"), []string{
			`error: 1.yml:14:9: bootstrap.dcs.postgresql.parameters.max_connections: found the number 10, expected an integer from 25 (agents would use the default instead)`,
			`error: 1.yml:15:9: bootstrap.dcs.postgresql.parameters.port: is ignored here: it comes from other keys`,
			`error: 1.yml:16:9: bootstrap.dcs.postgresql.parameters.wal_level: found the text "minimal", expected replica or logical (agents would use the default instead)`}},
		{"a store that comes later", change("etcd3:\n  hosts: [10.0.0.1:2379]", "consul:\n  hots: h\n  port: many"), []string{
			`error: 1.yml:5:1: consul: this store is not supported yet; use etcd3`,
			`error: 1.yml:7:3: consul.port: found the text "many", expected an integer`,
			`warning: 1.yml:6:3: consul.hots: unknown key (did you mean consul.host?)`}},
		{"slots", change("    ttl: 30", "    slots: {My-Slot: , ok: {type: logical}}"), []string{
			`error: 1.yml:9:13: bootstrap.dcs.slots.My-Slot: is no name of a slot, expected 1 to 63 lower-case letters, digits and underscores`,
			`error: 1.yml:9:24: bootstrap.dcs.slots.ok: is logical and has no database or plugin`,
			`warning: 1.yml:9:5: bootstrap.dcs.slots: permanent replication slots are not supported yet`}},
		{"properties of slots", change("    ttl: 30", "    slots: {a: {type: phsical}, b: {cluster_type: main}, c: {database: [x]}, d: 5}"), []string{
			`error: 1.yml:9:17: bootstrap.dcs.slots.a.type: found the text "phsical", expected physical or logical`,
			`error: 1.yml:9:37: bootstrap.dcs.slots.b.cluster_type: found the text "main", expected primary or standby`,
			`error: 1.yml:9:62: bootstrap.dcs.slots.c.database: found a list, expected a text`,
			`error: 1.yml:9:78: bootstrap.dcs.slots.d: found the number 5, expected a mapping, or nothing`,
			`warning: 1.yml:9:5: bootstrap.dcs.slots: permanent replication slots are not supported yet`}},
		{"numbers below their limit", change("    ttl: 30", "    ttl: 30\n    maximum_lag_on_failover: -1\n    primary_start_timeout: -5\n    member_slots_ttl: -1s", "postgresql:\n  listen", "log: {file_size: -1}\npostgresql:\n  pg_ctl_timeout: -3\n  listen"), []string{
			`error: 1.yml:10:5: bootstrap.dcs.maximum_lag_on_failover: -1 is below the least value 0`,
			`error: 1.yml:11:5: bootstrap.dcs.primary_start_timeout: -5 is below the least value 0`,
			`error: 1.yml:12:5: bootstrap.dcs.member_slots_ttl: -1 is below the least value 0`,
			`error: 1.yml:22:7: log.file_size: -1 is below the least value 0`,
			`error: 1.yml:24:3: postgresql.pg_ctl_timeout: -3 is below the least value 0`}},
		{"short leases", change("    ttl: 30\n    loop_wait: 10\n    retry_timeout: 10", "    ttl: 5\n    loop_wait: 1\n    retry_timeout: 2"), []string{
			`warning: 1.yml:9:5: bootstrap.dcs.ttl: 5 is below 20, which is possible only while every member of the cluster has a guardian (otherwise agents raise it to 20)`,
			`warning: 1.yml:11:5: bootstrap.dcs.retry_timeout: 2 is below 3, which is possible only while every member of the cluster has a guardian (otherwise agents raise it to 3)`}},
		{"tags", base + "tags: {nofailover: 'false', clonefrom: yes, nosync: 1, nostream: off, mine: 'false'}\n", []string{
			`error: 1.yml:28:8: tags.nofailover: found the text "false", expected true or false (a text counts as true, whatever it says: take the quotes off)`,
			`error: 1.yml:28:45: tags.nosync: found the number 1, expected true or false`}},
		{"a slip in a tag", base + "tags: {nofailovr: true, zone: a}\n", []string{
			`warning: 1.yml:28:8: tags.nofailovr: is a tag of your own (did you mean tags.nofailover?)`}},
		{"numbers that were meant as texts", change("scope: b", "scope: 0123", "password: secret1", "password: 0x1F"), []string{
			`error: 1.yml:1:1: scope: 0123 is read as the number 83 (quote it, so that it stays the text that it is)`,
			`error: 1.yml:24:37: postgresql.authentication.superuser.password: is read as a number, and changed by that (quote it, so that it stays the text that it is)`}},
		{"formats of the log", base + "log: {format: [a, {b: 5}]}\n", []string{
			`error: 1.yml:28:7: log.format: found a mapping in the list, expected a text, or a list of texts and of pairs "field: name"`,
			`warning: 1.yml:28:7: log.format: is a list, which counts only where log.type is json`}},
		{"matchers and Kubernetes", change("    ttl: 30", "    ignore_slots: {name: a}", "etcd3:\n", "kubernetes: {labels: {a: b}, ports: [{name: x}], pod_ip: 1.2.3, retriable_http_codes: [x]}\netcd3:\n"), []string{
			`error: 1.yml:5:1: kubernetes: this store is not supported yet; use etcd3`,
			`error: 1.yml:5:30: kubernetes.ports: an item of the list has no name, or no port between 1 and 65535, expected a list of {name, port, protocol}`,
			`error: 1.yml:5:50: kubernetes.pod_ip: found the text "1.2.3", expected an IP address`,
			`error: 1.yml:5:65: kubernetes.retriable_http_codes: found the text "x", expected an HTTP status code, or a list of them`,
			`error: 1.yml:10:5: bootstrap.dcs.ignore_slots: found a mapping, expected a list of mappings with any of name, type, database and plugin`}},
		{"all addresses and one more", change("listen: "+base[strings.LastIndex(base, "listen: ")+8:strings.Index(base, "\n  data_dir")], "listen: '127.0.0.1,*:25432'"), []string{
			`error: 1.yml:20:3: postgresql.listen: * stands beside other addresses, expected it alone (it means all addresses)`}},
		{"one bad host of a list", change("hosts: [10.0.0.1:2379]", "hosts: [10.0.0.1:2379, 5, 'a b:1']"), []string{
			`error: 1.yml:6:26: etcd3.hosts.1: found the number 5, expected HOST:PORT (quote it)`,
			`error: 1.yml:6:29: etcd3.hosts.2: "a b" is not a host name or address, expected HOST:PORT`}},
		{"a method that is no text", change("bootstrap:\n", "bootstrap:\n  method: 5\n"), []string{
			`error: 1.yml:8:3: bootstrap.method: there is no section bootstrap.5 with a command`}},
		{"what generate-config left open", change("scope: b", "scope: '#FIXME'"), []string{
			`warning: 1.yml:1:1: scope: still says #FIXME (only you know the value)`}},
		{"a key twice, and other mistakes", change("ttl: 30", "ttl: 20") + "scope: c\n", []string{
			`error: 1.yml:9:5: bootstrap.dcs.ttl: ttl = 20 does not fit`,
			`error: 1.yml:28:1: scope: is given a second time (first in line 1) (remove one of them)`}},
		{"no programs", change("  bin_dir: /", "  bin_dir: /nowhere/"), []string{"error: 1.yml:22:3: postgresql.bin_dir: there is no folder /nowhere/"}},
		{"empty", "", []string{`error: 1.yml:1:1: Config is empty. (give a file, or set PATRONI_CONFIGURATION or other PATRONI_* or TAMADA_* variables)`}},
	} {
		got := strings.Split(strings.TrimSuffix(tryValidate(t, ValidateOptions{}, c.text), "\n"), "\n")
		for i, w := range c.want {
			if i >= len(got) || !strings.HasPrefix(got[i], w) {
				t.Errorf("%s: want\n%s\ngot\n%s", c.what, strings.Join(c.want, "\n"), strings.Join(got, "\n"))
				break
			}
		}
		if len(got) > len(c.want) {
			t.Errorf("%s: too much:\n%s", c.what, strings.Join(got[len(c.want):], "\n"))
		}
	}
}

func TestSeveralFilesAreMerged(t *testing.T) {
	t.Parallel()
	base := good(t)
	if got := tryValidate(t, ValidateOptions{}, base, "postgresql: {parameters: {work_mem: 8MB}}\nname: c\n"); got != "" {
		t.Error(got)
	}
	got := tryValidate(t, ValidateOptions{}, base, "postgresql:\n  parameters:\n    work_mem: 8mb\n")
	if want := "error: 2.yml:3:5: postgresql.parameters.work_mem: found 8mb, expected a number"; !strings.HasPrefix(got, want) {
		t.Errorf("%s", got)
	}
	// A folder is the same, half of one is told as what is missing.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("scope: b\nname: a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := Validate([]string{dir}, nil, ValidateOptions{})
	if len(r.Errors) == 0 || !strings.Contains(fmt.Sprint(r.Errors), "restapi.listen: is missing") {
		t.Errorf("%v", r.Errors)
	}
}

// What is wrong with a source as a whole is said in place of what would be
// missing because of it.
func TestSourcesThatHoldNothingAreErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	base := good(t)
	node, list, broken, empty := file("node.yml", base), file("list.yml", "- a\n"), file("broken.yml", "a: [\n"), file("empty.yml", "# nothing\n")
	file("folder/1.yml", base)
	file("folder/2.yml", "")
	file("half/1.yml", "scope: x\n")
	link := filepath.Join(dir, "loop.yml")
	if err := os.Symlink(link, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		paths []string
		want  []string
	}{
		{[]string{filepath.Join(dir, "nowhere.yml")}, []string{"error: nowhere.yml: does not exist"}},
		{[]string{node, filepath.Join(dir, "nowhere.yml")}, []string{"error: nowhere.yml: does not exist"}},
		{[]string{node, empty}, []string{"error: empty.yml:1:1: does not contain a dict (there is nothing in it)"}},
		{[]string{empty}, []string{"error: empty.yml:1:1: Config is empty."}},
		{[]string{list}, []string{`error: list.yml:1:1: does not contain a dict (a line is "key: value", with a blank behind the colon)`}},
		{[]string{list, node, broken}, []string{"error: broken.yml:1:1: the YAML cannot be read: did not find expected node content (a value, or a closing bracket, is missing)", "error: list.yml:1:1: does not contain a dict"}},
		{[]string{filepath.Join(dir, "folder")}, []string{"error: folder/2.yml:1:1: does not contain a dict (the file is empty: fill it, or remove it)"}},
		{[]string{link}, []string{"error: loop.yml: cannot be read: too many levels of symbolic links"}},
		{[]string{filepath.Join(dir, "half")}, []string{"error: half: name: is missing, expected a text", "error: half: restapi.listen: is missing, expected HOST:PORT"}},
	} {
		var b bytes.Buffer
		if err := WriteReport(&b, Validate(c.paths, nil, ValidateOptions{}), "text"); err != nil {
			t.Fatal(err)
		}
		got := strings.Split(strings.TrimSuffix(strings.ReplaceAll(b.String(), dir+"/", ""), "\n"), "\n")
		for i, w := range c.want {
			if i >= len(got) || !strings.HasPrefix(got[i], w) || len(got) != len(c.want) && !strings.HasPrefix(c.want[0], "error: half") {
				t.Errorf("%v: want\n%s\ngot\n%s", c.paths, strings.Join(c.want, "\n"), strings.Join(got, "\n"))
				break
			}
		}
	}
}

func TestConnectIsOnlyTriedWhenAskedFor(t *testing.T) {
	t.Parallel()
	there, _ := listener(t)
	nobody := free(t)
	text := strings.Replace(good(t), "[10.0.0.1:2379]", fmt.Sprintf("['%s', '%s']", there, nobody), 1)
	if got := tryValidate(t, ValidateOptions{}, text); got != "" {
		t.Error(got)
	}
	if got := tryValidate(t, ValidateOptions{Connect: true}, text); !strings.HasPrefix(got, "error: 1.yml:6:3: etcd3.hosts: "+nobody+" cannot be reached: ") || strings.Contains(got, there) {
		t.Error(got)
	}
}

func TestReportAsJSON(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.yml")
	if err := os.WriteFile(file, []byte(strings.Replace(good(t), "scope: b", "scoep: b", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := WriteReport(&b, Validate([]string{file}, nil, ValidateOptions{}), "json"); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Valid            bool
		Errors, Warnings []struct {
			File, Key, Message, Found, Expected, Meant, Hint string
			Line, Column                                     int
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got.Valid || len(got.Errors) != 1 || len(got.Warnings) != 1 {
		t.Fatalf("%v %s", err, b.String())
	}
	if w := got.Warnings[0]; w.File != file || w.Line != 1 || w.Column != 1 || w.Key != "scoep" || w.Hint != "did you mean scope?" || w.Meant != "scope" {
		t.Errorf("%+v", w)
	}
	if e := got.Errors[0]; e.Key != "scope" || e.Found != "nothing" || e.Expected != "a text" {
		t.Errorf("%+v", e)
	}
	for _, secret := range []string{"secret1", "secret2"} {
		if strings.Contains(b.String(), secret) {
			t.Error("a secret is in the report")
		}
	}
}
