package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"tamada/internal/cluster"
)

// row is a line of testdata/keys.tsv.
type row struct{ path, place, accepted, rejected, dflt, env, effect string }

func keyRows(t *testing.T) (rows []row) {
	t.Helper()
	b, err := os.ReadFile("testdata/keys.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(f) != 7 {
			t.Fatalf("%d fields: %s", len(f), line)
		}
		rows = append(rows, row{f[0], f[1], f[2], f[3], f[4], f[5], f[6]})
	}
	return rows
}

// TestTableAndListNameTheSameKeys fails for a key that is in one of them only.
func TestTableAndListNameTheSameKeys(t *testing.T) {
	t.Parallel()
	var list, table []string
	for _, r := range keyRows(t) {
		list = append(list, r.path+" "+r.place)
	}
	for _, k := range Keys() {
		table = append(table, k.Path+" "+map[Place]string{Local: "local", Dynamic: "dynamic", Both: "both"}[k.Place])
	}
	slices.Sort(list)
	slices.Sort(table)
	for _, k := range table {
		if !slices.Contains(list, k) {
			t.Errorf("%s is missing in testdata/keys.tsv", k)
		}
	}
	for _, k := range list {
		if !slices.Contains(table, k) {
			t.Errorf("%s is missing in the table of keys", k)
		}
	}
}

func rowOf(t *testing.T, r row) *Key {
	t.Helper()
	keys := Keys()
	for i := range keys {
		if k := &keys[i]; k.Path == r.path && map[Place]string{Local: "local", Dynamic: "dynamic", Both: "both"}[k.Place] == r.place {
			return k
		}
	}
	t.Fatalf("no key %s", r.path)
	return nil
}

func TestEachKey(t *testing.T) {
	t.Parallel()
	for _, r := range keyRows(t) {
		t.Run(r.path+" "+r.place, func(t *testing.T) {
			t.Parallel()
			k := rowOf(t, r)
			dflt := "-"
			if k.Default != nil {
				if dflt = fmt.Sprint(k.Default); dflt == "" {
					dflt = "empty"
				}
			}
			env := k.Env
			if env == "" {
				env = "-"
			}
			effect := [...]string{"reload", "agent", "postgres", "bootstrap"}[k.Effect]
			if dflt != r.dflt || env != r.env || effect != r.effect {
				t.Errorf("default %s, variable %s, effect %s; want %+v", dflt, env, effect, r)
			}
			if r.place != "dynamic" {
				r.check(t, r.path)
				r.environment(t)
				r.reload(t, k)
			}
			if r.place != "local" {
				r.check(t, "bootstrap.dcs."+r.path)
			}
		})
	}
}

// concrete puts names for placeholders.
func concrete(path string) string {
	return strings.NewReplacer("<method>", "mine", "*", "other").Replace(path)
}

// with is the sample with one value changed.
func with(t *testing.T, path, text string) *Document {
	t.Helper()
	doc, err := parseDocument("node.yml", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	v, err := ParseYAML("value", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	doc.set(path, v, Pos{"node.yml", 1, 1})
	return doc
}

func (r row) check(t *testing.T, path string) {
	t.Helper()
	path = concrete(path)
	about := func(text string) (list []string) {
		_, c := check(with(t, path, text), nil, nil, true)
		for _, p := range slices.Concat(c.errors, c.warnings) {
			if (p.Path == path || strings.HasPrefix(p.Path, path+".")) && !strings.Contains(p.Text, "not supported yet") &&
				!strings.Contains(p.Text, "replaced by the embedded etcd") && !strings.HasPrefix(p.Text, "is missing") && p.Text != "has no dcs: a new cluster begins with the default settings" && !strings.Contains(p.Text, "does not tell where") &&
				!strings.Contains(p.Text, "Please use") {
				list = append(list, p.String())
			}
		}
		return list
	}
	if r.accepted != "-" {
		if list := about(r.accepted); len(list) > 0 {
			t.Errorf("%s: %s is not accepted: %q", path, r.accepted, list)
		}
	}
	if r.rejected != "-" {
		if list := about(r.rejected); len(list) == 0 {
			t.Errorf("%s: %s is not rejected", path, r.rejected)
		}
	}
}

func (r row) environment(t *testing.T) {
	t.Helper()
	if r.env == "-" {
		return
	}
	value := strings.Trim(r.accepted, "'")
	environ := []string{"PATRONI_ETCD3_HOST=h", "PATRONI_ETCD_HOST=h"} // credentials alone make no section
	doc, err := ReadDocument("", append(environ, "PATRONI_"+r.env+"=garbage", "TAMADA_"+r.env+"="+value))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := doc.Get(r.path); !ok || v == "garbage" || doc.Pos(r.path).Source != "environment variable TAMADA_"+r.env {
		t.Errorf("TAMADA_%s=%s: %v at %v", r.env, value, v, doc.Pos(r.path))
	}
	doc, err = ReadDocument("", append(environ, "PATRONI_"+r.env+"="+value, "TAMADA_"+r.env+"="))
	if v, ok := doc.Get(r.path); err != nil || !ok || v == nil {
		t.Errorf("PATRONI_%s=%s, and an empty TAMADA_%s: %v %v", r.env, value, r.env, v, err)
	}
}

func (r row) reload(t *testing.T, k *Key) {
	t.Helper()
	if k.Kind == Section || strings.ContainsAny(r.path, "*<") {
		return
	}
	old, err := load(t, sample)
	if err != nil {
		t.Fatal(err)
	}
	cfg, later, err := Reload(old, write(t, "node.yml", DumpYAML(with(t, r.path, r.accepted).Root)), nil)
	if err != nil {
		return // of a section that is refused, or needs more than this key
	}
	if slices.Contains(later, r.path) != (r.effect == "agent") {
		t.Errorf("reload waits with %v", later)
	}
	is, _ := (&Document{Root: cfg.Doc}).Get(r.path)
	was, _ := (&Document{Root: old.Doc}).Get(r.path)
	if same := cluster.Equal(is, was); same != (r.effect == "agent") {
		t.Errorf("in force after the reload: %v, before: %v", is, was)
	}
	if got, _ := (&Document{Root: cfg.Source}).Get(r.path); cluster.Equal(got, was) {
		t.Error("the value is not in the source")
	}
}
