package config

import (
	"strings"
	"sync"
)

// Kind is the type of a key's value.
type Kind int

// The kinds. A null is always the same as an absent key.
const (
	Section  Kind = iota // a mapping whose keys are in the table
	Text                 // a string; a number is taken by its text
	Bool                 // a boolean, or a text that reads as one
	Int                  // an integer, or a text that reads as one
	Real                 // a real number
	Seconds              // an integer number of seconds; units are allowed where Unit is set
	AddrPort             // HOST:PORT, several hosts where the key says so
	Strings              // a list of strings
	Hosts                // a list of HOST[:PORT], or the same with commas in one string
	Options              // program options: a list of switches and one-pair mappings, or a mapping
	Map                  // a free mapping
	Any                  // anything
)

// String says what a value of the kind looks like.
func (k Kind) String() string {
	return [...]string{"a mapping", "a text", "true or false", "an integer", "a number", "a number of seconds",
		"HOST:PORT", "a list of texts", "a list of HOST:PORT", "a list of options", "a mapping", "anything"}[k]
}

// Place is where a key may stand; values can be combined.
type Place int

// The places.
const (
	Local   Place = 1 << iota // the node's file and environment
	Dynamic                   // the store's document, and bootstrap.dcs
	Both    = Local | Dynamic
)

// Effect is when a changed value takes effect (reference configuration.md 1.8).
type Effect int

// The effects.
const (
	OnReload          Effect = iota // reload of the node, or change in the store
	OnAgentRestart                  // restart of the agent
	OnPostgresRestart               // restart of PostgreSQL
	OnBootstrap                     // only when the cluster is created
)

// Key is one row of the table.
type Key struct {
	Path     string // dotted, in the document it stands in; * is any name
	Kind     Kind
	Place    Place
	Effect   Effect
	Default  any      // bool, int, string or nil
	Required bool     // when the section around it is there
	Secret   bool     // never repeat the value
	Min, Max int      // range of an Int or Seconds; both 0: none, unless NotNegative
	Enum     []string // allowed texts, any case; nil: any
	// Lenient: whoever uses the key complains of a text that is not in Enum, and
	// takes the default; only a validation refuses it.
	Lenient bool
	Unit    string // base unit for numbers with a unit
	// NotNegative: the least value is 0.
	NotNegative bool
	// Check says what is wrong with a value, and what to do, where the kind does not
	// say it all; nil: nothing more to check.
	Check   func(v any) (problem, hint string)
	Env     string // environment variable without PATRONI_ or TAMADA_; "" none
	Refused string // not supported: why, or since when by what
	// Strict is what the reference's --validate-config checks at this place, and
	// StrictDCS within bootstrap.dcs; "" is nothing. See strict.go for the notation.
	Strict, StrictDCS string
	Schema            string // JSON Schema of the value where Kind does not say it all
	Doc               string // what it means
}

// Bounded tells whether Min is the least value.
func (k *Key) Bounded() bool { return k.Min != 0 || k.Max != 0 || k.NotNegative }

// name is the last part of the path.
func (k *Key) name() string { return k.Path[strings.LastIndexByte(k.Path, '.')+1:] }

// keyTree finds keys by path, for one place.
type keyTree struct {
	key      *Key
	children map[string]*keyTree
	order    []string
}

func (t *keyTree) child(name string) *keyTree {
	if t == nil {
		return nil
	}
	if c, ok := t.children[name]; ok {
		return c
	}
	return t.children["*"]
}

// find walks down a dotted path; nil when it is not in the table.
func (t *keyTree) find(path string) *keyTree {
	for name := range strings.SplitSeq(path, ".") {
		if t = t.child(name); t == nil {
			return nil
		}
	}
	return t
}

func (t *keyTree) add(k *Key) {
	for name := range strings.SplitSeq(k.Path, ".") {
		c := t.children[name]
		if c == nil {
			if t.children == nil {
				t.children = map[string]*keyTree{}
			}
			c = &keyTree{}
			t.children[name] = c
			t.order = append(t.order, name)
		}
		t = c
	}
	t.key = k
}

type keyTrees struct{ local, dynamic *keyTree }

// trees holds the table in two trees; the dynamic one also hangs below
// bootstrap.dcs of the local one.
var trees = sync.OnceValue(func() keyTrees {
	t := keyTrees{local: &keyTree{}, dynamic: &keyTree{}}
	keys := Keys()
	for i := range keys {
		if keys[i].Place&Local != 0 {
			t.local.add(&keys[i])
		}
		if keys[i].Place&Dynamic != 0 {
			t.dynamic.add(&keys[i])
		}
	}
	dcs := t.local.find("bootstrap.dcs")
	dcs.children, dcs.order = t.dynamic.children, t.dynamic.order
	return t
})

// Keys is the table of all keys, sections before what is in them.
var Keys = sync.OnceValue(func() []Key {
	var all []Key
	for _, part := range [][]Key{topKeys, logKeys, bootstrapKeys, restapiKeys, ctlKeys, dcsKeys(), postgresqlKeys,
		controlledKeys(), roleKeys(), authenticationKeys(), methodKeys(), watchdogKeys, tagKeys, dynamicKeys} {
		all = append(all, part...)
	}
	for i := range all {
		k := &all[i]
		section, name, ok := strings.Cut(k.Path, ".")
		if suffix := strings.ToUpper(name); ok && ofStore(k.Path) && genericSuffixes[suffix] != Section {
			k.Env = strings.ToUpper(section) + "_" + suffix
		}
	}
	return all
})
