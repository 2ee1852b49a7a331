package cluster

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// value draws any value that a document can hold.
func value(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		most := 4
		if depth > 0 {
			most = 6
		}
		switch rapid.IntRange(0, most).Draw(t, "kind") {
		case 0:
			return nil
		case 1:
			return rapid.Bool().Draw(t, "bool")
		case 2:
			return json.Number(rapid.StringMatching(`-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,3})?([eE][-+]?[0-9]{1,2})?`).Draw(t, "number"))
		case 3, 4:
			return rapid.String().Draw(t, "text")
		case 5:
			list := []any{}
			for range rapid.IntRange(0, 3).Draw(t, "length") {
				list = append(list, value(depth-1).Draw(t, "item"))
			}
			return list
		}
		return objects(depth-1).Draw(t, "object")
	})
}

func objects(depth int) *rapid.Generator[*Object] {
	return rapid.Custom(func(t *rapid.T) *Object {
		o := &Object{}
		for range rapid.IntRange(0, 4).Draw(t, "keys") {
			o.Set(rapid.SampledFrom([]string{"a", "b", "c", "d", "ä"}).Draw(t, "key"), value(depth).Draw(t, "value"))
		}
		return o
	})
}

func TestJSONReadsBackTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := objects(3).Draw(t, "object")
		for _, data := range [][]byte{Compact(o), Spaced(o)} {
			if !json.Valid(data) || strings.ContainsFunc(string(data), func(r rune) bool { return r > 0x7f }) {
				t.Fatalf("%q is not JSON in ASCII", data)
			}
			back, err := ParseObject(data)
			if err != nil || string(Compact(back)) != string(Compact(o)) {
				t.Fatalf("wrote %s\nread %s, %v", data, Compact(back), err)
			}
		}
	})
}

func TestPatchReachesWhatItAsksFor(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		target, patch := objects(2).Draw(t, "target"), objects(2).Draw(t, "patch")
		before := target.Clone()
		changed := Patch(target, patch)
		if !changed && !equalButNulls(before, target) {
			t.Fatalf("%s became %s, and that is said to be no change", Compact(before), Compact(target))
		}
		// Nulls within an object that was new are kept the first time, by the reference.
		if after := target.Clone(); Patch(target, patch) || !equalButNulls(after, target) {
			t.Fatalf("patching twice changes again: %s by %s", Compact(after), Compact(patch))
		}
	})
}

// equalButNulls: taking away a key that holds null is no change.
func equalButNulls(a, b *Object) bool {
	for k, v := range a.All() {
		w, there := b.Get(k)
		vo, ok1 := v.(*Object)
		wo, ok2 := w.(*Object)
		switch {
		case v == nil && !there:
		case ok1 && ok2:
			if !equalButNulls(vo, wo) {
				return false
			}
		case !there || !Equal(v, w):
			return false
		}
	}
	return true
}

func TestPatchRules(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		target, patch, want string
		changed             bool
	}{
		{`{"a":1,"b":2}`, `{"a":null}`, `{"b":2}`, true},
		{`{"a":null}`, `{"a":null}`, `{}`, false},
		{`{}`, `{"a":null}`, `{}`, false},
		{`{"ttl":30}`, `{"ttl":"30"}`, `{"ttl":30}`, false},
		{`{"a":true}`, `{"a":"True"}`, `{"a":true}`, false},
		{`{"a":true}`, `{"a":"true"}`, `{"a":"true"}`, true},
		{`{"a":{"b":1,"c":2}}`, `{"a":{"c":3,"d":4}}`, `{"a":{"b":1,"c":3,"d":4}}`, true},
		{`{"a":5}`, `{"a":{"b":null}}`, `{"a":{"b":null}}`, true},
		{`{}`, `{"a":{"b":null}}`, `{"a":{"b":null}}`, true},
		{`{"a":[1,2]}`, `{"a":[2,1]}`, `{"a":[2,1]}`, true},
		{`{"a":[1,2]}`, `{"a":[1,2]}`, `{"a":[1,2]}`, false},
		{`{"a":["x', 'y"]}`, `{"a":["x","y"]}`, `{"a":["x","y"]}`, true},
		{`{"a":{"b":1}}`, `{"a":5}`, `{"a":5}`, true},
		{`{"x":1,"y":2,"z":3}`, `{"y":9,"w":0}`, `{"x":1,"y":9,"z":3,"w":0}`, true},
	} {
		target := object(t, tc.target)
		changed := Patch(target, object(t, tc.patch))
		if got := string(Compact(target)); got != tc.want || changed != tc.changed {
			t.Errorf("%s by %s: got %s, %v", tc.target, tc.patch, got, changed)
		}
	}
}

func TestPatchDoesNotShareWithThePatch(t *testing.T) {
	t.Parallel()
	patch := object(t, `{"a":{"b":[1]}}`)
	target := &Object{}
	Patch(target, patch)
	target.Object("a").Set("c", 1)
	if patch.Object("a").Len() != 1 {
		t.Error("changing the target changes the patch")
	}
}

func TestSpelling(t *testing.T) {
	t.Parallel()
	o := NewObject("z", 1, "a", []string{"x"}, "l", LSN(5), "u", "ä😀\x7f\"\\\n\x01", "n", nil, "f", json.Number("1.50"))
	if got, want := string(Compact(o)), `{"z":1,"a":["x"],"l":5,"u":"\u00e4\ud83d\ude00`+"\x7f"+`\"\\\n\u0001","n":null,"f":1.50}`; got != want {
		t.Errorf("compact\n got %s\nwant %s", got, want)
	}
	if got, want := string(Spaced(NewObject("a", []any{true, nil}, "b", &Object{}))), `{"a": [true, null], "b": {}}`; got != want {
		t.Errorf("spaced: got %s, want %s", got, want)
	}
	if got, want := Text(object(t, `{"a":[1,"x's",null,true,"\"'\n\\"],"b":{}}`)), `{'a': [1, "x's", None, True, '"\'\n\\'], 'b': {}}`; got != want {
		t.Errorf("text: got %s, want %s", got, want)
	}
}
