package config

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"tamada/internal/cluster"
)

// The checks of keys whose kind does not say it all. Each returns what is wrong
// with a value that is not null, and what to do about it.

// checkFormat is for log.format: a text, or for json a list of field names, each
// with or without another name for the output.
func checkFormat(v any) (problem, hint string) {
	const expected = `expected a text, or a list of texts and of pairs "field: name"`
	switch v := v.(type) {
	case string:
		return "", ""
	case []any:
		if len(v) == 0 {
			return "found an empty list, " + expected, ""
		}
		for _, item := range v {
			o, _ := item.(*cluster.Object)
			if _, ok := item.(string); ok {
				continue
			}
			for _, name := range o.All() {
				if _, ok := name.(string); !ok {
					o = nil
				}
			}
			if o.Len() != 1 {
				return "found " + found(item, false) + " in the list, " + expected, ""
			}
		}
		return "", ""
	}
	return "found " + found(v, false) + ", " + expected, ""
}

// checkFlag is for tags that are on or off. Agents take any text for on, "false"
// included (reference configuration.md, trap 5).
func checkFlag(v any) (problem, hint string) {
	switch v.(type) {
	case bool:
		return "", ""
	case string:
		return "found " + found(v, false) + ", expected true or false", "a text counts as true, whatever it says: take the quotes off"
	}
	return "found " + found(v, false) + ", expected true or false", ""
}

// checkIgnore is for ignore_slots.
func checkIgnore(v any) (problem, hint string) {
	const expected = ", expected a list of mappings with any of name, type, database and plugin"
	list, ok := v.([]any)
	if !ok {
		return "found " + found(v, false) + expected, `each line begins with "- ", with a blank behind the dash`
	}
	for _, item := range list {
		if _, ok := item.(*cluster.Object); !ok {
			return "found " + found(item, false) + " in the list" + expected, ""
		}
	}
	return "", ""
}

func checkIP(v any) (problem, hint string) {
	if s, ok := v.(string); ok {
		if _, err := netip.ParseAddr(s); err == nil {
			return "", ""
		}
	}
	return "found " + found(v, false) + ", expected an IP address", ""
}

// checkPorts is for kubernetes.ports.
func checkPorts(v any) (problem, hint string) {
	const expected = "expected a list of {name, port, protocol}"
	list, ok := v.([]any)
	if !ok {
		return "found " + found(v, false) + ", " + expected, ""
	}
	for _, item := range list {
		o, ok := item.(*cluster.Object)
		if !ok {
			return "found " + found(item, false) + " in the list, " + expected, ""
		}
		n, ok := cluster.ParseInt(o.Value("port"), "")
		if _, named := o.String("name"); !named || !ok || n < 1 || n > 65535 {
			return "an item of the list has no name, or no port between 1 and 65535, " + expected, ""
		}
	}
	return "", ""
}

// checkCodes is for kubernetes.retriable_http_codes.
func checkCodes(v any) (problem, hint string) {
	list := []any{v}
	switch v := v.(type) {
	case []any:
		list = v
	case string:
		list = nil
		for s := range strings.SplitSeq(v, ",") {
			list = append(list, strings.TrimSpace(s))
		}
	}
	for _, c := range list {
		if n, ok := cluster.ParseInt(c, ""); !ok || n < 100 || n > 599 {
			return "found " + found(c, false) + ", expected an HTTP status code, or a list of them", ""
		}
	}
	return "", ""
}

// checkSlot tells what is wrong with a permanent slot; key is the one in it that
// is concerned, "" for the slot itself.
func checkSlot(v any) (key, problem string) {
	o, ok := v.(*cluster.Object)
	if !ok {
		if v == nil {
			return "", ""
		}
		return "", "found " + found(v, false) + ", expected a mapping, or nothing"
	}
	for _, name := range []string{"type", "cluster_type"} {
		row := trees().dynamic.find("slots.*." + name).key
		if x := o.Value(name); x != nil && !oneOf(row.Enum, cluster.Text(x)) {
			return name, fmt.Sprintf("found %s, expected %s", found(x, false), strings.Join(row.Enum, " or "))
		}
	}
	for _, name := range []string{"database", "plugin"} {
		switch o.Value(name).(type) {
		case nil, string, json.Number:
		default:
			return name, "found " + found(o.Value(name), false) + ", expected a text"
		}
	}
	kind, _ := o.String("type")
	if kind == "logical" && (!cluster.Truthy(o.Value("database")) || !cluster.Truthy(o.Value("plugin"))) {
		return "", "is logical and has no database or plugin"
	}
	return "", ""
}
