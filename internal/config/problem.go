package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pos is where a value was written. Line 0 means the source as a whole (an
// environment variable, a folder).
type Pos struct {
	Source       string
	Line, Column int
}

// String is SOURCE:LINE:COLUMN, as editors understand it.
func (p Pos) String() string {
	switch {
	case p.Source == "":
		return "configuration"
	case p.Line == 0:
		return p.Source
	}
	return fmt.Sprintf("%s:%d:%d", p.Source, p.Line, p.Column)
}

// Problem is one thing that is wrong, or odd, about one key.
type Problem struct {
	Pos  Pos
	Path string // dotted key; empty when it is about the whole source
	Text string // what was found and what is expected; never a secret
	Hint string // what to do; may be empty
}

// String is the problem on one line.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Pos.String())
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path)
		b.WriteString(": ")
	}
	b.WriteString(p.Text)
	if p.Hint != "" {
		b.WriteString(" (")
		b.WriteString(p.Hint)
		b.WriteString(")")
	}
	return b.String()
}

// Errors is everything that prevents a configuration from being used.
type Errors []Problem

// Error lists the problems, one on each line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// inOrder sorts the problems as they stand in the sources.
func (e Errors) inOrder() Errors {
	slices.SortStableFunc(e, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Pos.Source, b.Pos.Source), a.Pos.Line-b.Pos.Line, a.Pos.Column-b.Pos.Column)
	})
	return e
}

// Secret is a text that must not appear in logs and errors. Convert it with
// string(s) at the one place that needs it.
type Secret string

// String hides the text.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[hidden]"
}

// GoString hides the text from %#v too.
func (s Secret) GoString() string { return s.String() }
