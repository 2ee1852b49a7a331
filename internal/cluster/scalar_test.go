package cluster

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseBool(t *testing.T) {
	t.Parallel()
	for _, v := range []any{true, "on", "On", "TRUE", "yes", "1", json.Number("1")} {
		if b, ok := ParseBool(v); !b || !ok {
			t.Errorf("%#v: got %v, %v", v, b, ok)
		}
	}
	for _, v := range []any{false, "off", "False", "NO", "0", json.Number("0")} {
		if b, ok := ParseBool(v); b || !ok {
			t.Errorf("%#v: got %v, %v", v, b, ok)
		}
	}
	for _, v := range []any{nil, "", "t", "y", "n", "1.0", json.Number("1.0"), json.Number("2"), " on", "None", []any{}, &Object{}} {
		if b, ok := ParseBool(v); b || ok {
			t.Errorf("%#v: got %v, %v", v, b, ok)
		}
	}
}

func TestParseInt(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		v    any
		base string
		want string // "" is not ok
	}{
		{"30", "", "30"}, {" 30 ", "", "30"}, {json.Number("30"), "", "30"}, {"-5", "", "-5"}, {"+5", "", "5"},
		{"2.5", "", "2"}, {"3.5", "", "4"}, {".5", "", "0"}, {"1.5e1", "", "15"}, {"1e3", "", "1000"}, {"5e", "", ""},
		{"0x1F", "", "31"}, {"0640", "", "416"}, {"-010", "", "-8"}, {"08", "", ""}, {"0", "", "0"}, {"0.7", "", "1"}, {"010.5", "", "10"},
		{"0x", "", ""}, {"", "", ""}, {"-", "", ""}, {".", "", ""}, {"x", "", ""}, {"1 2", "", ""}, {"1_000", "", ""},
		{true, "", ""}, {nil, "", ""}, {[]any{}, "", ""}, {&Object{}, "", ""},
		{"30s", "", ""}, {"1MB", "", ""}, {"100", "MB", "100"}, {"1GB", "MB", "1024"}, {"1 GB", "MB", "1024"},
		{"64MB", "8kB", "8192"}, {"32MB", "16MB", "2"}, {"4097.5kB", "kB", "4098"}, {"1kB", "MB", "0"}, {"1TB", "B", "1099511627776"},
		{"30min", "s", "1800"}, {"1d", "min", "1440"}, {"90min", "h", "2"}, {"1500ms", "s", "2"}, {"2500ms", "s", "2"}, {"500us", "ms", "0"}, {"1h", "ms", "3600000"},
		{"1gb", "MB", ""}, {"1KB", "kB", ""}, {"1m", "s", ""}, {"1MB", "s", ""}, {"1s", "kB", ""}, {"1s", "xs", ""},
		{"9223372036854775808", "", ""}, {"1e400", "", ""}, {"99999999999999999999", "", ""},
	} {
		got := ""
		if n, ok := ParseInt(tc.v, tc.base); ok {
			got = strconv.FormatInt(n, 10)
		}
		if got != tc.want {
			t.Errorf("%#v in %q: got %q, want %q", tc.v, tc.base, got, tc.want)
		}
	}
}

func TestParseRealRoundsToTheNextSmallerUnit(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text, base string
		want       float64
	}{
		{"0.0005ms", "ms", 0}, {"0.00051ms", "ms", 0.001}, {"4097.5kB", "kB", 4097.5}, {"1.5", "ms", 1.5}, {"0.1s", "ms", 100}, {"1us", "ms", 0.001},
	} {
		if f, ok := ParseReal(tc.text, tc.base); !ok || math.Abs(f-tc.want) > 1e-12 {
			t.Errorf("%s in %s: got %v, %v, want %v", tc.text, tc.base, f, ok, tc.want)
		}
	}
}

func TestEveryIntegerParsesToItself(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		// Up to 2^53: beyond, the numbers of the reference's own parser are floats too.
		n := rapid.Int64Range(-1<<53, 1<<53).Draw(t, "n")
		pad := strings.Repeat(" ", rapid.IntRange(0, 2).Draw(t, "pad"))
		for _, v := range []any{pad + strconv.FormatInt(n, 10) + pad, json.Number(strconv.FormatInt(n, 10))} {
			if got, ok := ParseInt(v, ""); !ok || got != n {
				t.Fatalf("%#v: got %d, %v", v, got, ok)
			}
		}
	})
}

func TestUnitsConvertExactly(t *testing.T) {
	t.Parallel()
	bytesIn := map[string]int64{"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"B", "kB", "MB", "GB", "TB"}
		from := rapid.SampledFrom(names).Draw(t, "from")
		base := rapid.SampledFrom(names[:3]).Draw(t, "base")
		n := rapid.Int64Range(0, 4000).Draw(t, "n")
		got, ok := ParseInt(strconv.FormatInt(n, 10)+from, base)
		want := int64(math.RoundToEven(float64(n*bytesIn[from]) / float64(bytesIn[base])))
		if !ok || got != want {
			t.Fatalf("%d%s in %s: got %d, %v, want %d", n, from, base, got, ok, want)
		}
	})
}

func TestTruthyAsTheAgentsTest(t *testing.T) {
	t.Parallel()
	for _, v := range []any{true, "false", "0", json.Number("1"), json.Number("-1"), []any{nil}, NewObject("a", nil)} {
		if !Truthy(v) {
			t.Errorf("%#v is not truthy", v)
		}
	}
	for _, v := range []any{nil, false, "", json.Number("0"), json.Number("0.0"), json.Number("-0"), []any{}, &Object{}} {
		if Truthy(v) {
			t.Errorf("%#v is truthy", v)
		}
	}
}

func TestPriorities(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int{
		`{}`: 1, `{"nofailover":true}`: 0, `{"nofailover":"false"}`: 0, `{"nofailover":false}`: 1, `{"failover_priority":3}`: 3,
		`{"failover_priority":"2"}`: 2, `{"failover_priority":0}`: 0, `{"failover_priority":-1}`: 0, `{"failover_priority":0.4}`: 0,
		`{"failover_priority":"x"}`: 1, `{"nofailover":true,"failover_priority":5}`: 0, `{"nofailover":false,"failover_priority":0}`: 1,
		`{"failover_priority":99999999999}`: math.MaxInt32,
	} {
		o, err := ParseObject([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		if got := FailoverPriority(o); got != want || NoFailover(o) != (want == 0) {
			t.Errorf("%s: got %d, want %d", in, got, want)
		}
	}
}

func TestLSN(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]LSN{"0/5000148": 0x5000148, "0/05000148": 0x5000148, "16/B374D848": 0x16B374D848, "FFFFFFFF/FFFFFFFF": math.MaxUint64} {
		if l, err := ParseLSN(text); err != nil || l != want {
			t.Errorf("%s: got %v, %v", text, l, err)
		}
	}
	for _, text := range []string{"", "0", "/", "0/", "/1", "0/1/2", "-1/0", "+1/0", "0/100000000", "g/0", "0/0x1", " 0/1"} {
		if l, err := ParseLSN(text); err == nil {
			t.Errorf("%q: got %v", text, l)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		l := LSN(rapid.Uint64().Draw(t, "lsn"))
		a, err1 := ParseLSN(l.String())
		b, err2 := ParseLSN(l.Full())
		if a != l || b != l || err1 != nil || err2 != nil {
			t.Fatalf("%d: %v %v %v %v", l, a, err1, b, err2)
		}
	})
}
