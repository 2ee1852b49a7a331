package setup

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/postgres/conf"
)

// Sources are where values in force come from; all of it may be missing.
type Sources struct {
	Local       *config.Document // the node's own sources, merged
	Dynamic     *cluster.Object  // dynamic configuration
	DynamicFrom string           // where it was read
	Running     *Running         // of a parameter: what a server says
}

// Running is what a running server says of one of its parameters.
type Running struct {
	Member        string
	Value, Source string // with unit; as pg_settings names sources
	File          string // FILE:LINE, "" when it is none
	Pending       bool   // a restart is needed for what the files say
}

const (
	parametersPath = "postgresql.parameters."
	dcsPath        = "bootstrap.dcs."
)

// ErrUnknownKey says that there is no such key, with what may have been meant.
type ErrUnknownKey struct {
	Key  string
	Near []string
}

func (e *ErrUnknownKey) Error() string {
	switch len(e.Near) {
	case 0:
		return fmt.Sprintf("there is no key %s; docs/configuration.md lists them all", e.Key)
	case 1:
		return fmt.Sprintf("there is no key %s; did you mean %s?", e.Key, e.Near[0])
	}
	return fmt.Sprintf("%s may be %s: give the whole name", e.Key, strings.Join(e.Near, " or "))
}

// Explain writes what a key means and what is in force. A key is named by its
// dotted path, by its end where that is unambiguous, or is a parameter of
// PostgreSQL.
func Explain(w io.Writer, key string, s Sources) error {
	rows, path, err := findKey(key)
	if err != nil {
		return err
	}
	e := &explanation{w: w, path: path, s: s}
	if name, ok := strings.CutPrefix(path, parametersPath); ok {
		return e.parameter(name, rows)
	}
	return e.key(rows)
}

// ParameterName is the parameter of PostgreSQL that a key names, "" when it
// names something else.
func ParameterName(key string) string {
	_, path, err := findKey(key)
	if err != nil {
		return ""
	}
	name, _ := strings.CutPrefix(path, parametersPath)
	if name == path {
		return ""
	}
	return name
}

// findKey finds the rows of the table for a key: one for each place.
func findKey(key string) (rows []config.Key, path string, err error) {
	path = strings.TrimPrefix(key, dcsPath)
	keys := config.Keys()
	for _, k := range keys {
		if k.Path == path {
			rows = append(rows, k)
		}
	}
	if len(rows) > 0 || strings.HasPrefix(path, parametersPath) {
		return rows, path, nil
	}
	if parameter(path) {
		return findKey(parametersPath + path)
	}
	var ends, near []string
	for _, k := range keys {
		switch {
		case strings.HasSuffix(k.Path, "."+path) && !slices.Contains(ends, k.Path):
			ends = append(ends, k.Path)
		case matches(k.Path, path):
			return []config.Key{k}, path, nil
		}
	}
	if len(ends) == 1 {
		return findKey(ends[0])
	}
	if len(ends) == 0 {
		var known []string
		for _, k := range keys {
			known = append(known, k.Path)
		}
		if n := config.Nearest(path, known); n != "" {
			near = append(near, n)
		} else if n := config.Nearest(strings.ToLower(path), slices.Collect(maps.Keys(conf.RulesOf(newest)))); n != "" {
			near = append(near, parametersPath+n)
		}
		return nil, "", &ErrUnknownKey{key, near}
	}
	return nil, "", &ErrUnknownKey{key, ends}
}

// newest is the newest version of PostgreSQL that we know.
const newest = 180000

// versions are those whose parameters are known.
var versions = []int{130000, 140000, 150000, 160000, 170000, 180000}

func parameter(name string) bool {
	return slices.ContainsFunc(versions, func(v int) bool { _, ok := conf.RulesOf(v).Get(name); return ok })
}

// matches compares a path with one of the table that has placeholders.
func matches(pattern, path string) bool {
	a, b := strings.Split(pattern, "."), strings.Split(path, ".")
	if len(a) != len(b) || !strings.ContainsAny(pattern, "*<") {
		return false
	}
	for i := range a {
		if a[i] != "*" && a[i] != b[i] && a[i][0] != '<' {
			return false
		}
	}
	return true
}

// explanation is one answer.
type explanation struct {
	w    io.Writer
	path string
	s    Sources
}

func (e *explanation) line(what, text string) {
	if text != "" {
		fmt.Fprintf(e.w, "  %-9s %s\n", what, text)
	}
}

func (e *explanation) key(rows []config.Key) error {
	k := rows[0]
	fmt.Fprintln(e.w, e.path)
	for i, r := range rows {
		if i == 0 || r.Doc != k.Doc {
			fmt.Fprintln(e.w, "  "+r.Doc)
		}
	}
	e.line("type", typeText(k))
	if k.Default != nil {
		e.line("default", defaultText(k.Default))
	}
	e.line("limits", limits(k))
	if k.Required {
		e.line("needed", "yes, where the section around it is there")
	}
	e.line("place", placeText(e.path, rows))
	e.line("change", effectText(k.Effect))
	if k.Env != "" {
		e.line("variable", "PATRONI_"+k.Env+" or TAMADA_"+k.Env)
	}
	e.line("support", k.Refused)
	e.inForce(rows)
	return nil
}

func typeText(k config.Key) string {
	t := k.Kind.String()
	if len(k.Enum) > 0 {
		t = "one of " + strings.Join(k.Enum, ", ")
	}
	if k.Unit != "" {
		t += ", in " + k.Unit + " or with a unit"
	}
	return t
}

func defaultText(v any) string {
	switch v {
	case "":
		return "empty"
	case true:
		return "true"
	case false:
		return "false"
	}
	return fmt.Sprint(v)
}

func limits(k config.Key) string {
	switch {
	case k.Min != 0 && k.Max != 0:
		return fmt.Sprintf("%d to %d", k.Min, k.Max)
	case k.Max != 0:
		return fmt.Sprintf("0 to %d", k.Max)
	case k.Bounded():
		return fmt.Sprintf("at least %d", k.Min)
	}
	return ""
}

func placeText(path string, rows []config.Key) string {
	var place config.Place
	for _, r := range rows {
		place |= r.Place
	}
	dynamic := "the dynamic configuration (`tamada edit-config`; " + dcsPath + path + " for a new cluster)"
	switch place {
	case config.Local:
		return "the node's own file"
	case config.Dynamic:
		return dynamic
	}
	return "the node's own file, which wins, or " + dynamic
}

func effectText(e config.Effect) string {
	return [...]string{"on reload, or at once when it changes in the store", "when the agent is restarted", "when PostgreSQL is restarted",
		"only while a cluster is made"}[e]
}

// inForce tells the value and its source.
func (e *explanation) inForce(rows []config.Key) {
	if e.s.Local == nil && e.s.Dynamic == nil {
		return
	}
	var place config.Place
	for _, r := range rows {
		place |= r.Place
	}
	show := func(v any, in config.Place) string {
		if v = config.Redact(in, e.path, v); v == config.Hidden {
			return config.Hidden
		}
		if o, ok := v.(*cluster.Object); ok && o.Len() > 0 {
			return "\n" + indented(config.DumpYAML(v))
		}
		if list, ok := v.([]any); ok && len(list) > 0 {
			return "\n" + indented(config.DumpYAML(v))
		}
		return strings.TrimSpace(config.DumpYAML(v))
	}
	if e.s.Local != nil && place&config.Local != 0 {
		if v, ok := e.s.Local.Get(e.path); ok && v != nil {
			e.value(show(v, config.Local), e.s.Local.Pos(e.path).String())
			return
		}
	}
	if place&config.Dynamic != 0 {
		if v, ok := (&config.Document{Root: e.s.Dynamic}).Get(e.path); ok && v != nil {
			e.value(show(v, config.Dynamic), e.s.DynamicFrom)
			return
		}
	}
	if d := rows[0].Default; d != nil {
		e.value(defaultText(d), "the default")
		return
	}
	e.value("not set", "")
}

func (e *explanation) value(v, from string) {
	if from != "" {
		from = "from " + from
	}
	if strings.HasPrefix(v, "\n") {
		fmt.Fprintf(e.w, "  %-9s %s:%s\n", "in force", from, strings.TrimRight(v, "\n"))
		return
	}
	e.line("in force", strings.TrimSpace(v+"   "+from))
}

func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	return b.String()
}

// parameter explains a parameter of PostgreSQL.
func (e *explanation) parameter(name string, rows []config.Key) error {
	fmt.Fprintln(e.w, parametersPath+name)
	if len(rows) > 0 {
		fmt.Fprintln(e.w, "  "+rows[0].Doc)
	} else {
		fmt.Fprintln(e.w, "  A parameter of PostgreSQL.")
	}
	rule, since := ruleOf(name)
	if rule.Name != "" {
		e.line("type", rule.Expected())
		if rule.Default != "" {
			e.line("default", conf.Human(rule.Default, rule.Unit)+" (PostgreSQL's own)")
		}
		e.line("versions", since)
	}
	g := slices.Contains(conf.Controlled(), strings.ToLower(name))
	for _, c := range config.ControlledParameters {
		if strings.EqualFold(c.Name, name) {
			e.line("accepted", c.Expected)
		}
	}
	switch {
	case slices.Contains([]string{"listen_addresses", "port", "cluster_name"}, strings.ToLower(name)):
		e.line("place", "nowhere: it comes from postgresql.listen and scope")
	case g:
		e.line("place", "the dynamic configuration only (`tamada edit-config -p "+name+"=…`): it must be the same on all nodes, so it is passed on the command line")
	default:
		e.line("place", "the dynamic configuration (`tamada edit-config -p "+name+"=…`), or the node's own file, which wins; ALTER SYSTEM wins over both")
	}
	if rule.Context == "postmaster" {
		e.line("change", "when PostgreSQL is restarted")
	} else if rule.Context != "" {
		e.line("change", "on reload, without a restart")
	}
	e.parameterInForce(name, g)
	if r := e.s.Running; r != nil {
		text := fmt.Sprintf("%s   from %s", r.Value, r.Source)
		if r.File != "" {
			text += ", " + r.File
		}
		if r.Pending {
			text += "; another value waits for a restart"
		}
		e.line("on "+r.Member, text)
	}
	return nil
}

// ruleOf is the newest rule of a parameter and the versions that have it.
func ruleOf(name string) (rule conf.Rule, since string) {
	var have []string
	for _, v := range versions {
		if r, ok := conf.RulesOf(v).Get(name); ok {
			rule = r
			have = append(have, fmt.Sprint(v/10000))
		}
	}
	switch {
	case len(have) == len(versions):
		return rule, "all"
	case len(have) == 1:
		return rule, have[0]
	case len(have) == 0:
		return rule, ""
	}
	return rule, have[0] + " to " + have[len(have)-1]
}

func (e *explanation) parameterInForce(name string, controlled bool) {
	if e.s.Local == nil && e.s.Dynamic == nil {
		return
	}
	find := func(o *cluster.Object) (any, string) {
		for k, v := range o.All() {
			if strings.EqualFold(k, name) && v != nil {
				return v, k
			}
		}
		return nil, ""
	}
	if e.s.Local != nil && !controlled {
		v, _ := e.s.Local.Get("postgresql.parameters")
		o, _ := v.(*cluster.Object)
		if v, k := find(o); k != "" {
			e.value(cluster.Text(v), e.s.Local.Pos(parametersPath+k).String())
			return
		}
	}
	if v, k := find(e.s.Dynamic.Object("postgresql").Object("parameters")); k != "" {
		e.value(cluster.Text(v), e.s.DynamicFrom)
		return
	}
	for _, c := range config.ControlledParameters {
		if strings.EqualFold(c.Name, name) && c.Default != "" {
			e.value(c.Default, "the agent's default")
			return
		}
	}
	e.value("not set by the agent", "")
}

// AskMember asks a member's PostgreSQL for one of its parameters, as superuser.
func AskMember(ctx context.Context, m *cluster.Member, pg *config.Postgresql, name string) (*Running, error) {
	host, port, ok := m.Address()
	if !ok {
		return nil, fmt.Errorf("member %s has no address: %q", m.Name, m.ConnURL)
	}
	cfg, err := pgconn.ParseConfig(conf.Conninfo(map[string]string{"host": host, "port": strconv.Itoa(port), "dbname": pg.Database,
		"user": pg.Superuser.Username, "password": string(pg.Superuser.Password), "sslmode": pg.Superuser.SSLMode,
		"sslcert": pg.Superuser.SSLCert, "sslkey": pg.Superuser.SSLKey, "sslrootcert": pg.Superuser.SSLRootCert}, newest))
	if err != nil {
		return nil, fmt.Errorf("the connection settings of postgresql.authentication.superuser cannot be used")
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("ask PostgreSQL of %s for %s: %w", m.Name, name, err)
	}
	defer conn.Close(ctx)
	r := conn.ExecParams(ctx, `SELECT current_setting(name), source, coalesce(sourcefile || ':' || sourceline, ''), pending_restart
 FROM pg_settings WHERE lower(name) = lower($1)`, [][]byte{[]byte(name)}, nil, nil, nil).Read()
	if r.Err != nil {
		return nil, fmt.Errorf("ask PostgreSQL of %s for %s: %w", m.Name, name, r.Err)
	}
	if len(r.Rows) == 0 {
		return nil, fmt.Errorf("PostgreSQL of %s has no parameter %s", m.Name, name)
	}
	row := r.Rows[0]
	return &Running{Member: m.Name, Value: string(row[0]), Source: string(row[1]), File: string(row[2]), Pending: string(row[3]) == "t"}, nil
}
