package config

import (
	"strings"
	"testing"

	"tamada/internal/cluster"
)

// FuzzValidate: whatever a file holds, checking it ends, and repeats no secret.
func FuzzValidate(f *testing.F) {
	f.Add(sample)
	f.Add("a: &a [*a]\n")
	f.Add("postgresql: {authentication: {superuser: {password: [hunter2]}}}\n")
	f.Add("name: 0123\ntags: {nofailover: 'false'}\nlog: {format: [{a: b}, 5]}\nrestapi: {authentication: {password: hunter2}}\n")
	f.Add("bootstrap: {dcs: {ignore_slots: [{}], slots: {a: {type: x}}, ttl: 5, loop_wiat: 1}}\nkubernetes: {ports: [{name: a, port: 0}], retriable_http_codes: '5,x'}\n")
	f.Add("bootstrap: {dcs: {ttl: 1e400, slots: {A: 5}}, initdb: [a: b\n -c]}\n")
	f.Fuzz(func(t *testing.T, text string) {
		doc, err := parseDocument("x", []byte(text))
		if err != nil {
			return
		}
		if text := DumpYAML(Redact(Local, "", doc.Root)); strings.Contains(text, "password: hunter2") {
			t.Errorf("a secret is shown:\n%s", text)
		}
		_, c := check(doc, nil, nil, true)
		for _, p := range append(c.errors, c.warnings...) {
			if strings.Contains(p.String(), "hunter2") && strings.HasSuffix(p.Path, "password") {
				t.Errorf("a secret is repeated: %s", p)
			}
		}
	})
}

// FuzzMerge: no pair of documents makes the merge panic, and a controlled
// parameter is never taken from the local one.
func FuzzMerge(f *testing.F) {
	f.Add(sample, `{"ttl":40,"postgresql":{"parameters":{"max_connections":50,"x":null},"parameters_replica":{"work_mem":"1MB"}}}`)
	f.Add("postgresql: {parameters: {max_connections: 7}}", `{"postgresql":null}`)
	f.Fuzz(func(t *testing.T, local, dynamic string) {
		doc, err := parseDocument("x", []byte(local))
		if err != nil {
			return
		}
		cfg, _ := check(doc, nil, nil, false)
		o, err := cluster.ParseObject([]byte(dynamic))
		if err != nil {
			return
		}
		m, err := Merge(cfg, o)
		if err != nil {
			return
		}
		n, ok := cluster.ParseInt(m.Postgresql.Parameters["max_connections"], "")
		for name := range m.Postgresql.Parameters {
			if strings.EqualFold(name, "max_connections") && name != "max_connections" {
				return // spelled otherwise
			}
		}
		if !ok || n < 25 {
			t.Errorf("max_connections = %q", m.Postgresql.Parameters["max_connections"])
		}
		m.Postgresql.ForRole(cluster.RoleReplica)
		CheckDynamic(o, cluster.CommonFloors)
	})
}
