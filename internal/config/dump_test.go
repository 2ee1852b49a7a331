package config

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tamada/internal/cluster"
)

func TestDumpedTextsAreQuotedWhenNeeded(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "''", "a": "a", "on": "'on'", "30": "'30'", "1e3": "1e3", "0o7": "0o7", "08": "08", "10:20": "'10:20'", "~": "'~'", "null": "'null'",
		"2024-01-01": "'2024-01-01'", "2026-11-22T22:43:11.9+00:00": "'2026-11-22T22:43:11.9+00:00'", ".inf": "'.inf'", "=": "'='", "<<": "'<<'",
		"a: b": "'a: b'", "a:b": "a:b", "a #b": "'a #b'", "a#b": "a#b", "- a": "'- a'", "-a": "-a", "*": "'*'", "%m [%p] ": "'%m [%p] '", "it's": "it's",
		"'x'": "'''x'''", " a": "' a'", "a b": "a b", "a\tb": `"a\tb"`, "ä": "ä", "😀": "😀", "a\x01": `"a\x01"`, "---": "'---'", "!x": "'!x'", "@x": "'@x'",
		"a, b": "a, b", "[a]": "'[a]'", "a]": "a]", "host all all 127.0.0.1/32 md5": "host all all 127.0.0.1/32 md5", "a \nb": `"a \nb"`, "?": "'?'", "? a": "'? a'", "?a": "?a",
	} {
		if got := DumpYAML(cluster.NewObject("k", text)); got != "k: "+want+"\n" {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if got, want := DumpFlowYAML(cluster.NewObject("b", "x, y", "a", true, "c", []any{"a:b", nil})), "{a: true, b: 'x, y', c: ['a:b', null]}\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDumpedStructure(t *testing.T) {
	t.Parallel()
	v := []any{
		cluster.NewObject("b", "x\ny", "a", []any{cluster.NewObject("c", 1), []any{"d", "e"}, &cluster.Object{}, []any{}}),
		"text",
	}
	want := "- a:\n  - c: 1\n  - - d\n    - e\n  - {}\n  - []\n  b: 'x\n\n    y'\n- text\n"
	if got := DumpYAML(v); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := DumpYAML([]any{}); got != "[]\n" {
		t.Errorf("empty: %q", got)
	}
	long := strings.TrimSpace(strings.Repeat("word ", 60))
	if got := DumpYAML(cluster.NewObject("k", long)); got != "k: "+strings.Repeat("word ", 39)+"word\n  "+strings.TrimSpace(strings.Repeat("word ", 20))+"\n" {
		t.Errorf("long text:\n%s", got)
	}
}

func TestEverythingDumpedReadsBack(t *testing.T) {
	t.Parallel()
	// Line breaks other than \n are left out: readers differ in what they make of them.
	unicode := rapid.Map(rapid.String(), func(s string) string { return strings.NewReplacer("\u0085", "", "\u2028", "", "\u2029", "").Replace(s) })
	text := rapid.OneOf(unicode, rapid.StringMatching(`[-+.:#'"a0-9 ,?\[\]{}\n\t%@!&*=<~|>]{0,12}`), rapid.StringMatching(`([a-z0-9:]{1,30}[ ]{1,2}){1,20}`),
		rapid.SampledFrom([]string{"on", "No", "~", "0x1", "1_0", "1:2", "1.", ".5", "1e+3", "2024-1-1 1:2:3", "=", "<<", "...", "--- a"}))
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`[a-z0-9.:# -]{0,10}`)
		inner := cluster.NewObject(key.Draw(t, "k1"), text.Draw(t, "v1"), key.Draw(t, "k2"), []any{text.Draw(t, "v2"), nil, true})
		o := cluster.NewObject(key.Draw(t, "k3"), inner, key.Draw(t, "k4"), text.Draw(t, "v3"), "n", 5)
		for _, dumped := range []string{DumpYAML(o), DumpFlowYAML(o)} {
			back, err := ParseYAML("dump", []byte(dumped))
			if err != nil || string(cluster.Compact(back)) != string(cluster.Compact(sortedObject(o))) {
				t.Fatalf("%s\nread back %s, %v\nfrom\n%s", cluster.Compact(o), cluster.Compact(back), err, dumped)
			}
		}
	})
}

func sortedObject(v any) any {
	switch v := v.(type) {
	case *cluster.Object:
		o := &cluster.Object{}
		for _, name := range sorted(v) {
			o.Set(name, sortedObject(v.Value(name)))
		}
		return o
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = sortedObject(v[i])
		}
		return list
	}
	return v
}
