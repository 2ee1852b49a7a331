package config

import (
	"maps"
	"slices"
	"strings"

	"tamada/internal/cluster"
)

// The two families of environment variables: the second wins.
var envPrefixes = []string{"PATRONI_", "TAMADA_"}

// variable is one setting taken from the environment.
type variable struct {
	name  string // as it is in the environment
	value string
}

// IsVariable tells whether an environment variable belongs to the
// configuration, so that it is kept from the processes that the agent starts.
func IsVariable(name string) bool {
	return slices.ContainsFunc(envPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// variables collects the environment's settings by their name without the
// prefix. Of two that say the same, TAMADA_X wins over PATRONI_X; an empty one
// never does.
func variables(environ []string) map[string]variable {
	vars := map[string]variable{}
	for _, prefix := range envPrefixes {
		for _, e := range environ {
			name, value, _ := strings.Cut(e, "=")
			key, ok := strings.CutPrefix(name, prefix)
			if !ok || key == "" {
				continue
			}
			if _, there := vars[key]; !there || value != "" {
				vars[key] = variable{name, value}
			}
		}
	}
	return vars
}

// fromEnvironment assembles the part of the configuration that stands in
// environment variables (reference configuration.md 1.2). What cannot be read
// is dropped with a warning.
func fromEnvironment(environ []string) (d *Document, warnings []Problem) {
	e := &envReader{vars: variables(environ), doc: newDocument(), used: map[string]bool{}}
	keys := Keys()
	for i := range keys {
		if k := &keys[i]; k.Env != "" && !ofStore(k.Path) {
			e.take(k.Env, k.Path, k.Kind, k.Unit)
		}
	}
	for _, old := range [][2]string{{"LOGLEVEL", "log.level"}, {"LOGFORMAT", "log.format"}, {"LOG_DATEFMT", "log.dateformat"}} {
		if _, there := e.doc.value(old[1]); !there {
			e.take(old[0], old[1], Text, "")
		}
	}
	e.genericSections()
	e.slips()
	return e.doc, e.warnings
}

// slips warns of variables that nobody reads and whose name is near one that
// somebody does. Others may have any name: platforms make some up.
func (e *envReader) slips() {
	var known []string
	for _, k := range Keys() {
		if k.Env != "" {
			known = append(known, k.Env)
		}
	}
	names := slices.Sorted(maps.Keys(e.vars))
	for _, name := range names {
		v := e.vars[name]
		if e.used[name] || v.value == "" || name == "CONFIGURATION" || slices.Contains(known, name) {
			continue
		}
		if near := Nearest(name, known); near != "" {
			prefix := strings.TrimSuffix(v.name, name)
			e.warnings = append(e.warnings, Problem{Pos: Pos{Source: "environment variable " + v.name}, Text: "is not read by anybody", Hint: "did you mean " + prefix + near + "?"})
		}
	}
}

type envReader struct {
	vars     map[string]variable
	doc      *Document
	used     map[string]bool // variables that were read
	warnings []Problem
}

// take reads one variable into one key; an empty one is the same as none.
func (e *envReader) take(name, path string, kind Kind, unit string) {
	v, ok := e.vars[name]
	if !ok || v.value == "" {
		return
	}
	e.set(v, path, kind, unit)
}

func (e *envReader) set(v variable, path string, kind Kind, unit string) {
	pos := Pos{Source: "environment variable " + v.name}
	e.used[strings.TrimPrefix(strings.TrimPrefix(v.name, envPrefixes[0]), envPrefixes[1])] = true
	value, ok := any(v.value), true
	switch {
	case path == "log.format":
		if !strings.Contains(v.value, "%(") {
			value, ok = envList(v.value)
		}
	case path == "thread_pool_size" || path == "thread_stack_size":
		// These two stay texts, which the reference's validator then finds fault with.
	case kind == Int:
		n, good := cluster.ParseInt(v.value, unit)
		value, ok = cluster.NewObject("n", n).Value("n"), good
	case kind == Bool:
		value, ok = cluster.ParseBool(v.value)
	case kind == Strings:
		value, ok = envList(v.value)
	case kind == Hosts:
		// A list in brackets, or a plain one with commas: both are understood later.
		if value, ok = envList(v.value); !ok {
			value, ok = v.value, true
		}
	case kind == Map:
		value, ok = envMap(v.value)
	}
	if !ok {
		// The value is not repeated: nobody knows what it holds.
		e.warnings = append(e.warnings, Problem{Pos: pos, Path: path, Text: "is ignored: expected " + kind.String()})
		return
	}
	e.doc.set(path, value, pos)
}

// envList reads a YAML list; without brackets or dashes it is one of items
// with commas.
func envList(text string) (any, bool) {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "-") && !strings.Contains(text, "[") {
		text = "[" + text + "]"
	}
	v, err := ParseYAML("environment", []byte(text))
	list, ok := v.([]any)
	return list, ok && err == nil
}

// envMap reads a YAML mapping, its braces may be missing.
func envMap(text string) (any, bool) {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "{") {
		text = "{" + text + "}"
	}
	v, err := ParseYAML("environment", []byte(text))
	o, ok := v.(*cluster.Object)
	return o, ok && err == nil
}

// genericSuffixes are the variables NAME_SUFFIX that make a key of a section
// of any name (reference configuration.md 1.2): that is how all stores are
// configured.
var genericSuffixes = func() map[string]Kind {
	m := map[string]Kind{"PORT": Int}
	for kind, names := range map[Kind]string{
		Text: `HOST PROTOCOL SRV SRV_SUFFIX URL PROXY CACERT CERT KEY TOKEN DC CONSISTENCY SERVICE_CHECK_INTERVAL
			SERVICE_CHECK_TLS_SERVER_NAME NAMESPACE CONTEXT SCOPE_LABEL ROLE_LABEL POD_IP KEY_PASSWORD USE_SSL
			LEADER_LABEL_VALUE FOLLOWER_LABEL_VALUE STANDBY_LEADER_LABEL_VALUE TMP_ROLE_LABEL GROUP DATABASE`,
		Strings: "PORTS CHECKS SERVICE_TAGS RETRIABLE_HTTP_CODES",
		Hosts:   "HOSTS",
		Map:     "LABELS SET_ACLS AUTH_DATA BOOTSTRAP_LABELS",
		Bool:    "USE_PROXIES REGISTER_SERVICE USE_ENDPOINTS BYPASS_API_SERVICE VERIFY",
	} {
		for name := range strings.FieldsSeq(names) {
			m[name] = kind
		}
	}
	return m
}()

// stores are the sections of configuration stores, in the order in which the
// first one found wins (reference configuration.md 2.4).
var stores = []string{"consul", "etcd", "etcd3", "exhibitor", "kubernetes", "raft", "zookeeper"}

// ofStore tells whether a key is set by the generic variables.
func ofStore(path string) bool {
	section, _, _ := strings.Cut(path, ".")
	return section != "raft" && slices.Contains(stores, section)
}

func (e *envReader) genericSections() {
	names := make([]string, 0, len(e.vars))
	for name := range e.vars {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		section, suffix, ok := strings.Cut(name, "_")
		kind, known := genericSuffixes[suffix]
		if !ok || !known || section == "" || section == "CITUS" || e.taken(name) {
			continue
		}
		e.set(e.vars[name], strings.ToLower(section)+"."+strings.ToLower(suffix), kind, "")
	}
	// Credentials alone do not make a section.
	for _, section := range []string{"ETCD", "ETCD3"} {
		if e.doc.Root.Object(strings.ToLower(section)) == nil {
			continue
		}
		e.take(section+"_USERNAME", strings.ToLower(section)+".username", Text, "")
		e.take(section+"_PASSWORD", strings.ToLower(section)+".password", Text, "")
	}
}

// taken tells whether a variable of the generic form has a row of its own in
// the table, such as CTL_CACERT.
func (e *envReader) taken(name string) bool {
	return slices.ContainsFunc(Keys(), func(k Key) bool { return k.Env == name && !ofStore(k.Path) })
}
