package config

import (
	"strings"

	"tamada/internal/cluster"
)

// Hidden stands in the place of a secret.
const Hidden = "[hidden]"

// Redact returns a value of a configuration for people to read, without the
// secrets in it. path is where it stands in the document of the place given, "" for all of
// it.
func Redact(place Place, path string, v any) any {
	t := trees().local
	if place == Dynamic {
		t = trees().dynamic
	}
	for name := range strings.SplitSeq(path, ".") {
		if path != "" {
			t = t.named(name)
		}
	}
	return redacted(v, lastName(path), t)
}

// named is child, with the sections of custom methods, whose names are free.
func (t *keyTree) named(name string) *keyTree {
	c := t.child(name)
	if c == nil && t != nil {
		c = t.children["<method>"]
	}
	return c
}

func redacted(v any, name string, t *keyTree) any {
	secret := t != nil && t.key != nil && t.key.Secret
	switch v := v.(type) {
	case *cluster.Object:
		if secret && t.key.Kind != Section {
			return Hidden
		}
		o := &cluster.Object{}
		for k, e := range v.All() {
			o.Set(k, redacted(e, k, t.named(k)))
		}
		return o
	case []any:
		if secret {
			return Hidden
		}
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = redacted(e, name, t)
		}
		return list
	}
	// A key that is not in the table may still be one that was misspelled.
	unknown := t == nil || t.key == nil || t.key.Kind == Section
	words := []string{"password", "secret", "token"}
	for _, word := range words {
		name := strings.ToLower(name)
		secret = secret || unknown && (strings.Contains(name, word) || Nearest(name, words) != "")
	}
	if secret && v != nil {
		return Hidden
	}
	return v
}

func lastName(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }
