package config

import (
	"encoding/json"
	"fmt"
	"strings"

	"tamada/internal/cluster"
)

// checker walks a document along the table and collects what is wrong.
type checker struct {
	doc      *Document
	strict   bool
	errors   Errors
	warnings []Problem
}

func (c *checker) fail(path, text, hint string) {
	c.errors = append(c.errors, Problem{c.doc.Pos(path), path, text, hint})
}

func (c *checker) warn(path, text, hint string) {
	c.warnings = append(c.warnings, Problem{c.doc.Pos(path), path, text, hint})
}

// section checks everything in o, which stands at path, against its tree.
func (c *checker) section(o *cluster.Object, path string, t *keyTree) {
	for name, v := range o.All() {
		at := join(path, name)
		child := t.child(name)
		switch {
		case child == nil || child.key == nil:
			c.unknown(at, name, v, t)
		case child.key.Refused != "":
			if v != nil {
				c.fail(at, child.key.Refused, "")
				c.value(v, at, child) // its mistakes are told now, not when it is supported
			}
		case v != nil:
			c.ownTag(at, name, t)
			c.value(v, at, child)
		}
	}
	for _, name := range t.order {
		k := t.children[name].key
		if k != nil && k.Required && o.Value(name) == nil {
			c.missing(join(path, name), t.children[name])
		}
	}
}

// missing reports a needed key; of a needed section, the needed keys in it.
func (c *checker) missing(path string, t *keyTree) {
	if t.key.Kind == Any {
		c.fail(path, "is missing", t.key.Doc)
		return
	}
	if t.key.Kind != Section {
		c.fail(path, "is missing, expected "+t.key.Kind.String(), t.key.Doc)
		return
	}
	reported := false
	for _, name := range t.order {
		if k := t.children[name].key; k != nil && k.Required {
			c.missing(join(path, name), t.children[name])
			reported = true
		}
	}
	if !reported {
		c.fail(path, "is missing, expected "+t.key.Kind.String(), t.key.Doc)
	}
}

// value checks one value that is not null.
func (c *checker) value(v any, path string, t *keyTree) {
	k := t.key
	if k.Check != nil {
		if problem, hint := k.Check(v); problem != "" {
			c.soft(path, problem, hint)
			return
		}
	}
	wrong := func(hint string) { c.fail(path, "found "+found(v, k.Secret)+", expected "+k.Kind.String(), hint) }
	switch k.Kind {
	case Section:
		if o, ok := v.(*cluster.Object); ok {
			c.section(o, path, t)
			return
		}
		wrong(`a line is "key: value", with a blank behind the colon`)
	case Map:
		if _, ok := v.(*cluster.Object); !ok {
			wrong(`a line is "name: value", with a blank behind the colon`)
		}
	case Text:
		c.text(v, path, k, wrong)
	case Bool:
		if _, ok := cluster.ParseBool(v); !ok {
			wrong("")
		}
	case Int, Seconds, Real:
		c.number(v, path, k, wrong)
	case AddrPort:
		c.address(v, path, wrong)
	case Strings:
		c.strings(v, path, wrong)
	case Hosts:
		c.hosts(v, path, wrong)
	case Options:
		if _, problem := options(v); problem != "" {
			c.fail(path, problem, `each line is "- switch" or "- option: value"`)
		}
	}
}

func (c *checker) text(v any, path string, k *Key, wrong func(string)) {
	switch v := v.(type) {
	case string, json.Number:
		c.respelled(path, k)
		if k.Enum != nil && !oneOf(k.Enum, cluster.Text(v)) && (c.strict || !k.Lenient) {
			c.fail(path, "found "+found(v, k.Secret)+", expected one of "+strings.Join(k.Enum, ", "), "")
		}
	case bool:
		// An unquoted off is a boolean in YAML 1.1, and meant as a word here.
		if k.Enum == nil || v || !oneOf(k.Enum, "off") {
			wrong("on, off, yes and no must be quoted where a text is meant")
		}
	default:
		wrong("")
	}
}

// respelled reports a text that YAML reads as a number, and that comes out
// otherwise than it was written: a password of 0123 would be 83.
func (c *checker) respelled(path string, k *Key) {
	raw, ok := c.doc.respelled[path]
	if !ok {
		return
	}
	v, _ := c.doc.value(path)
	text := fmt.Sprintf("%s is read as the number %s", raw, cluster.Text(v))
	if k.Secret {
		text = "is read as a number, and changed by that"
	}
	const hint = "quote it, so that it stays the text that it is"
	c.soft(path, text, hint)
}

func (c *checker) number(v any, path string, k *Key, wrong func(string)) {
	if k.Kind == Real {
		if _, ok := cluster.ParseReal(v, k.Unit); !ok {
			wrong("")
		}
		return
	}
	n, ok := cluster.ParseInt(v, k.Unit)
	hint := ""
	if !c.strict && k.Place&Dynamic == 0 && !strings.HasPrefix(path, "tags.") {
		hint = "the limit is used instead"
	}
	switch {
	case !ok:
		wrong("")
	case k.Kind == Seconds && k.Unit == "":
		// ttl and its two companions: their limits depend on each other.
	case n < int64(k.Min) && k.Bounded():
		c.soft(path, fmt.Sprintf("%d is below the least value %d", n, k.Min), hint)
	case k.Max != 0 && n > int64(k.Max):
		c.soft(path, fmt.Sprintf("%d is above the greatest value %d", n, k.Max), hint)
	}
}

// soft reports what a running node gets along with, which is seldom what was
// meant: an error only where a configuration is checked beforehand.
func (c *checker) soft(path, text, hint string) {
	if c.strict {
		c.fail(path, text, hint)
		return
	}
	c.warn(path, text, hint)
}

func (c *checker) address(v any, path string, wrong func(string)) {
	s, ok := v.(string)
	if !ok {
		wrong("quote it if it is a text")
		return
	}
	dflt := 0
	switch path {
	case "etcd3.host", "etcd.host":
		dflt = 2379
	case "consul.host":
		dflt = 8500
	case "postgresql.listen", "postgresql.connect_address", "postgresql.proxy_address":
		dflt = 5432
	}
	if _, err := ParseAddress(s, dflt); err != nil {
		c.fail(path, err.Error()+", expected HOST:PORT", "")
	}
}

func (c *checker) strings(v any, path string, wrong func(string)) {
	list, ok := v.([]any)
	if !ok {
		wrong(`each line begins with "- ", with a blank behind the dash`)
		return
	}
	for i, e := range list {
		if _, ok := e.(string); !ok {
			c.fail(fmt.Sprintf("%s.%d", path, i), "found "+found(e, false)+", expected a text", "quote it")
		}
	}
}

func (c *checker) hosts(v any, path string, wrong func(string)) {
	if items, ok := v.([]any); ok && len(items) > 0 {
		for i, e := range items {
			at := fmt.Sprintf("%s.%d", path, i)
			if s, ok := e.(string); !ok {
				c.fail(at, "found "+found(e, false)+", expected HOST:PORT", "quote it")
			} else if _, err := ParseAddress(s, 2379); err != nil {
				c.fail(at, err.Error()+", expected HOST:PORT", "")
			}
		}
		return
	}
	list, ok := hostList(v)
	if !ok {
		wrong("")
		return
	}
	for _, h := range list {
		if _, err := ParseAddress(h, 2379); err != nil {
			c.fail(path, err.Error()+", expected HOST:PORT", "")
		}
	}
}

// found describes a value for a message.
func found(v any, secret bool) string {
	switch v := v.(type) {
	case *cluster.Object:
		return "a mapping"
	case []any:
		return "a list"
	case string:
		if secret || len(v) > 60 {
			return "a text"
		}
		return fmt.Sprintf("the text %q", v)
	case json.Number:
		if secret {
			return "a number"
		}
		return "the number " + string(v)
	case bool:
		return map[bool]string{true: "true", false: "false"}[v]
	}
	return "nothing"
}

func oneOf(words []string, s string) bool {
	for _, w := range words {
		if strings.EqualFold(w, s) {
			return true
		}
	}
	return false
}
