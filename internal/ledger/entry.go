package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"tamada/internal/ha"
)

// Entry is one line of a ledger.
type Entry struct {
	At   time.Time `json:"at"`   // wall clock
	Boot float64   `json:"boot"` // seconds on CLOCK_BOOTTIME; tells of jumps of the wall clock
	Node string    `json:"node"`
	ha.Record
}

// encode is the entry as a line without its end.
func (e *Entry) encode() ([]byte, error) {
	e.At = e.At.UTC().Round(0)
	b, err := json.Marshal(e)
	if err != nil || len(b) <= maxLine {
		return b, err
	}
	// An error text of a program may be as long as it likes; who and when matter.
	short := *e
	short.Facts, short.Notes = nil, []string{"(the facts were too long to keep)"}
	short.Why, short.Error = cut(e.Why), cut(e.Error)
	return json.Marshal(&short)
}

func cut(s string) string {
	if len(s) <= 2000 {
		return s
	}
	return string(bytes.ToValidUTF8([]byte(s[:2000]), nil)) + "…"
}

// Decode reads lines. Those that are no entries are left out.
func Decode(lines []json.RawMessage) []Entry {
	entries := make([]Entry, 0, len(lines))
	for _, l := range lines {
		var e Entry
		if json.Unmarshal(l, &e) == nil && !e.At.IsZero() && e.Kind != "" {
			entries = append(entries, e)
		}
	}
	return entries
}

// Merge puts entries of several ledgers into the order of their times. Entries of
// one ledger with the same time stay in their order.
func Merge(ledgers ...[]Entry) []Entry {
	all := slices.Concat(ledgers...)
	slices.SortStableFunc(all, func(a, b Entry) int { return a.At.Compare(b.At) })
	return all
}

// document is the body of GET /tamada/ledger.
type document struct {
	Name    string            `json:"name"`
	More    bool              `json:"more"`
	Entries []json.RawMessage `json:"entries"`
}

// Document is the answer of a node to a question about its ledger.
func Document(node string, p Page) ([]byte, error) {
	if p.Lines == nil {
		p.Lines = []json.RawMessage{}
	}
	return json.Marshal(document{node, p.More, p.Lines})
}

// ParseDocument reads such an answer.
func ParseDocument(body []byte) (p Page, err error) {
	var d document
	if err := json.Unmarshal(body, &d); err != nil {
		return p, fmt.Errorf("the answer is not a ledger: %w", err)
	}
	return Page{Lines: d.Entries, More: d.More}, nil
}
