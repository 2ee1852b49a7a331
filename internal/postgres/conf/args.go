package conf

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"tamada/internal/cluster"
)

// ShellSplit splits a command into words as a POSIX shell would, without
// expanding anything: blanks separate, quotes and backslashes protect.
func ShellSplit(s string) ([]string, error) {
	var words []string
	var b strings.Builder
	word, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote == 0 && strings.IndexByte(" \t\r\n", c) >= 0:
			if word {
				words = append(words, b.String())
				b.Reset()
				word = false
			}
			continue
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'':
			if i+1 == len(s) {
				return nil, errors.New("the command ends in a backslash")
			}
			i++
			if quote == '"' && s[i] != '"' && s[i] != '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
		word = true
	}
	if quote != 0 {
		return nil, fmt.Errorf("the command has no closing %c", quote)
	}
	if word {
		words = append(words, b.String())
	}
	return words, nil
}

// Options turns the options of a program, a list or a map, into arguments
// (reference postgresql.md 8.4). refused has the names of options that
// forbidden rejects, and what cannot be read at all, one text each.
func Options(v any, forbidden func(name, value string) bool) (args, refused []string) {
	add := func(name, value string, hasValue bool) {
		value = unquote(value)
		switch {
		case name == "":
		case forbidden(name, value):
			refused = append(refused, name)
		case hasValue:
			args = append(args, "--"+name+"="+value)
		default:
			args = append(args, "--"+name)
		}
	}
	switch v := v.(type) {
	case nil:
	case *cluster.Object:
		for k, e := range v.All() {
			if Truthy(e) {
				add(k, cluster.Text(e), true)
			}
		}
	case []any:
		for _, e := range v {
			if name, value, hasValue, ok := listEntry(e); ok {
				add(name, value, hasValue)
			} else {
				refused = append(refused, cluster.Text(e)+" (expected a name, or one name with a text)")
			}
		}
	default:
		refused = append(refused, cluster.Text(v)+" (expected a list or a map)")
	}
	return args, refused
}

// listEntry reads one entry of a list: a name, or a map of one name and a text.
func listEntry(e any) (name, value string, hasValue, ok bool) {
	switch e := e.(type) {
	case string:
		return e, "", false, true
	case *cluster.Object:
		for k, v := range e.All() {
			value, ok = v.(string)
			name = k
		}
		return name, value, true, ok && e.Len() == 1
	}
	return "", "", false, false
}

// unquote takes one pair of quotes off a value that is quoted as a whole.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '\'' || s[0] == '"') && s[len(s)-1] == s[0] {
		if w, err := ShellSplit(s); err == nil && len(w) == 1 {
			return w[0]
		}
	}
	return s
}

// Truthy tells whether a value of the configuration counts as set: not null,
// false, zero or empty.
func Truthy(v any) bool {
	switch v := v.(type) {
	case *cluster.Object:
		return v.Len() > 0
	case []any:
		return len(v) > 0
	}
	switch cluster.Text(v) {
	case "None", "False", "0", "0.0", "":
		return false
	}
	return true
}

// Forbid is a deny-list for [Options].
func Forbid(names ...string) func(name, value string) bool {
	return func(name, _ string) bool {
		// A list entry may carry its value: "pgdata=/elsewhere".
		name, _, _ = strings.Cut(strings.TrimLeft(name, "-"), "=")
		return slices.Contains(names, strings.TrimSpace(name))
	}
}
