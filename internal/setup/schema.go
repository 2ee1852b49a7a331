package setup

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/postgres/conf"
)

// SchemaFile is the JSON Schema's place in the repository.
const SchemaFile = "docs/tamada.schema.json"

// Schema is the JSON Schema of a whole configuration, for editors: names,
// meanings, types and limits from the table of keys and the tables of
// PostgreSQL's parameters. Nothing is required in it, because a configuration
// may be spread over several files and the environment.
func Schema() string {
	local, dynamic := object(), object()
	for _, k := range config.Keys() {
		if k.Place&config.Local != 0 && !strings.HasPrefix(k.Path, parametersPath) {
			place(local, k)
		}
		if k.Place&config.Dynamic != 0 && !strings.HasPrefix(k.Path, parametersPath) {
			place(dynamic, k)
		}
	}
	local.Object("properties").Object("bootstrap").Object("properties").Set("dcs", ref("dynamic"))
	parameters := parametersSchema()
	for _, root := range []*cluster.Object{local, dynamic} {
		pg := root.Object("properties").Object("postgresql").Object("properties")
		for _, name := range []string{"parameters", "parameters_primary", "parameters_replica", "parameters_standby_leader"} {
			pg.Set(name, ref("parameters"))
		}
	}
	dynamic.Set("description", "The dynamic configuration, as it is in the store.")
	schema := cluster.NewObject(
		"$schema", "https://json-schema.org/draft/2020-12/schema",
		"title", "Configuration of a node of Tamada (and of Patroni 4.1)",
		"description", "Written by a test of internal/setup from the table of keys; do not edit. To use it, begin a file with: # yaml-language-server: $schema=PATH")
	for k, v := range local.All() {
		schema.Set(k, v)
	}
	schema.Set("$defs", cluster.NewObject("dynamic", dynamic, "parameters", parameters))
	return indentJSON(schema)
}

func object() *cluster.Object {
	return cluster.NewObject("type", []any{"object", "null"}, "properties", &cluster.Object{}, "additionalProperties", false)
}

func ref(name string) *cluster.Object { return cluster.NewObject("$ref", "#/$defs/"+name) }

// place puts a key into the schema of the section that it stands in.
func place(root *cluster.Object, k config.Key) {
	names := strings.Split(k.Path, ".")
	o := root
	for _, n := range names[:len(names)-1] {
		o = child(o, n)
		if o == nil {
			return // below something whose schema says it all
		}
	}
	name := names[len(names)-1]
	if name == "*" {
		o.Set("additionalProperties", true)
		return
	}
	s := schemaOf(k)
	if strings.HasPrefix(name, "<") {
		o.Set("additionalProperties", s)
		return
	}
	if p := o.Object("properties"); p != nil {
		p.Set(name, s)
	}
}

func child(o *cluster.Object, name string) *cluster.Object {
	if strings.HasPrefix(name, "<") {
		return o.Object("additionalProperties")
	}
	return o.Object("properties").Object(name)
}

func schemaOf(k config.Key) *cluster.Object {
	s := &cluster.Object{}
	if k.Schema != "" {
		if o, err := cluster.ParseObject([]byte(k.Schema)); err == nil {
			s = o
		}
	} else {
		s = kindSchema(k)
	}
	s.Set("description", describe(k))
	if k.Default != nil && k.Kind != config.Real {
		s.Set("default", k.Default)
	}
	if k.Secret && k.Kind == config.Text {
		s.Set("writeOnly", true)
	}
	if k.Refused != "" {
		s.Set("deprecated", true)
	}
	return s
}

func describe(k config.Key) string {
	text := k.Doc
	if k.Unit != "" {
		text += " Unit: " + k.Unit + "."
	}
	switch k.Effect {
	case config.OnAgentRestart:
		text += " A change needs a restart of the agent."
	case config.OnPostgresRestart:
		text += " A change needs a restart of PostgreSQL."
	case config.OnBootstrap:
		text += " Counts only while a cluster is made."
	}
	if k.Refused != "" {
		text += " Refused: " + k.Refused + "."
	}
	if k.Env != "" {
		text += " Environment: PATRONI_" + k.Env + "."
	}
	return text
}

var truths = []any{"on", "off", "true", "false", "yes", "no", "On", "Off", "True", "False", "Yes", "No", "1", "0"}

func kindSchema(k config.Key) *cluster.Object {
	types := func(names ...any) *cluster.Object { return cluster.NewObject("type", append(names, "null")) }
	items := func(types ...any) *cluster.Object { return cluster.NewObject("type", types) }
	switch k.Kind {
	case config.Section:
		return object()
	case config.Text:
		if len(k.Enum) > 0 {
			return cluster.NewObject("enum", words(k.Enum))
		}
		return types("string", "number")
	case config.Bool:
		return cluster.NewObject("anyOf", []any{types("boolean"), cluster.NewObject("enum", append([]any{1, 0}, truths...))})
	case config.Int, config.Seconds:
		number := types("integer")
		if k.Bounded() {
			number.Set("minimum", k.Min)
		}
		if k.Max != 0 {
			number.Set("maximum", k.Max)
		}
		return cluster.NewObject("anyOf", []any{number, cluster.NewObject("type", "string", "pattern", `^\s*[-+]?[0-9]`)})
	case config.Real:
		return types("number", "string")
	case config.AddrPort:
		return types("string")
	case config.Strings:
		s := types("array")
		s.Set("items", items("string"))
		return s
	case config.Hosts:
		s := types("string", "array")
		s.Set("items", items("string"))
		return s
	case config.Options:
		s := types("array", "object")
		s.Set("items", cluster.NewObject("type", []any{"string", "object"}, "maxProperties", 1))
		return s
	case config.Map:
		return types("object")
	}
	return &cluster.Object{}
}

// words are the spellings of an enum that people write.
func words(enum []string) []any {
	var all []any
	add := func(w any) {
		if !slices.Contains(all, w) {
			all = append(all, w)
		}
	}
	for _, w := range enum {
		add(w)
		add(strings.ToLower(w))
		add(strings.ToUpper(w))
		if w == "off" {
			add(false) // an unquoted off is a boolean
		}
	}
	return append(all, nil)
}

// parametersSchema has the parameters of all versions; those of extensions have
// a dot in their name, and others may come with a fork.
func parametersSchema() *cluster.Object {
	names := map[string]string{}
	for _, v := range versions {
		for key, r := range conf.RulesOf(v) {
			names[key] = r.Name
		}
	}
	properties := &cluster.Object{}
	for _, key := range slices.Sorted(maps.Keys(names)) {
		rule, since := ruleOf(key)
		text := rule.Expected() + "."
		if since != "all" {
			text += " PostgreSQL " + since + "."
		}
		if rule.Default != "" {
			text += " Default: " + conf.Human(rule.Default, rule.Unit) + "."
		}
		if rule.Context == "postmaster" {
			text += " A change needs a restart of PostgreSQL."
		}
		s := &cluster.Object{}
		switch rule.Type {
		case "integer", "real":
			s.Set("type", []any{"number", "string", "null"})
		case "bool":
			s.Set("anyOf", []any{cluster.NewObject("type", []any{"boolean", "null"}), cluster.NewObject("enum", append([]any{1, 0}, truths...))})
		case "enum":
			s.Set("type", []any{"string", "boolean", "null"})
			if len(rule.Values) > 0 {
				var examples []any
				for _, v := range rule.Values {
					examples = append(examples, v)
				}
				s.Set("examples", examples)
			}
		default:
			s.Set("type", []any{"string", "number", "boolean", "null"})
		}
		s.Set("description", strings.ToUpper(text[:1])+text[1:])
		properties.Set(names[key], s)
	}
	for _, k := range config.Keys() {
		if name, ok := strings.CutPrefix(k.Path, parametersPath); ok && properties.Object(name) == nil {
			properties.Set(name, schemaOf(k)) // of versions that are older than the tables
		}
	}
	return cluster.NewObject("type", []any{"object", "null"}, "description", "Parameters of PostgreSQL. Values may have units.",
		"properties", properties, "additionalProperties", cluster.NewObject("type", []any{"string", "number", "boolean", "null"}))
}

// indentJSON writes one key on a line, and what is short on one line as a whole.
func indentJSON(v any) string {
	var b strings.Builder
	writeIndented(&b, v, "")
	return b.String() + "\n"
}

func writeIndented(b *strings.Builder, v any, indent string) {
	const short = 110
	flat := string(cluster.Spaced(v))
	o, ok := v.(*cluster.Object)
	if !ok || len(flat) <= short {
		b.WriteString(flat)
		return
	}
	b.WriteString("{\n")
	i := 0
	for k, x := range o.All() {
		fmt.Fprintf(b, "%s  %s: ", indent, cluster.Spaced(k))
		writeIndented(b, x, indent+"  ")
		if i++; i < o.Len() {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString(indent + "}")
}
