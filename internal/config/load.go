package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tamada/internal/cluster"
)

// Load reads and checks a node's configuration from a file or a folder, or,
// when path is empty or does not exist, from the environment alone (reference
// configuration.md 1.1). environ is the environment as [os.Environ] gives it,
// captured once at start. The error is an [Errors] unless a file cannot be
// read.
func Load(path string, environ []string) (*Config, error) {
	doc, warnings, err := read(path, environ)
	if err != nil {
		return nil, err
	}
	return build(doc, warnings, environ)
}

// NotADict is the text of the problem of a source that holds no mapping, in the
// reference's words.
const NotADict = "does not contain a dict"

// LoadClient reads the configuration for a command-line tool: the same sources,
// but only the cluster's name, the store, ctl and restapi's credentials are
// looked at. Nothing of it is needed here: an empty configuration is no error.
// store, if not nil, takes the place of the store's section.
func LoadClient(path string, environ []string, store *StoreURL) (*Config, error) {
	doc, warnings, err := read(path, environ)
	if err != nil {
		return nil, err
	}
	if store != nil {
		store.apply(doc)
	}
	return buildClient(doc, warnings)
}

const doesNotExist = "does not exist; the configuration is taken from the environment alone"

// read merges the sources. warnings tell what was dropped on the way.
func read(path string, environ []string) (*Document, []Problem, error) {
	if path != "" {
		info, err := os.Stat(path)
		switch {
		case err == nil && info.IsDir():
			return readFolder(path, environ)
		case err == nil:
			doc, err := readFile(path)
			return overlay(doc, environ, err)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, nil, unreadable(path, err)
		}
	}
	if v := variables(environ)["CONFIGURATION"]; v.value != "" {
		doc, err := parseDocument("environment variable "+v.name, []byte(v.value))
		return doc, nil, err
	}
	doc, warnings, err := overlay(newDocument(), environ, nil)
	if err == nil && path != "" {
		doc.pos[""] = Pos{Source: path}
		warnings = append(warnings, Problem{Pos: Pos{Source: path}, Text: doesNotExist})
	}
	return doc, warnings, err
}

// overlay patches the environment over what the files hold. Of files with
// mistakes there may be a document all the same: [Validate] goes on with it.
func overlay(doc *Document, environ []string, err error) (*Document, []Problem, error) {
	if doc == nil {
		return nil, nil, err
	}
	env, warnings := fromEnvironment(environ)
	doc.patch(env)
	return doc, warnings, err
}

// unreadable is the error about a source that cannot be read at all.
func unreadable(path string, err error) error {
	var cause *fs.PathError
	text, hint := err.Error(), ""
	if errors.As(err, &cause) {
		text = cause.Err.Error()
	}
	if errors.Is(err, fs.ErrPermission) {
		hint = "it must be readable for the user that the agent runs as, and for nobody else: it may hold passwords"
	}
	return Errors{{Pos: Pos{Source: path}, Text: "cannot be read: " + text, Hint: hint}}
}

func readFile(path string) (*Document, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	return parseDocument(path, data)
}

// parseDocument reads one source, which must hold a mapping. Mistakes that leave
// a document that can be checked further, such as a key given twice, are returned
// together with it.
func parseDocument(source string, data []byte) (*Document, error) {
	p := parseYAML(source, data)
	doc := newDocument()
	doc.pos[""] = Pos{source, 1, 1}
	switch v := p.value.(type) {
	case *cluster.Object:
		if v.Len() > 0 {
			doc = &Document{Root: v, pos: p.pos, joined: p.joined, respelled: p.respelled}
		}
	case nil:
	default:
		p.add(p.pos[""], "", NotADict, `a line is "key: value", with a blank behind the colon`)
	}
	switch {
	case len(p.problems) == 0:
		return doc, nil
	case doc.Root.Len() == 0:
		return nil, Errors(p.problems)
	}
	return doc, Errors(p.problems)
}

// readFolder patches the folder's files one onto the other, in the order of
// their names. The errors of all files are reported together.
func readFolder(path string, environ []string) (*Document, []Problem, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, nil, unreadable(path, err)
	}
	var problems Errors
	doc := newDocument()
	doc.pos[""] = Pos{Source: path}
	for _, e := range entries {
		file := filepath.Join(path, e.Name())
		if !slices.Contains([]string{".yml", ".yaml"}, filepath.Ext(e.Name())) || !isRegular(file) {
			continue
		}
		problems = append(problems, doc.add(file)...)
	}
	if len(problems) > 0 {
		return overlay(doc, environ, problems)
	}
	return overlay(doc, environ, nil)
}

// add patches a file over the document and returns what is wrong with it. One
// that holds nothing is half a configuration: something was lost on the way.
func (d *Document) add(file string) (problems Errors) {
	part, err := readFile(file)
	if err != nil && !errors.As(err, &problems) {
		problems = Errors{{Pos: Pos{Source: file}, Text: err.Error()}}
	}
	if part == nil {
		return problems
	}
	if part.Root.Len() == 0 {
		return Errors{{Pos: part.Pos(""), Text: NotADict, Hint: "the file is empty: fill it, or remove it"}}
	}
	d.patch(part)
	return problems
}

// isRegular follows links: that is how ConfigMaps are mounted.
func isRegular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// lookup is a variable that is none of ours.
func lookup(environ []string, name string) string {
	for _, e := range environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}
