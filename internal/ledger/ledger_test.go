package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tamada/internal/ha"
)

var (
	quiet = slog.New(slog.NewTextHandler(io.Discard, nil))
	noon  = time.Date(2021, 5, 6, 12, 0, 0, 0, time.UTC)
)

func at(second int) time.Time { return noon.Add(time.Duration(second) * time.Second) }

func note(why string) ha.Record { return ha.Record{Kind: ha.RecordDecision, What: "Promote", Why: why} }

// whys are the reasons of the entries of a page.
func whys(t *testing.T, p Page) string {
	t.Helper()
	entries := Decode(p.Lines)
	if len(entries) != len(p.Lines) {
		t.Errorf("of %d lines %d are entries", len(p.Lines), len(entries))
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Why)
	}
	return strings.Join(list, " ")
}

func read(t *testing.T, dir string, q Query) Page {
	t.Helper()
	p, err := Read(dir, q)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEntriesSurviveARestartOfTheWriter(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	for i := range 3 {
		w := Open(state, "n1", quiet)
		w.Add(at(i), time.Duration(i)*time.Second, note(fmt.Sprint("life", i)))
		w.Close()
	}
	p := read(t, Dir(state), Query{})
	if got := whys(t, p); got != "life0 life1 life2" || p.More {
		t.Errorf("%q, more: %v", got, p.More)
	}
	e := Decode(p.Lines)[2]
	if !e.At.Equal(at(2)) || e.Boot != 2 || e.Node != "n1" || e.What != "Promote" {
		t.Errorf("%+v", e)
	}
	if st, _ := os.Stat(Dir(state)); st.Mode().Perm() != 0o700 {
		t.Errorf("mode %o of the folder", st.Mode().Perm())
	}
}

func TestTornLastLineIsPassedOverAndNotGluedToTheNext(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	w := Open(state, "n1", quiet)
	w.Add(at(0), 0, note("whole"))
	w.Close()
	path := fileOf(Dir(state), 1).path
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString(`{"at":"2021-05-06T12:00:01Z","boot":1,"node":"n1","kind":"decis`)
	f.Close()
	if got := whys(t, read(t, Dir(state), Query{})); got != "whole" {
		t.Errorf("before the next write: %q", got)
	}
	w = Open(state, "n1", quiet)
	w.Add(at(2), 0, note("next"))
	w.Close()
	if got := whys(t, read(t, Dir(state), Query{})); got != "whole next" {
		t.Errorf("%q", got)
	}
}

func TestQueryIsBoundedByTimeAndNumber(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	w := Open(state, "n1", quiet)
	for i := range 10 {
		w.Add(at(i), 0, note(fmt.Sprint(i)))
	}
	w.Close()
	for _, c := range []struct {
		q    Query
		want string
		more bool
	}{
		{Query{Since: at(7)}, "7 8 9", false},
		{Query{Until: at(1)}, "0 1", false},
		{Query{Since: at(2), Until: at(4)}, "2 3 4", false},
		{Query{Limit: 2}, "8 9", true},
		{Query{Until: at(5), Limit: 3}, "3 4 5", true},
		{Query{Since: at(20)}, "", false},
	} {
		p := read(t, Dir(state), c.q)
		if got := whys(t, p); got != c.want || p.More != c.more {
			t.Errorf("%+v: %q more %v, want %q more %v", c.q, got, p.More, c.want, c.more)
		}
	}
	if p := read(t, filepath.Join(state, "none"), Query{}); len(p.Lines) > 0 {
		t.Errorf("a ledger that is not there: %v", p)
	}
}

// TestLedgerKeepsToItsSizeAndForgetsTheOldest writes more than fits.
func TestLedgerKeepsToItsSizeAndForgetsTheOldest(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	w := &Writer{dir: Dir(state), node: "n1", log: quiet}
	long := strings.Repeat("x", 20_000)
	const n = 1200 // 24 MB
	for i := range n {
		w.write(&Entry{At: at(i), Node: "n1", Record: ha.Record{Kind: ha.RecordTask, What: "clone", Why: fmt.Sprint(i), Error: long}})
	}
	w.f.Close()
	var total int64
	list, err := files(Dir(state))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		st, _ := os.Stat(f.path)
		total += st.Size()
	}
	if total > maxBytes || total < maxBytes*3/4 {
		t.Errorf("%d bytes in %d files", total, len(list))
	}
	// All that is kept can be read, page by page.
	var got int
	q, next := Query{}, n-1
	for {
		p := read(t, Dir(state), q)
		size := 0
		for _, l := range p.Lines {
			size += len(l)
		}
		if size > MaxPageBytes || len(p.Lines) == 0 {
			t.Fatalf("a page of %d lines, %d bytes", len(p.Lines), size)
		}
		entries := Decode(p.Lines)
		if last := entries[len(entries)-1].Why; last != fmt.Sprint(next) {
			t.Fatalf("a page ends with %s, want %d", last, next)
		}
		got += len(entries)
		next -= len(entries)
		if !p.More {
			break
		}
		q.Until = entries[0].At.Add(-time.Nanosecond)
	}
	if got < n/2 {
		t.Errorf("%d entries could be read", got)
	}
}

// TestSlowDiskDropsAndSaysSo: nothing takes entries out of the queue.
func TestSlowDiskDropsAndSaysSo(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	w := &Writer{dir: Dir(state), node: "n1", log: quiet, queue: make(chan *Entry, 2)}
	for i := range 5 {
		w.Add(at(i), 0, note(fmt.Sprint(i)))
	}
	w.write(<-w.queue)
	w.write(<-w.queue)
	w.f.Close()
	entries := Decode(read(t, Dir(state), Query{}).Lines)
	if len(entries) != 3 || entries[0].Kind != ha.RecordLedger || entries[0].Repeats != 3 {
		t.Errorf("%+v", entries)
	}
}

func TestLedgerThatCannotBeWrittenGoesOnLater(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	if err := os.WriteFile(Dir(state), nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	w := &Writer{dir: Dir(state), node: "n1", log: quiet}
	w.write(&Entry{At: at(0), Record: note("lost")})
	if err := os.Remove(Dir(state)); err != nil {
		t.Fatal(err)
	}
	w.write(&Entry{At: at(1), Record: note("kept")})
	w.f.Close()
	entries := Decode(read(t, Dir(state), Query{}).Lines)
	if len(entries) != 2 || entries[0].Kind != ha.RecordLedger || entries[0].Repeats != 1 || entries[1].Why != "kept" {
		t.Errorf("%+v", entries)
	}
}

func TestEndlessErrorIsCut(t *testing.T) {
	t.Parallel()
	e := Entry{At: at(0), Node: "n1", Record: ha.Record{Kind: ha.RecordTask, What: "clone", Error: strings.Repeat("é", maxLine)}}
	b, err := e.encode()
	if err != nil || len(b) > maxLine || !json.Valid(b) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestLedgersAreMergedByTime(t *testing.T) {
	t.Parallel()
	e := func(node string, s int, why string) Entry { return Entry{At: at(s), Node: node, Record: note(why)} }
	all := Merge([]Entry{e("n1", 1, "a"), e("n1", 1, "b"), e("n1", 5, "c")}, []Entry{e("n2", 0, "d"), e("n2", 3, "e")})
	var got string
	for _, e := range all {
		got += e.Why
	}
	if got != "dabec" {
		t.Error(got)
	}
}

func TestDocumentIsWhatItWasMadeOf(t *testing.T) {
	t.Parallel()
	body, err := Document("n1", Page{Lines: []json.RawMessage{json.RawMessage(`{"at":"2021-05-06T12:00:00Z","kind":"task","what":"x"}`)}, More: true})
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParseDocument(body)
	if err != nil || !p.More || len(Decode(p.Lines)) != 1 {
		t.Errorf("%s: %+v %v", body, p, err)
	}
	if body, _ = Document("n1", Page{}); !bytes.Contains(body, []byte(`"entries":[]`)) {
		t.Errorf("an empty ledger: %s", body)
	}
}

// FuzzRead: whatever is in the files, what is read is valid, of the span, and
// within the bounds, and whole entries are found between rubbish.
func FuzzRead(f *testing.F) {
	e := Entry{At: at(3), Node: "n1", Record: note("x")}
	line, _ := e.encode()
	f.Add([]byte("rubbish\n"), []byte(`{"at":"2021-`), 5)
	f.Add(append(bytes.Clone(line), '\n'), line[:20], 1)
	f.Add([]byte(`{"at":"2021-05-06T12:00:02Z"}`+"\n"+`{"at":"2021-05-06T12:00:02Z","kind":`+"\n"), []byte{0, '\n', '"'}, 0)
	f.Add(bytes.Repeat([]byte("y"), maxLine+10), []byte("\n"), 2000)
	f.Fuzz(func(t *testing.T, before, after []byte, limit int) {
		content := bytes.Join([][]byte{before, line, after}, []byte{'\n'})
		q := Query{Since: at(1), Until: at(4), Limit: limit}
		w := window{entries: MaxEntries, bytes: MaxPageBytes}
		if limit > 0 && limit < MaxEntries {
			w.entries = limit
		}
		if err := scan(bytes.NewReader(content), q, &w); err != nil {
			t.Fatal(err)
		}
		if len(w.lines) > w.entries || w.held > w.bytes {
			t.Fatalf("%d lines, %d bytes", len(w.lines), w.held)
		}
		found := false
		for _, l := range w.lines {
			if !json.Valid(l) || !q.contains(l) {
				t.Fatalf("%q", l)
			}
			found = found || bytes.Equal(l, line)
		}
		if !found && !w.more {
			t.Fatal("the whole entry between the rubbish was not found")
		}
		for _, e := range Decode(w.lines) {
			if e.At.Before(q.Since) || e.At.After(q.Until) {
				t.Fatalf("%v is not in the span", e.At)
			}
		}
	})
}
