package why

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ledger"
)

// Story is the answer to one question.
type Story struct {
	Question string
	Answer   []string // plain sentences, the most important first
	// Values are what a program may want to know of the answer.
	Values *cluster.Object
	Facts  Table
}

// Table holds the facts that a story was made of.
type Table struct {
	Columns []string
	Rows    [][]string
}

// Ledgers are those that could be read.
type Ledgers struct {
	Entries []ledger.Entry // of all nodes, in the order of their times
	// Missing tells of each member whose ledger could not be read why not.
	Missing map[string]string
	Zone    *time.Location // times are shown in it; nil for UTC
}

func newStory(question string) *Story { return &Story{Question: question, Values: &cluster.Object{}} }

// say adds a sentence.
func (s *Story) say(format string, args ...any) {
	s.Answer = append(s.Answer, fmt.Sprintf(format, args...))
}

// nodes are those that wrote something, by name.
func (l *Ledgers) nodes() []string {
	var names []string
	for i := range l.Entries {
		if n := l.Entries[i].Node; !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}

// span are the entries from one time to another, both included.
func (l *Ledgers) span(from, to time.Time) []ledger.Entry {
	var list []ledger.Entry
	for _, e := range l.Entries {
		if !e.At.Before(from) && !e.At.After(to) {
			list = append(list, e)
		}
	}
	return list
}

func of(entries []ledger.Entry, node string) []ledger.Entry {
	var list []ledger.Entry
	for _, e := range entries {
		if e.Node == node {
			list = append(list, e)
		}
	}
	return list
}

// clock is a time of the day.
func (l *Ledgers) clock(t time.Time) string { return t.In(l.zone()).Format("15:04:05.000") }

// date is a time with its day.
func (l *Ledgers) date(t time.Time) string {
	return t.In(l.zone()).Format("2006-01-02 15:04:05.000 -07:00")
}

func (l *Ledgers) zone() *time.Location {
	if l.Zone == nil {
		return time.UTC
	}
	return l.Zone
}

// missing says which ledgers the story lacks.
func (l *Ledgers) missing(s *Story) {
	for _, name := range sorted(l.Missing) {
		s.say("The ledger of %s could not be read (%s): what it decided is known only as far as others saw it.", name, l.Missing[name])
	}
}

// longest is how many rows a table of a story has at most.
const longest = 40

// table is what entries tell, one row each.
func (l *Ledgers) table(entries []ledger.Entry) Table {
	t := Table{Columns: []string{"Time", "Member", "What", "Why", "LSN", "TL"}}
	for i, e := range entries {
		if len(entries) > longest && i == longest/2 {
			t.Rows = append(t.Rows, []string{"…", "", fmt.Sprintf("(%d more)", len(entries)-longest), "", "", ""})
		}
		if len(entries) > longest && i >= longest/2 && i < len(entries)-longest/2 {
			continue
		}
		row := []string{l.clock(e.At), e.Node, title(&e), reason(&e), "", ""}
		if f := e.Facts; f != nil {
			row[4] = f.LSN
			if f.Timeline > 0 {
				row[5] = fmt.Sprint(f.Timeline)
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// widest is the length at which a reason is cut in a table.
const widest = 90

func reason(e *ledger.Entry) string {
	var parts []string
	for _, p := range append([]string{e.Why, e.Error}, e.Notes...) {
		if p != "" && !slices.Contains(parts, p) {
			parts = append(parts, p)
		}
	}
	if e.Repeats > 0 {
		parts = append(parts, fmt.Sprintf("(%d times before)", e.Repeats))
	}
	text := []rune(strings.Join(strings.Fields(strings.Join(parts, "; ")), " "))
	if len(text) > widest {
		return string(text[:widest-1]) + "…"
	}
	return string(text)
}

func sorted[V any](m map[string]V) []string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// list joins names or reasons as people do.
func list(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + last + " " + words[len(words)-1]
}

// size spells a number of bytes.
func size(n int64) string {
	switch {
	case n == 1:
		return "1 byte"
	case n < 10<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 10<<20:
		return fmt.Sprintf("%d kB", n>>10)
	}
	return fmt.Sprintf("%d MB", n>>20)
}

// secondsText spells a duration, short ones in milliseconds.
func secondsText(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// number is a value with at most three digits after the point.
func number(f float64) json.Number {
	return json.Number(strconv.FormatFloat(math.Round(f*1000)/1000, 'f', -1, 64))
}

// count is a value without any.
func count(n int64) json.Number { return json.Number(strconv.FormatInt(n, 10)) }
