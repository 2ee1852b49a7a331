package setup

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"tamada/internal/cluster"
	"tamada/internal/config"
)

// The notation of the column Strict of the table of keys:
//
//	*X        must be there
//	?X        at least one of the keys marked so in the section must be there
//	^X, ^^X   at most one of the keys marked alike may be there
//	section   a mapping whose keys are in the table
//	str int bool dict   a type;  [str], [str|dict]: a list of them
//	I[a..b]   an integer in text form too, in the key's unit; with ! a YAML integer
//	E{a,b}    one of these words, e{a,b} in any case
//	H hosts [H]   HOST:PORT that can be reached; with commas or a list of them
//	L L*      address to listen on, one host or several;  C address for others
//	others    checks of one key, below

// StrictOptions are those of the program's arguments.
type StrictOptions struct {
	IgnoreListenPort bool // a port in use is no mistake
}

// Strict checks a merged local configuration as the reference's
// --validate-config does, and returns its lines (reference configuration.md 5.2,
// 5.3). Values of keys that hold secrets are not repeated.
func Strict(doc *cluster.Object, o StrictOptions) []string {
	v := &strict{doc: doc, machine: machine{}, o: o}
	root := strictRules()
	for _, name := range []string{"name", "scope", "thread_pool_size", "thread_stack_size", "log", "ctl", "restapi", "bootstrap"} {
		v.key(doc, "", root.sub(name))
	}
	v.stores(root)
	for _, name := range []string{"citus", "postgresql", "watchdog", "tags"} {
		v.key(doc, "", root.sub(name))
	}
	return v.lines
}

// rule is one key of the table as the strict validator sees it.
type rule struct {
	name, check string // check without its mark
	mark        string
	key         config.Key
	below       []*rule
}

func (r *rule) sub(name string) *rule {
	for _, b := range r.below {
		if b.name == name {
			return b
		}
	}
	b := &rule{name: name}
	r.below = append(r.below, b)
	return b
}

func strictRules() *rule {
	root := &rule{}
	add := func(k config.Key, path, check string) {
		if check == "" {
			return
		}
		at := root
		for name := range strings.SplitSeq(path, ".") {
			at = at.sub(name)
		}
		at.key = k
		at.check = strings.TrimLeft(check, "*?^")
		at.mark = check[:len(check)-len(at.check)]
	}
	for _, k := range config.Keys() {
		if k.Place&config.Local != 0 {
			add(k, k.Path, k.Strict)
		}
	}
	for _, postgresql := range []bool{false, true} { // last, as the reference has it
		for _, k := range config.Keys() {
			if k.Place&config.Dynamic != 0 && strings.HasPrefix(k.Path, "postgresql") == postgresql {
				add(k, dcsPath+k.Path, k.StrictDCS)
			}
		}
	}
	return root
}

// strict is one run of the validator.
type strict struct {
	doc     *cluster.Object
	machine machine
	o       StrictOptions
	lines   []string
}

func (v *strict) add(path, text string) { v.lines = append(v.lines, path+"  "+text) }

// result is one finding about a value: a mismatch of types, or of meaning.
type result struct {
	path, value, text string
	mismatch          bool
}

func (v *strict) report(r result) {
	if r.value == "" {
		v.add(r.path, r.text)
		return
	}
	v.lines = append(v.lines, r.path+" "+r.value+" "+r.text)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// stores checks every store's section that is there; with none of them all are
// missing.
func (v *strict) stores(root *rule) {
	names := []string{"consul", "etcd", "etcd3", "exhibitor", "kubernetes", "raft", "zookeeper"}
	some := slices.ContainsFunc(names, func(n string) bool { _, ok := v.doc.Get(n); return ok })
	for _, n := range names {
		if !some {
			v.add(n, "is not defined.")
		}
		v.key(v.doc, "", root.sub(n))
	}
}

// key checks one key of a section.
func (v *strict) key(o *cluster.Object, path string, r *rule) {
	at := join(path, r.name)
	value, there := o.Get(r.name)
	if !there {
		if r.mark == "*" {
			v.add(at, "is not defined.")
		}
		if r.check == "bin_dir" {
			v.programs(at, "")
		}
		return
	}
	if r.check == "bin_dir" {
		v.binDir(at, value)
		return
	}
	for _, res := range v.value(at, r.check, value, r) {
		if r.key.Secret && r.check != "section" {
			res.value = "[hidden]"
		}
		v.report(res)
	}
}

// section checks the keys of a mapping, groups at the place of their first.
func (v *strict) section(o *cluster.Object, path string, r *rule) {
	done := map[string]bool{}
	for _, b := range r.below {
		switch {
		case b.mark == "" || b.mark == "*":
			v.key(o, path, b)
		case !done[b.mark]:
			done[b.mark] = true
			v.group(o, path, r, b.mark)
		}
	}
}

func (v *strict) group(o *cluster.Object, path string, r *rule, mark string) {
	var all, given []*rule
	for _, b := range r.below {
		if b.mark != mark {
			continue
		}
		all = append(all, b)
		if _, ok := o.Get(b.name); ok {
			given = append(given, b)
		}
	}
	if mark == "?" && len(given) == 0 {
		for _, b := range all {
			v.add(join(path, b.name), "is not defined.")
		}
		return
	}
	if mark != "?" && len(given) > 1 {
		var names []string
		for _, b := range all {
			names = append(names, "'"+b.name+"'")
		}
		v.add(path, "Multiple of ("+strings.Join(names, ", ")+") provided")
		return
	}
	for _, b := range given {
		v.key(o, path, b)
	}
}

// typeNames are the words of the messages.
var typeNames = map[string]string{"str": "a string", "int": "an integer", "real": "a number", "bool": "a boolean", "dict": "a dictionary",
	"section": "a dictionary", "list": "a list"}

func isType(kind string, value any) bool {
	switch value := value.(type) {
	case string:
		return kind == "str"
	case bool:
		return kind == "bool" || kind == "int" // in the reference's language a boolean is an integer too
	case json.Number:
		return kind == "int" && !strings.ContainsAny(string(value), ".eE")
	case *cluster.Object:
		return kind == "dict" || kind == "section"
	case []any:
		return kind == "list"
	}
	return false
}

// value checks one value. Of sections it reports what is below by itself.
func (v *strict) value(path, check string, value any, r *rule) []result {
	wrongType := func(kind string) []result {
		return []result{{path, cluster.Text(value), "is not " + typeNames[kind], true}}
	}
	failed := func(reason string) []result {
		if reason == "" {
			return nil
		}
		return []result{{path, cluster.Text(value), "didn't pass validation: " + reason, false}}
	}
	wrong := "Wrong value"
	name, args, _ := strings.Cut(check, "[")
	switch {
	case check == "section":
		if !isType("dict", value) {
			return wrongType("dict")
		}
		v.section(value.(*cluster.Object), path, r)
	case typeNames[check] != "":
		if !isType(check, value) {
			return wrongType(check)
		}
	case strings.HasPrefix(check, "["):
		return v.list(path, strings.Trim(check, "[]"), value, r)
	case name == "I":
		if strings.HasSuffix(args, "!") && !isType("int", value) {
			return wrongType("int")
		}
		if !inRange(value, strings.TrimRight(args, "]!"), r.key.Unit) {
			return failed(wrong)
		}
	case strings.HasPrefix(check, "E{"), strings.HasPrefix(check, "e{"):
		s, ok := value.(string)
		if !ok {
			return wrongType("str")
		}
		words := strings.Split(strings.Trim(check[1:], "{}"), ",")
		if !slices.ContainsFunc(words, func(w string) bool { return w == s || check[0] == 'e' && strings.EqualFold(w, s) }) {
			return failed(wrong)
		}
	case check == "hosts":
		if s, ok := value.(string); ok {
			for h := range strings.SplitSeq(s, ",") {
				if reason := v.machine.reachable(strings.TrimSpace(h)); reason != "" {
					return failed(reason)
				}
			}
			return nil
		}
		if !isType("list", value) {
			return append(wrongType("str"), wrongType("list")...)
		}
		return v.list(path, "H", value, r)
	default:
		return v.special(path, check, value, wrongType, failed)
	}
	return nil
}

// list checks each item: with alternatives, one has to fit.
func (v *strict) list(path, check string, value any, r *rule) (all []result) {
	items, ok := value.([]any)
	switch {
	case !ok:
		return []result{{path, cluster.Text(value), "is not a list", true}}
	case len(items) == 0:
		return []result{{path, "[]", "is an empty list", false}}
	}
	for i, item := range items {
		var found []result
		for alternative := range strings.SplitSeq(check, "|") {
			now := v.value(join(path, strconv.Itoa(i)), alternative, item, r)
			if len(now) == 0 {
				found = nil
				break
			}
			found = append(found, now...)
		}
		if slices.ContainsFunc(found, func(r result) bool { return !r.mismatch }) {
			found = slices.DeleteFunc(found, func(r result) bool { return r.mismatch })
		}
		all = append(all, found...)
	}
	return all
}

func inRange(value any, limits, unit string) bool {
	n, ok := cluster.ParseInt(value, unit)
	low, high, _ := strings.Cut(limits, "..")
	if l, err := strconv.ParseInt(low, 10, 64); err == nil && n < l {
		return false
	}
	if h, err := strconv.ParseInt(high, 10, 64); err == nil && n > h {
		return false
	}
	return ok
}

// special are the checks of single keys.
func (v *strict) special(path, check string, value any, wrongType func(string) []result, failed func(string) []result) []result {
	s, isText := value.(string)
	switch check {
	case "H", "L", "L*", "C", "ip", "data_dir", "bin_name":
		if !isText {
			return wrongType("str")
		}
	}
	switch check {
	case "H":
		return failed(v.machine.reachable(s))
	case "L", "L*":
		return failed(v.machine.listen(s, check == "L*", v.o.IgnoreListenPort))
	case "C":
		if err := config.CheckConnectAddress(s); err != nil {
			return failed(err.Error())
		}
	case "ip":
		if _, err := netip.ParseAddr(s); err != nil {
			return failed("Wrong value")
		}
	case "data_dir":
		return failed(v.dataDir(s))
	case "bin_name":
		pg := v.doc.Object("postgresql")
		dir, _ := pg.String("bin_dir")
		if s == "" || v.machine.program(dir, s) == "" {
			return failed(notThere(s, dir))
		}
	case "format":
		return failed(formatProblem(value))
	case "watchdog":
		_, isBool := value.(bool)
		if !isText && !isBool {
			return failed("expected type is not a string")
		}
		if value != false && !slices.Contains([]string{"off", "automatic", "required"}, s) {
			return failed("Wrong value")
		}
	case "sync":
		if _, ok := cluster.ParseBool(value); !ok && !strings.EqualFold(s, "quorum") {
			return failed("invalid value for synchronous_mode")
		}
	case "stack":
		// The reference asks for a multiple of 65535, which its own default is not
		// (configuration.md, trap 3).
		if n, ok := cluster.ParseInt(value, "B"); !ok || n < 65536 || n%65536 != 0 {
			return failed("Wrong value")
		}
	case "ports":
		return portsProblems(path, value)
	case "codes":
		return codesProblems(path, value)
	}
	return nil
}

func notThere(name, dir string) string {
	if dir == "" {
		dir = "$PATH"
	}
	return fmt.Sprintf("does not contain '%s' in '%s'", name, dir)
}

// formatProblem checks log.format.
func formatProblem(value any) string {
	switch value := value.(type) {
	case string:
		return ""
	case []any:
		if len(value) == 0 {
			return "should contain at least one item"
		}
		for _, item := range value {
			if o, ok := item.(*cluster.Object); ok && o.Len() == 1 {
				for _, x := range o.All() {
					if _, ok := x.(string); !ok {
						return "each item should be a string or a dictionary with string values"
					}
				}
				continue
			}
			if _, ok := item.(string); !ok {
				return "each item should be a string or a dictionary with string values"
			}
		}
		return ""
	}
	return "Should be a string or a list"
}

func portsProblems(path string, value any) (list []result) {
	items, ok := value.([]any)
	if !ok {
		return []result{{path, cluster.Text(value), "is not a list", true}}
	}
	if len(items) == 0 {
		return []result{{path, "[]", "is an empty list", false}}
	}
	for i, item := range items {
		at := join(path, strconv.Itoa(i))
		o, ok := item.(*cluster.Object)
		if !ok {
			list = append(list, result{at, cluster.Text(item), "is not a dictionary", true})
			continue
		}
		for _, name := range []string{"name", "port"} {
			x, there := o.Get(name)
			switch {
			case !there:
				list = append(list, result{join(at, name), "", "is not defined.", false})
			case name == "name" && !isType("str", x):
				list = append(list, result{join(at, name), cluster.Text(x), "is not a string", true})
			case name == "port" && !isType("int", x):
				list = append(list, result{join(at, name), cluster.Text(x), "is not an integer", true})
			case name == "port" && !inRange(x, "..65535", ""):
				list = append(list, result{join(at, name), cluster.Text(x), "didn't pass validation: Wrong value", false})
			}
		}
	}
	return list
}

func codesProblems(path string, value any) (list []result) {
	items, ok := value.([]any)
	if !ok {
		if isType("int", value) {
			return nil
		}
		t := cluster.Text(value)
		return []result{{path, t, "is not an integer", true}, {path, t, "is not a list", true}}
	}
	if len(items) == 0 {
		return []result{{path, "[]", "is an empty list", false}}
	}
	for i, item := range items {
		if !isType("int", item) {
			list = append(list, result{join(path, strconv.Itoa(i)), cluster.Text(item), "is not an integer", true})
		}
	}
	return list
}
