package config

import (
	"errors"
	"fmt"
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
			return nil, nil, fmt.Errorf("read configuration: %w", err)
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

// overlay patches the environment over what the files hold.
func overlay(doc *Document, environ []string, err error) (*Document, []Problem, error) {
	if err != nil {
		return nil, nil, err
	}
	env, warnings := fromEnvironment(environ)
	doc.patch(env)
	return doc, warnings, nil
}

func readFile(path string) (*Document, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parseDocument(path, data)
}

// parseDocument reads one source, which must hold a mapping.
func parseDocument(source string, data []byte) (*Document, error) {
	p := parseYAML(source, data)
	if len(p.problems) > 0 {
		return nil, Errors(p.problems)
	}
	switch v := p.value.(type) {
	case *cluster.Object:
		if v.Len() > 0 {
			return &Document{Root: v, pos: p.pos, joined: p.joined}, nil
		}
	case nil:
	default:
		return nil, Errors{{Pos: p.pos[""], Text: "does not contain a mapping of keys to values", Hint: `a line is "key: value", with a blank behind the colon`}}
	}
	return &Document{Root: &cluster.Object{}, pos: map[string]Pos{"": {source, 1, 1}}}, nil
}

// readFolder patches the folder's files one onto the other, in the order of
// their names. The errors of all files are reported together.
func readFolder(path string, environ []string) (*Document, []Problem, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	var problems Errors
	doc := newDocument()
	doc.pos[""] = Pos{Source: path}
	for _, e := range entries {
		file := filepath.Join(path, e.Name())
		if !slices.Contains([]string{".yml", ".yaml"}, filepath.Ext(e.Name())) || !isRegular(file) {
			continue
		}
		part, err := readFile(file)
		var list Errors
		switch {
		case errors.As(err, &list):
			problems = append(problems, list...)
		case err != nil:
			return nil, nil, err
		default:
			doc.patch(part)
		}
	}
	if len(problems) > 0 {
		return nil, nil, problems
	}
	return overlay(doc, environ, nil)
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
