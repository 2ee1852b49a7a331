package conf

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tamada/internal/cluster"
	"tamada/internal/postgres/control"
)

// Param is one server parameter as it is written.
type Param struct{ Name, Value string }

// Params are server parameters sorted by name; names are unique without regard
// to case.
type Params []Param

// Get returns the value of a parameter.
func (p Params) Get(name string) (string, bool) {
	for _, x := range p {
		if strings.EqualFold(x.Name, name) {
			return x.Value, true
		}
	}
	return "", false
}

// Set adds or replaces a parameter.
func (p *Params) Set(name, value string) {
	for i := range *p {
		if strings.EqualFold((*p)[i].Name, name) {
			(*p)[i].Value = value
			return
		}
	}
	*p = append(*p, Param{name, value})
	slices.SortFunc(*p, func(a, b Param) int { return strings.Compare(a.Name, b.Name) })
}

// Delete removes a parameter.
func (p *Params) Delete(name string) {
	*p = slices.DeleteFunc(*p, func(x Param) bool { return strings.EqualFold(x.Name, name) })
}

// controlled is one GUC that only the agent sets (reference configuration.md
// 4.1).
type controlled struct {
	name, def string
	// valid checks a configured value; nil: never configured, always computed.
	valid func(v any) bool
	// argument: also passed on the command line, so that ALTER SYSTEM cannot win.
	argument bool
	integer  bool
}

func atLeast(limit int64, unit string) func(any) bool {
	return func(v any) bool {
		n, ok := cluster.ParseInt(v, unit)
		return ok && n >= limit
	}
}

func anyBool(v any) bool {
	_, ok := cluster.ParseBool(v)
	return ok
}

// controlledGUCs in the order of the command line.
var controlledGUCs = []controlled{
	{name: "listen_addresses", argument: true},
	{name: "port", argument: true},
	{name: "cluster_name", argument: true},
	{name: "wal_level", def: "replica", argument: true, valid: func(v any) bool {
		return slices.Contains([]string{"hot_standby", "replica", "logical"}, strings.ToLower(cluster.Text(v)))
	}},
	{name: "hot_standby", def: "on", argument: true, valid: func(v any) bool { b, ok := cluster.ParseBool(v); return b && ok }},
	{name: "max_connections", def: "100", argument: true, integer: true, valid: atLeast(25, "")},
	{name: "max_wal_senders", def: "10", argument: true, integer: true, valid: atLeast(3, "")},
	{name: "wal_keep_segments", def: "8", integer: true, valid: atLeast(1, "")},
	{name: "wal_keep_size", def: "128MB", integer: true, valid: atLeast(16, "MB")},
	{name: "max_prepared_transactions", def: "0", argument: true, integer: true, valid: atLeast(0, "")},
	{name: "max_locks_per_transaction", def: "64", argument: true, integer: true, valid: atLeast(32, "")},
	{name: "track_commit_timestamp", def: "off", argument: true, valid: anyBool},
	{name: "max_replication_slots", def: "10", argument: true, integer: true, valid: atLeast(4, "")},
	{name: "max_worker_processes", def: "8", argument: true, integer: true, valid: atLeast(2, "")},
	{name: "wal_log_hints", def: "on", argument: true, valid: anyBool},
}

// Input is what the server's parameters are computed from.
type Input struct {
	Version         int // major, as 150000
	Scope           string
	ListenAddresses string
	Port            int
	Parameters      *cluster.Object // as configured
	// SyncNames replaces a configured synchronous_standby_names when not nil; ""
	// removes it.
	SyncNames          *string
	HotStandbyFeedback bool // force it on
}

// Compute makes the server's parameters: configured values with the rules for
// the controlled ones applied, recovery parameters left out (see [Recovery]).
// warnings are texts for the log (reference configuration.md 4.2).
func Compute(in Input) (params Params, warnings []string) {
	for name, v := range in.Parameters.All() {
		if v == nil || isControlled(name) || IsRecovery(name) {
			continue
		}
		params.Set(name, cluster.Text(v))
	}
	for _, c := range controlledGUCs {
		if c.valid == nil {
			continue
		}
		value, warning := c.value(in.Parameters)
		if warning != "" {
			warnings = append(warnings, warning)
		}
		params.Set(c.name, value)
	}
	port := in.Port
	if port == 0 {
		port = 5432
	}
	params.Set("cluster_name", in.Scope)
	params.Set("listen_addresses", in.ListenAddresses)
	params.Set("port", strconv.Itoa(port))
	if v, _ := params.Get("wal_level"); strings.EqualFold(v, "hot_standby") {
		params.Set("wal_level", "replica")
	}
	keepSize(&params, in.Parameters)
	if in.SyncNames != nil {
		params.Delete("synchronous_standby_names")
		if *in.SyncNames != "" {
			params.Set("synchronous_standby_names", *in.SyncNames)
		}
	}
	if in.HotStandbyFeedback {
		params.Set("hot_standby_feedback", "on")
	}
	return params, warnings
}

// value is what a controlled parameter gets.
func (c controlled) value(configured *cluster.Object) (value, warning string) {
	for name, v := range configured.All() {
		if !strings.EqualFold(name, c.name) || v == nil {
			continue
		}
		if !c.valid(v) {
			return c.def, fmt.Sprintf("postgresql parameter %s=%s failed validation, defaulting to %s", name, cluster.Text(v), c.def)
		}
		value = cluster.Text(v)
		// An integer loses quotes and leading zeroes; one with a unit stays.
		if n, ok := cluster.ParseInt(v, ""); c.integer && ok {
			value = strconv.FormatInt(n, 10)
		}
		return value, ""
	}
	return c.def, ""
}

// keepSize converts wal_keep_segments, which no supported version knows any
// more, unless wal_keep_size was configured.
func keepSize(params *Params, configured *cluster.Object) {
	segments, _ := params.Get("wal_keep_segments")
	params.Delete("wal_keep_segments")
	given := false
	haveSegments := false
	for name, v := range configured.All() {
		given = given || strings.EqualFold(name, "wal_keep_size") && v != nil
		haveSegments = haveSegments || strings.EqualFold(name, "wal_keep_segments") && v != nil
	}
	if n, err := strconv.Atoi(segments); err == nil && !given && haveSegments {
		params.Set("wal_keep_size", strconv.Itoa(n*16)+"MB")
	}
}

func isControlled(name string) bool {
	return slices.ContainsFunc(controlledGUCs, func(c controlled) bool { return strings.EqualFold(c.name, name) })
}

// Controlled lists the parameters that only the agent sets, in the order of
// the command line.
func Controlled() []string {
	names := make([]string, len(controlledGUCs))
	for i, c := range controlledGUCs {
		names[i] = c.name
	}
	return names
}

// Arguments are the controlled parameters for the postmaster's command line.
func Arguments(params Params) []string {
	var args []string
	for _, c := range controlledGUCs {
		if v, ok := params.Get(c.name); ok && c.argument {
			args = append(args, "--"+c.name+"="+v)
		}
	}
	return args
}

// StandbyLimits are the parameters that a standby may not have lower than its
// primary (reference configuration.md 4.9).
var StandbyLimits = []string{"max_connections", "max_prepared_transactions", "max_locks_per_transaction",
	"max_worker_processes", "max_wal_senders"}

// Raise lifts the parameters of [StandbyLimits] to what pg_control demands and
// returns what was lifted: without it a standby refuses to start.
func Raise(params *Params, limits map[string]int) (lifted []Lifted) {
	for _, name := range StandbyLimits {
		need, known := limits[name]
		text, ok := params.Get(name)
		have, err := strconv.Atoi(text)
		if !known || !ok || err != nil || need <= have {
			continue
		}
		params.Set(name, strconv.Itoa(need))
		lifted = append(lifted, Lifted{name, need, have})
	}
	return lifted
}

// Lifted is a parameter that had to be higher than configured.
type Lifted struct {
	Name               string
	Needed, Configured int
}

// LimitMissing is the warning that pg_controldata does not show a limit.
func LimitMissing(guc string) string {
	return control.LimitKey(guc) + " is missing from pg_controldata output"
}
