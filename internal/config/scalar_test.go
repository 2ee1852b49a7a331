package config

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tamada/internal/cluster"
)

func TestScalarsReadAsYAML11(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		"": nil, "~": nil, "null": nil, "NULL": nil, "nULL": "nULL",
		"on": true, "Off": false, "YES": true, "no": false, "True": true, "tRUE": "tRUE", "y": "y", "n": "n",
		"0": json.Number("0"), "-0": json.Number("0"), "+12": json.Number("12"), "0644": json.Number("420"),
		"0o644": "0o644", "08": "08", "0x1F": json.Number("31"), "-0x1f": json.Number("-31"), "0b101": json.Number("5"),
		"0b": "0b", "0x_": "0x_", "1_000": json.Number("1000"), "0_": json.Number("0"),
		"10:20": json.Number("620"), "1:60": "1:60", "1:2:3": json.Number("3723"), "1:30.5": json.Number("90.5"),
		"1e3": "1e3", "1.5e3": "1.5e3", "1.5e+3": json.Number("1500.0"), "1.": json.Number("1.0"), ".5": json.Number("0.5"),
		"1.50": json.Number("1.5"), "-.5": "-.5", "1.0e+16": json.Number("1e+16"), "1.0e-5": json.Number("1e-05"),
		"0.0001": json.Number("0.0001"), ".inf": ".inf", ".nan": ".nan", ".": ".", "-": "-", "+": "+",
		"2024-01-01": "2024-01-01", "127.0.0.1:8008": "127.0.0.1:8008", "host:5432": "host:5432", "1.2.3": "1.2.3",
		"18446744073709551616":   json.Number("18446744073709551616"),
		strings.Repeat("9", 101): strings.Repeat("9", 101),
	} {
		if got := ResolveScalar(text); got != want {
			t.Errorf("%q: got %#v, want %#v", text, got, want)
		}
	}
}

func TestEveryIntegerReadsBackInEachBase(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64().Draw(t, "n")
		abs, sign := new(big.Int).Abs(big.NewInt(n)), ""
		if n < 0 {
			sign = "-"
		}
		for _, text := range []string{fmt.Sprint(n), sign + "0x" + abs.Text(16), sign + "0" + abs.Text(8), sign + "0b" + abs.Text(2)} {
			if got := ResolveScalar(text); got != json.Number(fmt.Sprint(n)) {
				t.Fatalf("%q: got %#v, want %d", text, got, n)
			}
		}
	})
}

func TestEveryFloatReadsBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.Float64().Draw(t, "f")
		text := string(floatText(f))
		back, err := json.Number(text).Float64()
		if err != nil || back != f {
			t.Fatalf("%v became %s, which is %v (%v)", f, text, back, err)
		}
		if !json.Valid([]byte(text)) || !strings.ContainsAny(text, ".e") {
			t.Fatalf("%s is not a JSON number that says it is a float", text)
		}
	})
}

func FuzzScalar(f *testing.F) {
	for _, s := range []string{"", "on", "0644", "1_000", "10:20", "1.5e+3", "0x", "-", ".", "2024-01-01", "0b1", "9:59:59.5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v := ResolveScalar(text)
		switch v := v.(type) {
		case nil, bool:
		case string:
			if v != text {
				t.Fatalf("%q became the text %q", text, v)
			}
		case json.Number:
			if !json.Valid([]byte(v)) {
				t.Fatalf("%q became %q, which is not a JSON number", text, v)
			}
		default:
			t.Fatalf("%q became a %T", text, v)
		}
	})
}

func FuzzYAML(f *testing.F) {
	for _, s := range []string{sample, "a: *a", "a: &a [*a]", "? [a]\n: b", "<<: {a: 1}\na: 2", "- !!str 1", "a: !x b", "\t", "a:\n- b\n- {c: d}", "--- a\n--- b", "\xff\xfe"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := ParseYAML("fuzz", data)
		if err != nil {
			return
		}
		// What was understood can be written to the store and read back.
		if _, err := cluster.ParseJSON(cluster.Compact(v)); err != nil {
			t.Fatalf("%q became %s: %v", data, cluster.Compact(v), err)
		}
	})
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("name: 1\nscope: [a]\npostgresql: {authentication: {superuser: x}}"))
	f.Add([]byte("etcd3: {embedded: {initial_cluster: 'a=b,c'}, url: 'http://a:b@c'}\nrestapi: {listen: ::}"))
	f.Add([]byte("postgresql: {replication: {username: a}, pg_rewind: {username: b}, name: x, parameters: [a]}"))
	f.Add([]byte("bootstrap: {dcs: {ttl: 1e400, slots: [], postgresql: {parameters: {a: {b: c}}}}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := parseDocument("fuzz", data)
		if err != nil {
			return
		}
		c, err := build(doc, nil, nil)
		if err != nil {
			return
		}
		if _, err := Merge(c, c.Bootstrap.dcs()); err != nil {
			t.Logf("merge: %v", err)
		}
	})
}

func (b *Bootstrap) dcs() *cluster.Object {
	if b == nil {
		return nil
	}
	return b.DCS
}

func FuzzEnvironment(f *testing.F) {
	f.Add("PATRONI_NAME=a\nPATRONI_SCOPE=b\nTAMADA_NAME=c")
	f.Add("PATRONI_ETCD3_HOSTS=[::1]:2379\nPATRONI_ETCD3_USERNAME=u\nPATRONI_LOG_LOGGERS={a: b}")
	f.Add("PATRONI_CONFIGURATION=a: [\nPATRONI_FOO_PORT=55\nPATRONI_LOG_FORMAT=[a]")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Load("", strings.Split(text, "\n"))
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
	})
}
