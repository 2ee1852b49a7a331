package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"tamada/internal/cluster"
)

// Report is everything that [Validate] found.
type Report struct {
	// Errors are what keeps a node from starting or would not do what is written;
	// Warnings are odd and can be lived with.
	Errors, Warnings []Problem
	// Config is the configuration as far as it can be understood, with defaults for
	// the rest; nil when the sources could not even be parsed.
	Config *Config

	doc *Document
}

// Pos is where the value of a dotted path stands, or what is next around it.
func (r *Report) Pos(path string) Pos { return r.doc.Pos(path) }

// Fail adds an error about a key.
func (r *Report) Fail(path, text, hint string) {
	r.Errors = append(r.Errors, Problem{r.doc.Pos(path), path, text, hint})
}

// Warn adds a warning about a key.
func (r *Report) Warn(path, text, hint string) {
	r.Warnings = append(r.Warnings, Problem{r.doc.Pos(path), path, text, hint})
}

// Sort brings errors and warnings into the order of the sources.
func (r *Report) Sort() {
	r.Errors, r.Warnings = Errors(r.Errors).inOrder(), Errors(r.Warnings).inOrder()
}

// ReadDocument merges the sources of a configuration without checking them:
// file or folder, and environment.
func ReadDocument(path string, environ []string) (*Document, error) {
	doc, _, err := read(path, environ)
	return doc, err
}

// Validate checks a configuration more strictly than [Load] does: also what a
// running node would correct or ignore with a warning is an error when it
// cannot have been meant. Several paths are merged in their order, as the files
// of a folder are; without any the environment is the source.
func Validate(paths []string, environ []string) *Report {
	doc, warnings, err := readAll(paths, environ)
	if err != nil {
		r := &Report{doc: newDocument(), Warnings: warnings}
		var list Errors
		if errors.As(err, &list) {
			r.Errors = list
		} else {
			r.Errors = []Problem{{Text: err.Error()}}
		}
		return r
	}
	if doc.Root.Len() == 0 {
		return &Report{doc: doc, Warnings: warnings, Errors: []Problem{emptyProblem(doc)}}
	}
	cfg, c := check(doc, warnings, environ, true)
	r := &Report{Errors: c.errors, Warnings: c.warnings, Config: cfg, doc: doc}
	r.Sort()
	return r
}

func readAll(paths, environ []string) (*Document, []Problem, error) {
	if len(paths) <= 1 {
		return read(strings.Join(paths, ""), environ)
	}
	doc := newDocument()
	var problems Errors
	for _, p := range paths {
		part, _, err := read(p, nil)
		var list Errors
		switch {
		case errors.As(err, &list):
			problems = append(problems, list...)
		case err != nil:
			return nil, nil, err
		case part.Root.Len() == 0:
			problems = append(problems, Problem{Pos: Pos{Source: p}, Text: "does not exist or is empty"})
		default:
			doc.patch(part)
		}
	}
	if len(problems) > 0 {
		return nil, nil, problems
	}
	return overlay(doc, environ, nil)
}

func emptyProblem(doc *Document) Problem {
	return Problem{Pos: doc.Pos(""), Text: "Config is empty.", Hint: "give a file, or set PATRONI_CONFIGURATION or other PATRONI_* or TAMADA_* variables"}
}

// CheckTimes tells what is wrong with ttl, loop_wait and retry_timeout of a
// dynamic configuration; Path is relative to it. A running agent corrects them
// (reference configuration.md 3.1), which is seldom what was meant.
func CheckTimes(dynamic *cluster.Object) (problems []Problem) {
	read := func(key string) (n int64, ok bool) {
		row := trees().dynamic.child(key).key
		dflt, _ := row.Default.(int)
		v, there := dynamic.Get(key)
		if !there {
			return int64(dflt), true
		}
		n, ok = cluster.ParseInt(v, "")
		switch {
		case !ok:
			problems = append(problems, Problem{Path: key, Text: "found " + found(v, false) + ", expected a whole number of seconds without a unit",
				Hint: "agents ignore the whole document while this is wrong"})
		case n < int64(row.Min):
			problems = append(problems, Problem{Path: key, Text: fmt.Sprintf("%d is below the least value %d", n, row.Min)})
			ok = false
		}
		return n, ok
	}
	ttl, ok1 := read("ttl")
	loop, ok2 := read("loop_wait")
	retry, ok3 := read("retry_timeout")
	if !ok1 || !ok2 || !ok3 || loop+2*retry <= ttl {
		return problems
	}
	hint := fmt.Sprintf("raise ttl to %d", loop+2*retry)
	if r := (ttl - loop) / 2; r >= 3 {
		hint += fmt.Sprintf(", or lower retry_timeout to %d", r)
	}
	return append(problems, Problem{Path: "ttl", Text: fmt.Sprintf(
		"ttl = %d does not fit: it must be at least loop_wait + 2 × retry_timeout = %d + 2 × %d = %d, or the leader loses its key while it still tries to keep it",
		ttl, loop, retry, loop+2*retry), Hint: hint})
}

var slotName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

// CheckDynamic tells what in a dynamic configuration would be corrected or
// ignored by every agent; Path is relative to it.
func CheckDynamic(doc *cluster.Object) (problems []Problem) {
	problems = CheckTimes(doc)
	add := func(path, text, hint string) {
		problems = append(problems, Problem{Path: path, Text: text, Hint: hint})
	}
	for name, v := range doc.Object("postgresql").Object("parameters").All() {
		g := findControlled(name)
		path := "postgresql.parameters." + name
		switch {
		case g == nil || v == nil:
		case g.accept == nil:
			add(path, "is ignored here: it comes from other keys", "")
		case !g.accept(v):
			add(path, "found "+found(v, false)+", expected "+g.Expected, "agents would use the default instead")
		}
	}
	for _, key := range []string{"permanent_replication_slots", "permanent_slots", "slots"} {
		for name, v := range doc.Object(key).All() {
			path := join(key, name)
			if !slotName.MatchString(name) {
				add(path, "is no name of a slot, expected 1 to 63 lower-case letters, digits and underscores", "")
			}
			if o, ok := v.(*cluster.Object); v != nil && !ok {
				add(path, "found "+found(v, false)+", expected a mapping, or nothing", "")
			} else if kind, _ := o.String("type"); kind == "logical" && (!cluster.Truthy(o.Value("database")) || !cluster.Truthy(o.Value("plugin"))) {
				add(path, "is logical and has no database or plugin", "")
			}
		}
	}
	if v := doc.Value("synchronous_mode"); v != nil {
		s, _ := v.(string)
		if _, ok := cluster.ParseBool(v); !ok && !strings.EqualFold(s, "quorum") {
			add("synchronous_mode", "found "+found(v, false)+", expected true, false or quorum", "")
		}
	}
	return problems
}
