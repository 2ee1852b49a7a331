package cluster

import (
	"bytes"
	"encoding/json"
	"testing"
)

// seed adds the captured values of one kind of key, and garbage.
func seed(f *testing.F, key string) {
	for _, p := range captured(f) {
		if p.Key == key {
			f.Add([]byte(p.Value))
		}
	}
	for _, g := range garbage {
		f.Add([]byte(g))
	}
}

// stable checks that what was written reads back to the same bytes.
func stable(t *testing.T, key string, data []byte) {
	first, ok := again(key, string(data))
	if !ok {
		return
	}
	if second, _ := again(key, first); second != first {
		t.Fatalf("%q was written as %s, then as %s", data, first, second)
	}
	if !json.Valid([]byte(first)) {
		t.Fatalf("%q was written as %s, which is not JSON", data, first)
	}
}

func FuzzMember(f *testing.F) {
	seed(f, "members/pg-a")
	f.Add([]byte("postgres://h/d?application_name=x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		stable(t, "members/pg-a", data)
		m := ParseMember("x", data)
		m.Address()
		FailoverPriority(m.Tags)
		SyncPriority(m.Tags)
	})
}

func FuzzStatus(f *testing.F) {
	seed(f, KeyStatus)
	f.Add([]byte(`{"slots":"{\"a\":1}"}`))
	f.Fuzz(func(t *testing.T, data []byte) { stable(t, KeyStatus, data) })
}

func FuzzSync(f *testing.F) {
	seed(f, KeySync)
	f.Fuzz(func(t *testing.T, data []byte) {
		stable(t, KeySync, data)
		s := ParseSync(data)
		if s.Matches("", true) || s.Quorum < 0 || !s.Active() && len(s.Members) > 0 && s.Matches(s.Members[0], true) {
			t.Fatalf("%q became %+v", data, s)
		}
	})
}

func FuzzFailover(f *testing.F) {
	seed(f, KeyFailover)
	f.Add([]byte("a:b"))
	f.Fuzz(func(t *testing.T, data []byte) { stable(t, KeyFailover, data) })
}

func FuzzHistory(f *testing.F) {
	seed(f, KeyHistory)
	f.Fuzz(func(t *testing.T, data []byte) {
		stable(t, KeyHistory, data)
		if h, ok := ParseHistory(data); ok && h.Timeline() < 1 {
			t.Fatalf("%q is a history of timeline %d", data, h.Timeline())
		}
	})
}

func FuzzSettings(f *testing.F) {
	seed(f, KeyConfig)
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := ParseObject(data)
		if err != nil {
			return
		}
		s, _, err := ParseSettings(o)
		if err == nil && (s.LoopWait+2*s.RetryTimeout > s.TTL || s.LoopWait <= 0 || s.RetryTimeout <= 0 || s.MemberSlotsTTL < 0) {
			t.Fatalf("%q became %+v", data, s)
		}
	})
}

func FuzzJSON(f *testing.F) {
	seed(f, KeyConfig)
	f.Add([]byte(`[1,]`))
	f.Add([]byte(`{"a":"\ud800"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := ParseJSON(data)
		if err != nil {
			if json.Valid(data) && bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) <= maxJSONDepth {
				t.Fatalf("%q is JSON and is refused: %v", data, err)
			}
			return
		}
		if !json.Valid(data) {
			t.Fatalf("%q is not JSON and is accepted", data)
		}
		back, err := ParseJSON(Compact(v))
		if err != nil || !bytes.Equal(Compact(back), Compact(v)) || !Equal(back, v) {
			t.Fatalf("%q: %s, %v", data, Compact(v), err)
		}
	})
}
