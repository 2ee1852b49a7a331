package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
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
	doc, warnings, problems := readAll(paths, environ)
	switch {
	case len(problems) > 0 && (doc == nil || lost(problems)):
		return &Report{doc: newDocument(), Warnings: warnings, Errors: problems.inOrder()}
	case doc.Root.Len() == 0:
		return &Report{doc: doc, Warnings: warnings, Errors: []Problem{emptyProblem(doc)}}
	}
	cfg, c := check(doc, warnings, environ, true)
	r := &Report{Errors: append(problems, c.errors...), Warnings: c.warnings, Config: cfg, doc: doc}
	r.Sort()
	return r
}

// lost tells whether one of the sources could not be read as a whole: what it
// would have said is not known then, and would be reported as missing. Mistakes
// in single keys keep nobody from checking the others.
func lost(problems Errors) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return p.Path == "" })
}

// readAll reads what a validation was asked to look at. A path that leads
// nowhere is an error here, where a node would go on with the environment.
func readAll(paths, environ []string) (doc *Document, warnings []Problem, problems Errors) {
	var err error
	for _, p := range paths {
		if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, Problem{Pos: Pos{Source: p}, Text: "does not exist"})
		}
	}
	switch {
	case len(problems) > 0:
		return nil, nil, problems
	case len(paths) <= 1:
		doc, warnings, err = read(strings.Join(paths, ""), environ)
	default:
		doc = newDocument()
		var all Errors
		for _, p := range paths {
			part, _, err := read(p, nil)
			var list Errors
			if err != nil && !errors.As(err, &list) {
				list = Errors{{Pos: Pos{Source: p}, Text: err.Error()}}
			}
			all = append(all, list...)
			switch {
			case part == nil:
			case part.Root.Len() == 0:
				all = append(all, Problem{Pos: part.Pos(""), Text: NotADict, Hint: "there is nothing in it"})
			default:
				doc.patch(part)
			}
		}
		if len(all) > 0 {
			err = all
		}
		doc, warnings, err = overlay(doc, environ, err)
	}
	if err != nil && !errors.As(err, &problems) {
		problems = Errors{{Text: err.Error()}}
	}
	return doc, warnings, problems
}

func emptyProblem(doc *Document) Problem {
	return Problem{Pos: doc.Pos(""), Text: "Config is empty.", Hint: "give a file, or set PATRONI_CONFIGURATION or other PATRONI_* or TAMADA_* variables"}
}

// CheckTimes tells what is wrong with ttl, loop_wait and retry_timeout of a
// dynamic configuration; Path is relative to it. A running agent corrects them
// (reference configuration.md 3.1), which is seldom what was meant. floors are the
// least values, which depend on the members ([cluster.FloorsFor]).
func CheckTimes(dynamic *cluster.Object, floors cluster.Floors) (problems []Problem) {
	read := func(key string, least int) (n int64, ok bool) {
		dflt, _ := trees().dynamic.child(key).key.Default.(int)
		v, there := dynamic.Get(key)
		if !there {
			return int64(dflt), true
		}
		n, ok = cluster.ParseInt(v, "")
		switch {
		case !ok:
			problems = append(problems, Problem{Path: key, Text: "found " + found(v, false) + ", expected a whole number of seconds without a unit",
				Hint: "agents ignore the whole document while this is wrong"})
		case n < int64(least):
			hint := ""
			if floors == cluster.CommonFloors && n >= int64(guardedFloor(key)) {
				hint = "less is possible only while every member of the cluster has a guardian"
			}
			problems = append(problems, Problem{Path: key, Text: fmt.Sprintf("%d is below the least value %d", n, least), Hint: hint})
			ok = false
		}
		return n, ok
	}
	ttl, ok1 := read("ttl", floors.TTL)
	loop, ok2 := read("loop_wait", floors.LoopWait)
	retry, ok3 := read("retry_timeout", floors.RetryTimeout)
	if !ok1 || !ok2 || !ok3 || loop+2*retry <= ttl {
		return problems
	}
	hint := fmt.Sprintf("raise ttl to %d", loop+2*retry)
	if r := (ttl - loop) / 2; r >= int64(floors.RetryTimeout) {
		hint += fmt.Sprintf(", or lower retry_timeout to %d", r)
	}
	return append(problems, Problem{Path: "ttl", Text: fmt.Sprintf(
		"ttl = %d does not fit: it must be at least loop_wait + 2 × retry_timeout = %d + 2 × %d = %d, or the leader loses its key while it still tries to keep it",
		ttl, loop, retry, loop+2*retry), Hint: hint})
}

func guardedFloor(key string) int {
	f := cluster.GuardedFloors
	return map[string]int{"ttl": f.TTL, "loop_wait": f.LoopWait, "retry_timeout": f.RetryTimeout}[key]
}

var slotName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

// CheckDynamic tells what in a dynamic configuration would be corrected or
// ignored by every agent, unknown keys included; Path is relative to it.
func CheckDynamic(doc *cluster.Object, floors cluster.Floors) (problems []Problem) {
	problems = CheckTimes(doc, floors)
	add := func(path, text, hint string) {
		if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Path == path }) {
			problems = append(problems, Problem{Path: path, Text: text, Hint: hint})
		}
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
			if k, problem := checkSlot(v); problem != "" {
				add(strings.TrimSuffix(join(path, k), "."), problem, "")
			}
		}
	}
	if v := doc.Value("synchronous_mode"); v != nil {
		s, _ := v.(string)
		if _, ok := cluster.ParseBool(v); !ok && !strings.EqualFold(s, "quorum") {
			add("synchronous_mode", "found "+found(v, false)+", expected true, false or quorum", "")
		}
	}
	for _, p := range checkByTable(doc) {
		add(p.Path, p.Text, p.Hint)
	}
	return problems
}

// checkByTable checks a dynamic configuration along the table of keys, as if it
// stood in bootstrap.dcs.
func checkByTable(doc *cluster.Object) (problems []Problem) {
	const at = "bootstrap.dcs"
	c := &checker{doc: newDocument(), strict: true}
	c.section(doc, at, trees().dynamic)
	for _, p := range append(c.errors, c.warnings...) {
		problems = append(problems, Problem{Path: strings.TrimPrefix(p.Path, at+"."), Text: p.Text, Hint: strings.ReplaceAll(p.Hint, at+".", "")})
	}
	return problems
}
