package conf

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"tamada/internal/cluster"
)

// A Rule says what PostgreSQL accepts for one parameter: a row of pg_settings.
type Rule struct {
	Name    string // as PostgreSQL spells it
	Type    string // bool, integer, real, enum or string
	Context string // postmaster, sighup, superuser, user, …
	Unit    string // base unit, such as 8kB or ms; "" for none
	// Min and Max are the range of a number in the base unit, "" for none.
	Min, Max string
	Default  string   // built in, in the base unit; "" where it depends on the build
	Values   []string // of an enum; hidden spellings are not among them
}

// Rules are the parameters of one version by name in lower case.
type Rules map[string]Rule

// gucTable is measured on real servers (gucgen); what lies between two measured
// versions comes from the release notes.
//
//go:embed gucs.tsv
var gucTable string

// MeasuredVersions are those whose table comes from a server itself.
var MeasuredVersions = []int{13, 15, 17, 18}

type ruleRow struct {
	from, till int // major versions; till 0 is open
	rule       Rule
}

var ruleRows = sync.OnceValue(func() (rows []ruleRow) {
	for line := range strings.Lines(gucTable) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") || len(f) != 10 {
			continue
		}
		from, _ := strconv.Atoi(f[1])
		till, _ := strconv.Atoi(f[2])
		r := Rule{Name: f[0], Type: f[3], Context: f[4], Unit: f[5], Min: f[6], Max: f[7], Default: f[8]}
		if r.Type == "enum" {
			r.Values = strings.Split(f[9], ",")
		}
		rows = append(rows, ruleRow{from, till, r})
	}
	return rows
})

// RulesOf is the table of a version such as 150000. A version that is newer
// than the table has what the newest one has.
func RulesOf(version int) Rules {
	major := version / 10000
	rules := Rules{}
	for _, r := range ruleRows() {
		if major >= r.from && (r.till == 0 || major < r.till) {
			rules[strings.ToLower(r.rule.Name)] = r.rule
		}
	}
	return rules
}

// Get finds the rule of a parameter, older names that the server still takes
// included.
func (r Rules) Get(name string) (Rule, bool) {
	name = strings.ToLower(name)
	rule, ok := r[name]
	if !ok {
		rule, ok = r[olderNames[name]]
	}
	return rule, ok
}

// olderNames are spellings that servers take for a parameter's present one.
var olderNames = map[string]string{
	"sort_mem": "work_mem", "vacuum_mem": "maintenance_work_mem",
	"force_parallel_mode": "debug_parallel_query", "ssl_ecdh_curve": "ssl_groups",
}

// hiddenValues are values of enums that the server takes and does not list.
var hiddenValues = map[string][]string{
	"wal_level":           {"hot_standby", "archive"},
	"client_min_messages": {"debug", "info", "fatal", "panic"},
	"log_min_messages":    {"debug"}, "log_min_error_statement": {"debug"}, "trace_recovery_messages": {"debug"},
}

// Verdict is what came of checking one value.
type Verdict int

// The verdicts.
const (
	ValueGood    Verdict = iota
	ValueClamped         // out of range: use the limit instead
	ValueBad             // cannot be read: the parameter is left out
)

// Check tells whether a value fits (reference configuration.md 4.3). instead is
// the limit for a value out of range, without a unit: it is in the base unit.
func (r Rule) Check(value string) (v Verdict, instead string) {
	switch r.Type {
	case "bool":
		if _, ok := cluster.ParseBool(value); !ok {
			return ValueBad, ""
		}
	case "enum":
		if !r.hasValue(value) {
			return ValueBad, ""
		}
	case "integer":
		n, ok := cluster.ParseInt(value, r.Unit)
		if !ok {
			return ValueBad, ""
		}
		return r.inRange(float64(n))
	case "real":
		f, ok := cluster.ParseReal(value, r.Unit)
		if !ok {
			return ValueBad, ""
		}
		return r.inRange(f)
	}
	return ValueGood, ""
}

func (r Rule) inRange(f float64) (Verdict, string) {
	if low, err := strconv.ParseFloat(r.Min, 64); err == nil && f < low {
		return ValueClamped, r.Min
	}
	if high, err := strconv.ParseFloat(r.Max, 64); err == nil && f > high {
		return ValueClamped, r.Max
	}
	return ValueGood, ""
}

func (r Rule) hasValue(value string) bool {
	is := func(s string) bool { return strings.EqualFold(s, value) }
	if slices.ContainsFunc(r.Values, is) || slices.ContainsFunc(hiddenValues[strings.ToLower(r.Name)], is) {
		return true
	}
	// An enum that has on and off takes what a boolean does.
	_, isBool := cluster.ParseBool(value)
	return isBool && slices.Contains(r.Values, "on") && slices.Contains(r.Values, "off")
}

// Expected describes what the rule accepts, for messages to people.
func (r Rule) Expected() string {
	unit := r.Unit
	switch r.Type {
	case "bool":
		return "on or off"
	case "enum":
		return "one of " + strings.Join(r.Values, ", ")
	case "integer", "real":
		if unit != "" {
			unit = " (in " + unit + ", or with a unit)"
		}
		return fmt.Sprintf("a number from %s to %s%s", r.Min, r.Max, unit)
	}
	return "a text"
}

// limitText is a limit with its unit, as the reference writes it. A unit with a
// factor of its own would make another number of it: 16 blocks of 8kB are 128kB.
func limitText(limit, unit string) string {
	if unit != "" && unit[0] >= '0' && unit[0] <= '9' {
		return Human(limit, unit)
	}
	return limit + unit
}

// Validate checks every parameter that is not one of recovery, corrects or
// drops what the server would refuse to start with, and says so (reference
// configuration.md 4.3). A parameter without a rule stays when its name has a
// dot or the server program knows it (known, in lower case; nil when nobody
// could ask it). fromServer: the rules are a running server's own, so what is
// not among them does not exist.
func Validate(params Params, rules Rules, known map[string]bool, fromServer bool) (kept Params, warnings []string) {
	for _, p := range params {
		rule, ok := rules.Get(p.Name)
		name := strings.ToLower(p.Name)
		switch {
		case IsRecovery(name):
			kept = append(kept, p)
			continue
		case !ok && (strings.Contains(name, ".") || known == nil && !fromServer || known[name] || isControlled(name)):
			kept = append(kept, p)
			continue
		case !ok && fromServer:
			warnings = append(warnings, fmt.Sprintf("Removing invalid parameter `%s` from postgresql.parameters", p.Name))
			continue
		case !ok:
			warnings = append(warnings, fmt.Sprintf("Removing unexpected parameter=%s value=%s from the config", p.Name, p.Value))
			continue
		}
		switch v, instead := rule.Check(p.Value); v {
		case ValueGood:
			kept = append(kept, p)
		case ValueBad:
			warnings = append(warnings, fmt.Sprintf("Removing %s parameter=%s from the config due to the invalid value=%s", rule.Type, p.Name, p.Value))
		case ValueClamped:
			how := "big, decreasing"
			if instead == rule.Min {
				how = "low, increasing"
			}
			warnings = append(warnings, fmt.Sprintf("Value=%s of parameter=%s is too %s to %s", p.Value, p.Name, how, limitText(instead, rule.Unit)))
			kept = append(kept, Param{p.Name, instead})
		}
	}
	return kept, warnings
}
