package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"tamada/internal/cluster"
)

// dumpWidth is the column beyond which long texts and flow collections are
// broken.
const dumpWidth = 200

// DumpYAML writes a value as the reference's tools print it: block style, keys
// sorted, unicode kept. What it writes reads back as the same value in YAML
// 1.1; a text that would read as something else is quoted.
func DumpYAML(v any) string {
	d := &dumper{}
	switch v := v.(type) {
	case *cluster.Object:
		if v.Len() > 0 {
			d.mapping(v, 0, true)
			return d.String() + "\n"
		}
	case []any:
		if len(v) > 0 {
			d.sequence(v, 0, true)
			return d.String() + "\n"
		}
	}
	d.leaf(v, 2, false)
	return d.String() + "\n"
}

// DumpFlowYAML is the same on one line, in braces and brackets.
func DumpFlowYAML(v any) string {
	d := &dumper{}
	d.flow(v, 0)
	return d.String() + "\n"
}

type dumper struct {
	strings.Builder
	column int
}

func (d *dumper) write(s string) {
	d.WriteString(s)
	d.column += len([]rune(s))
}

func (d *dumper) newline(indent int) {
	d.WriteByte('\n')
	d.WriteString(strings.Repeat(" ", indent))
	d.column = indent
}

func sorted(o *cluster.Object) []string {
	var names []string
	for name := range o.All() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// mapping writes the lines of a mapping; the first one goes on where we are if
// inline.
func (d *dumper) mapping(o *cluster.Object, indent int, inline bool) {
	for i, name := range sorted(o) {
		if i > 0 || !inline {
			d.newline(indent)
		}
		d.text(name, indent, false, true)
		d.write(":")
		switch v := o.Value(name).(type) {
		case *cluster.Object:
			if v.Len() > 0 {
				d.mapping(v, indent+2, false)
				continue
			}
		case []any:
			if len(v) > 0 {
				d.sequence(v, indent, false)
				continue
			}
		}
		d.write(" ")
		d.leaf(o.Value(name), indent+2, false)
	}
}

func (d *dumper) sequence(list []any, indent int, inline bool) {
	for i, v := range list {
		if i > 0 || !inline {
			d.newline(indent)
		}
		d.write("- ")
		switch v := v.(type) {
		case *cluster.Object:
			if v.Len() > 0 {
				d.mapping(v, indent+2, true)
				continue
			}
		case []any:
			if len(v) > 0 {
				d.sequence(v, indent+2, true)
				continue
			}
		}
		d.leaf(v, indent+2, false)
	}
}

func (d *dumper) flow(v any, indent int) {
	indent += 2
	item := func(i int) {
		if i > 0 {
			d.write(",")
		}
		if d.column > dumpWidth {
			d.newline(indent)
		} else if i > 0 {
			d.write(" ")
		}
	}
	switch v := v.(type) {
	case *cluster.Object:
		d.write("{")
		for i, name := range sorted(v) {
			item(i)
			d.text(name, indent, true, true)
			d.write(": ")
			d.flow(v.Value(name), indent)
		}
		d.write("}")
	case []any:
		d.write("[")
		for i, e := range v {
			item(i)
			d.flow(e, indent)
		}
		d.write("]")
	default:
		d.leaf(v, indent, true)
	}
}

// leaf writes a scalar or an empty collection.
func (d *dumper) leaf(v any, indent int, flow bool) {
	switch v := v.(type) {
	case nil:
		d.write("null")
	case bool:
		d.write(fmt.Sprint(v))
	case json.Number:
		d.write(numberText(v))
	case string:
		d.text(v, indent, flow, false)
	case *cluster.Object:
		d.write("{}")
	case []any:
		d.write("[]")
	default:
		d.write(fmt.Sprint(v))
	}
}

// numberText is a number as YAML 1.1 knows it: a float needs its point.
func numberText(n json.Number) string {
	if !strings.ContainsAny(string(n), ".eE") {
		return string(n)
	}
	f, err := n.Float64()
	if err != nil {
		return string(n)
	}
	s := string(floatText(f))
	if !strings.Contains(s, ".") {
		s = strings.Replace(s, "e", ".0e", 1)
	}
	return s
}

// text writes a string in the plainest style that reads back as it.
func (d *dumper) text(s string, indent int, flow, key bool) {
	a := analyze(s)
	switch {
	case a.plain(flow) && !(key && a.breaks) && readsAsText(s):
		d.plain(s, indent, !key)
	case a.single && !(key && a.breaks):
		d.quoted(s, indent, !key)
	default:
		d.doubleQuoted(s, indent, !key)
	}
}

// analysis tells in which styles a text can be written.
type analysis struct {
	flowPlain, blockPlain, single, breaks bool
}

func (a analysis) plain(flow bool) bool { return flow && a.flowPlain || !flow && a.blockPlain }

func isBreak(r rune) bool { return r == '\n' || r == 0x85 || r == 0x2028 || r == 0x2029 }

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == 0 || isBreak(r) }

// printable tells whether a character may stand in a text without an escape.
func printable(r rune) bool {
	return r == '\n' || r >= 0x20 && r <= 0x7e || r == 0x85 || r >= 0xa0 && r <= 0xd7ff ||
		r >= 0xe000 && r <= 0xfffd && r != 0xfeff || r >= 0x10000
}

func analyze(s string) analysis {
	if s == "" {
		return analysis{blockPlain: true, single: true}
	}
	var flowSign, blockSign, special, spaceBreak, breakSpace bool
	a := analysis{flowPlain: true, blockPlain: true, single: true}
	if strings.HasPrefix(s, "---") || strings.HasPrefix(s, "...") {
		flowSign, blockSign = true, true
	}
	runes := []rune(s)
	for i, r := range runes {
		followed := i+1 == len(runes) || isBlank(runes[i+1])
		preceded := i == 0 || isBlank(runes[i-1])
		switch {
		case i == 0 && strings.ContainsRune("#,[]{}&*!|>'\"%@`", r):
			flowSign, blockSign = true, true
		case r == ':' || r == '?' && i == 0:
			flowSign = true
			blockSign = blockSign || followed
		case r == '-' && i == 0 && followed, r == '#' && preceded:
			flowSign, blockSign = true, true
		case strings.ContainsRune(",?[]{}", r):
			flowSign = true
		}
		a.breaks = a.breaks || isBreak(r)
		special = special || !printable(r)
		if i > 0 {
			spaceBreak = spaceBreak || runes[i-1] == ' ' && isBreak(r)
			breakSpace = breakSpace || isBreak(runes[i-1]) && r == ' '
		}
	}
	first, last := runes[0], runes[len(runes)-1]
	edges := first == ' ' || isBreak(first) || last == ' ' || isBreak(last)
	if edges || a.breaks || breakSpace || spaceBreak || special {
		a.flowPlain, a.blockPlain = false, false
	}
	if breakSpace || spaceBreak || special {
		a.single = false
	}
	a.flowPlain = a.flowPlain && !flowSign
	a.blockPlain = a.blockPlain && !blockSign
	return a
}

// times are the dates and times of YAML 1.1, which must be quoted.
var times = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:\d{4}-\d\d-\d\d|\d{4}-\d\d?-\d\d?(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?(?:[ \t]*(?:Z|[-+]\d\d?(?::\d\d)?))?)$`)
})

var infinities = []string{".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"}

// readsAsText tells whether an unquoted text is a text to every reader of
// YAML 1.1.
func readsAsText(s string) bool {
	if v, ok := ResolveScalar(s).(string); !ok || v == "=" || v == "<<" {
		return false
	}
	p := numberPatterns()
	return !p.integer.MatchString(s) && !p.float.MatchString(s) && !times().MatchString(s) && !slices.Contains(infinities, strings.TrimLeft(s, "+-"))
}

// plain writes words; beyond the width a single blank becomes a line break.
func (d *dumper) plain(s string, indent int, split bool) {
	d.words(s, indent, split, false)
}

// quoted writes a text in single quotes.
func (d *dumper) quoted(s string, indent int, split bool) {
	d.write("'")
	d.words(strings.ReplaceAll(s, "'", "''"), indent, split, true)
	d.write("'")
}

// words writes runs of blanks, breaks and other characters. A break is written
// as one more than it is, because a single one reads as a blank.
func (d *dumper) words(s string, indent int, split, quoted bool) {
	runes := []rune(s)
	for i := 0; i < len(runes); {
		end := i
		switch {
		case runes[i] == ' ':
			for end < len(runes) && runes[end] == ' ' {
				end++
			}
			inner := !quoted || i > 0 && end < len(runes)
			if end == i+1 && split && inner && d.column > dumpWidth {
				d.newline(indent)
			} else {
				d.write(string(runes[i:end]))
			}
		case isBreak(runes[i]):
			if runes[i] == '\n' {
				d.WriteByte('\n')
			}
			for ; end < len(runes) && isBreak(runes[end]); end++ {
				d.WriteRune(runes[end])
			}
			d.WriteString(strings.Repeat(" ", indent))
			d.column = indent
		default:
			for end < len(runes) && runes[end] != ' ' && !isBreak(runes[end]) {
				end++
			}
			d.write(string(runes[i:end]))
		}
		i = end
	}
}

var escapes = map[rune]string{0: `\0`, 7: `\a`, 8: `\b`, 9: `\t`, 10: `\n`, 11: `\v`, 12: `\f`, 13: `\r`, 0x1b: `\e`,
	'"': `\"`, '\\': `\\`, 0x85: `\N`, 0x2028: `\L`, 0x2029: `\P`}

// doubleQuoted writes a text in double quotes with escapes. Beyond the width
// it is broken before a blank or behind an escape; a backslash before the
// break, and one before a blank that follows, keep the text as it was.
func (d *dumper) doubleQuoted(s string, indent int, split bool) {
	d.write(`"`)
	runes, escaped := []rune(s), false
	for i, r := range runes {
		inner := split && i > 0 && i < len(runes)-1
		if r >= 0x20 && printable(r) && r < 0x10000 && r != '"' && r != '\\' && !isBreak(r) {
			if inner && d.column > dumpWidth && (r == ' ' || escaped) {
				d.brokenBefore(r, indent)
			}
			d.write(string(r))
			escaped = false
			continue
		}
		d.write(escape(r))
		escaped = true
		if inner && d.column-1 > dumpWidth {
			d.brokenBefore(runes[i+1], indent)
		}
	}
	d.write(`"`)
}

func (d *dumper) brokenBefore(r rune, indent int) {
	d.write(`\`)
	d.newline(indent)
	if r == ' ' {
		d.write(`\`)
	}
}

func escape(r rune) string {
	if e, ok := escapes[r]; ok {
		return e
	}
	switch {
	case r <= 0xff:
		return fmt.Sprintf(`\x%02X`, r)
	case r <= 0xffff:
		return fmt.Sprintf(`\u%04X`, r)
	}
	return fmt.Sprintf(`\U%08X`, r)
}
