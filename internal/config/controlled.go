package config

import (
	"strings"

	"tamada/internal/cluster"
)

// Controlled is a parameter that must be the same on all nodes: it comes from
// the dynamic configuration alone and is passed on the command line (reference
// configuration.md 4.1).
type Controlled struct {
	Name        string
	Default     string // "" where there is none, or where it is computed
	CommandLine bool   // false: written to the file only
	accept      func(v any) bool
}

// ControlledParameters are all of them, in the order of the command line.
var ControlledParameters = []Controlled{
	{Name: "listen_addresses", CommandLine: true},
	{Name: "port", CommandLine: true},
	{Name: "cluster_name", CommandLine: true},
	{Name: "wal_level", Default: "hot_standby", CommandLine: true, accept: func(v any) bool {
		s, ok := v.(string)
		return ok && oneOf([]string{"hot_standby", "replica", "logical"}, s)
	}},
	{Name: "hot_standby", Default: "on", CommandLine: true, accept: func(v any) bool { b, ok := cluster.ParseBool(v); return ok && b }},
	{Name: "max_connections", Default: "100", CommandLine: true, accept: atLeast(25, "")},
	{Name: "max_wal_senders", Default: "10", CommandLine: true, accept: atLeast(3, "")},
	{Name: "wal_keep_segments", accept: atLeast(1, "")},
	{Name: "wal_keep_size", accept: atLeast(16, "MB")},
	{Name: "max_prepared_transactions", Default: "0", CommandLine: true, accept: atLeast(0, "")},
	{Name: "max_locks_per_transaction", Default: "64", CommandLine: true, accept: atLeast(32, "")},
	{Name: "track_commit_timestamp", Default: "off", CommandLine: true, accept: isBool},
	{Name: "max_replication_slots", Default: "10", CommandLine: true, accept: atLeast(4, "")},
	{Name: "max_worker_processes", Default: "8", CommandLine: true, accept: atLeast(2, "")},
	{Name: "wal_log_hints", Default: "on", CommandLine: true, accept: isBool},
}

// dflt is the default as the table of keys has it.
func (g *Controlled) dflt() any {
	if g.Default == "" {
		return nil
	}
	return g.Default
}

func atLeast(least int64, unit string) func(any) bool {
	return func(v any) bool { n, ok := cluster.ParseInt(v, unit); return ok && n >= least }
}

func isBool(v any) bool { _, ok := cluster.ParseBool(v); return ok }

// findControlled looks a parameter up without regard to case; nil when nodes
// may differ in it.
func findControlled(name string) *Controlled {
	for i := range ControlledParameters {
		if strings.EqualFold(ControlledParameters[i].Name, name) {
			return &ControlledParameters[i]
		}
	}
	return nil
}

// parameters is a set of parameters whose names compare without regard to
// case; the spelling used last is kept.
type parameters struct {
	values   map[string]string
	spelling map[string]string // lower case to what is in values
}

func newParameters(values map[string]string) *parameters {
	p := &parameters{values: values, spelling: map[string]string{}}
	if p.values == nil {
		p.values = map[string]string{}
	}
	for name := range p.values {
		p.spelling[strings.ToLower(name)] = name
	}
	return p
}

func (p *parameters) set(name, value string) {
	lower := strings.ToLower(name)
	if old, ok := p.spelling[lower]; ok {
		delete(p.values, old)
	}
	p.spelling[lower] = name
	p.values[name] = value
}
