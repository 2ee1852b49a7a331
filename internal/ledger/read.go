package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Limits of one answer. A client that wants more asks for the time before the
// oldest entry that it got.
const (
	MaxEntries   = 1000
	MaxPageBytes = 512 << 10
)

// Query asks for the newest entries of a span of time.
type Query struct {
	Since, Until time.Time // both included; zero: without that end
	Limit        int       // entries; 0 or too many: MaxEntries
}

// Page is the answer, in the order in which the entries were written. More tells
// that there are older ones in the span.
type Page struct {
	Lines []json.RawMessage
	More  bool
}

// Read reads the ledger in a folder (see [Dir]). A folder that does not exist is
// an empty ledger.
func Read(dir string, q Query) (Page, error) {
	if q.Limit <= 0 || q.Limit > MaxEntries {
		q.Limit = MaxEntries
	}
	list, err := files(dir)
	if errors.Is(err, os.ErrNotExist) {
		return Page{}, nil
	}
	if err != nil {
		return Page{}, err
	}
	var parts []*window
	left := window{entries: q.Limit, bytes: MaxPageBytes}
	more := false
	for _, f := range slices.Backward(list) {
		w, err := readFile(f, q, left)
		if errors.Is(err, os.ErrNotExist) {
			continue // rotated away while we read
		}
		if err != nil {
			return Page{}, err
		}
		if w == nil {
			break
		}
		parts = append(parts, w)
		left.entries -= len(w.lines)
		left.bytes -= w.held
		if more = w.more; more {
			break
		}
	}
	p := Page{More: more}
	for _, w := range slices.Backward(parts) {
		p.Lines = append(p.Lines, w.lines...)
	}
	return p, nil
}

// readFile is what one file adds; nil when it and all older ones end before the
// span.
func readFile(f file, q Query, room window) (*window, error) {
	r, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	defer r.Close()
	st, err := r.Stat()
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	if !q.Since.IsZero() && st.ModTime().Add(clockSlack).Before(q.Since) {
		return nil, nil
	}
	if !q.Until.IsZero() && beginsAfter(r, q.Until.Add(clockSlack)) {
		return &window{}, nil
	}
	w := room
	w.lines, w.held, w.more = nil, 0, false
	if err := scan(r, q, &w); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return &w, nil
}

// clockSlack is how far the clocks of a file system and of the agent may differ,
// and how far the wall clock may be set back.
const clockSlack = time.Minute

// beginsAfter tells whether a file's first line is younger than a time, so that
// the rest need not be read.
func beginsAfter(f *os.File, t time.Time) bool {
	head := make([]byte, 64)
	n, _ := f.ReadAt(head, 0)
	at, ok := stamp(head[:n])
	return ok && at.After(t)
}

// window keeps the last lines of those that it is given, within its bounds.
type window struct {
	entries, bytes int
	lines          []json.RawMessage
	held           int
	more           bool // something was left out
}

func (w *window) add(line []byte) {
	w.lines = append(w.lines, bytes.Clone(line))
	w.held += len(line)
	for len(w.lines) > 0 && (len(w.lines) > w.entries || w.held > w.bytes) {
		w.held -= len(w.lines[0])
		w.lines[0] = nil
		w.lines = w.lines[1:]
		w.more = true
	}
}

// scan gives the window every line of the span. Whether a line is whole is asked
// of those only that are kept at the end: an agent has better things to do.
func scan(r io.Reader, q Query, w *window) error {
	b := bufio.NewReaderSize(r, maxLine+1)
	for {
		line, err := b.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) { // not one of ours
			_, err = b.ReadSlice('\n')
		}
		if err == nil && !long {
			if line = line[:len(line)-1]; q.contains(line) {
				w.add(line)
			}
		}
		switch {
		case errors.Is(err, io.EOF): // what comes without a line end is torn
			w.lines = slices.DeleteFunc(w.lines, func(l json.RawMessage) bool { return !json.Valid(l) })
			return nil
		case err != nil:
			return err
		}
	}
}

// lead is how every line begins.
var lead = []byte(`{"at":"`)

// contains tells whether a line is of the span, by its time alone.
func (q *Query) contains(line []byte) bool {
	at, ok := stamp(line)
	return ok && !at.Before(q.Since) && (q.Until.IsZero() || !at.After(q.Until))
}

// stamp is the time of a line.
func stamp(line []byte) (time.Time, bool) {
	rest, ok := bytes.CutPrefix(line, lead)
	if !ok {
		return time.Time{}, false
	}
	text, _, ok := bytes.Cut(rest, []byte{'"'})
	if !ok || len(text) > 40 {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, string(text))
	return at, err == nil
}
