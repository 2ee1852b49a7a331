package dcs

import (
	"errors"
	"testing"

	"tamada/internal/cluster"
)

func text(value string, v cluster.Version) Entry { return Entry{Value: []byte(value), Version: v} }

// sync is the leader that the newest view names in the key sync, "-" for an
// absent key and "!" for an error; "" when nothing new was delivered.
func newest(ch <-chan Update) string {
	select {
	case u := <-ch:
		switch {
		case u.Err != nil:
			return "!"
		case u.Cluster.Sync == nil:
			return "-"
		}
		return u.Cluster.Sync.Leader
	default:
		return ""
	}
}

func TestCacheNeverGoesBackBehindOwnWrites(t *testing.T) {
	t.Parallel()
	const key = cluster.KeySync
	var c Cache
	ch := c.Open(t.Context())
	expect := func(step, want string) {
		t.Helper()
		if got := newest(ch); got != want {
			t.Fatalf("%s: the view shows %q, want %q", step, got, want)
		}
	}
	put := func(v string, version cluster.Version) {
		c.Apply([]string{key}, []Entry{text(`{"leader":"`+v+`"}`, version)}, version)
	}
	c.Reset(c.Mark(), map[string]Entry{key: text(`{"leader":"a"}`, 5)}, 5)
	expect("the first read", "a")
	c.Own(key, text(`{"leader":"c"}`, 8))
	expect("an own write", "c")
	put("b", 7)
	expect("older news of the watch", "")
	put("c", 8)
	expect("our own write by the watch", "")
	c.Own(key, Entry{Version: 9, Deleted: true})
	expect("an own deletion", "-")
	put("d", 10)
	expect("somebody writes it again", "d")
	c.Own(key, text(`{"leader":"x"}`, 9))
	expect("an answer that comes after the news", "")

	// a read that began before our write ended does not contain it
	mark := c.Mark()
	c.Own(key, text(`{"leader":"e"}`, 12))
	expect("an own write during a read", "e")
	c.Reset(mark, map[string]Entry{key: text(`{"leader":"d"}`, 10)}, 11)
	expect("the read", "e")
	// one that began after it knows better, even with lower versions: the store was
	// restored from a backup
	c.Reset(c.Mark(), map[string]Entry{key: text(`{"leader":"a"}`, 3)}, 4)
	expect("a read of a restored store", "a")
}

func TestCacheThatFailedIsSilentUntilItIsReadAgain(t *testing.T) {
	t.Parallel()
	var c Cache
	ch := c.Open(t.Context())
	c.Reset(c.Mark(), nil, 1)
	if got := newest(ch); got != "-" {
		t.Fatalf("first view: %q", got)
	}
	c.Fail(errors.New("gone"))
	if got := newest(ch); got != "!" {
		t.Fatalf("after the failure: %q", got)
	}
	c.Own(cluster.KeySync, text(`{"leader":"a"}`, 5))
	if got := newest(ch); got != "" {
		t.Fatalf("an own write made a view of an unknown store: %q", got)
	}
	if _, known := c.Get(cluster.KeySync); known {
		t.Fatal("the view counts as known")
	}
	c.Reset(c.Mark(), map[string]Entry{cluster.KeySync: text(`{"leader":"a"}`, 5)}, 5)
	if got := newest(ch); got != "a" {
		t.Fatalf("after the next read: %q", got)
	}
}
