package config

import (
	"encoding/json"
	"fmt"
	"strings"

	"tamada/internal/cluster"
)

// options reads program options: a list of switches and one-pair mappings, or
// a mapping, of which values that are not set are skipped (reference
// configuration.md 2.3, 2.9). problem says what is wrong.
func options(v any) (list []Option, problem string) {
	switch v := v.(type) {
	case nil:
		return nil, ""
	case *cluster.Object:
		for name, value := range v.All() {
			if !cluster.Truthy(value) {
				continue
			}
			o, p := option(name, value)
			if p != "" {
				return nil, p
			}
			list = append(list, o)
		}
		return list, ""
	case []any:
		for _, e := range v {
			switch e := e.(type) {
			case string:
				list = append(list, Option{Name: e})
			case *cluster.Object:
				if e.Len() != 1 {
					return nil, fmt.Sprintf("an item of the list has %d keys, expected one", e.Len())
				}
				for name, value := range e.All() {
					o, p := option(name, value)
					if p != "" {
						return nil, p
					}
					list = append(list, o)
				}
			default:
				return nil, "found " + found(e, false) + " in the list, expected a text or one key with a value"
			}
		}
		return list, ""
	}
	return nil, "found " + found(v, true) + ", expected a list of options"
}

func option(name string, v any) (Option, string) {
	switch v := v.(type) {
	case string:
		return Option{name, unquote(v), true}, ""
	case json.Number:
		return Option{name, string(v), true}, ""
	case bool:
		// initdb would be called with --data-checksums=True and refuse.
		return Option{}, fmt.Sprintf("option %s has the value %v; write a switch without a value: - %s", name, v, name)
	}
	return Option{}, fmt.Sprintf("option %s: found %s, expected a text", name, found(v, true))
}

// unquote removes one level of quotes around a value.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '\'' || s[0] == '"') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

// hostList reads a list of hosts, or one text with commas.
func hostList(v any) ([]string, bool) {
	var list []string
	switch v := v.(type) {
	case string:
		for h := range strings.SplitSeq(v, ",") {
			if h = strings.TrimSpace(h); h != "" {
				list = append(list, h)
			}
		}
	case []any:
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			list = append(list, strings.TrimSpace(s))
		}
	default:
		return nil, false
	}
	return list, len(list) > 0
}
