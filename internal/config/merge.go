package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tamada/internal/cluster"
)

// Merged is what a node does with its local configuration and the dynamic
// document of the store together.
type Merged struct {
	Settings   cluster.Settings
	Postgresql Postgresql
	// Warnings are to be logged as they are. What happens to the times is not among
	// them: that depends on the members, and the agent says it when it knows them.
	Warnings []string
}

// localOnly are the keys of postgresql that are ignored in the store.
var localOnly = []string{"connect_address", "proxy_address", "listen", "config_dir", "data_dir", "pgpass", "authentication"}

// Merge combines built-in defaults, the dynamic document (nil: none) and the
// local configuration, in this order (reference configuration.md 1.4). On an
// error the whole document must be ignored, and the one before it stays in
// force. Refusing what is not supported ([Unsupported]) is up to the caller.
func Merge(local *Config, dynamic *cluster.Object) (*Merged, error) {
	settings, _, err := cluster.ParseSettings(dynamic)
	if err != nil {
		return nil, fmt.Errorf("dynamic configuration: %w", err)
	}
	m := &Merged{Settings: settings}
	section := &cluster.Object{}
	theirs := dynamic.Value("postgresql")
	if _, ok := theirs.(*cluster.Object); !ok && cluster.Truthy(theirs) {
		return nil, errors.New("dynamic configuration: postgresql is not a dictionary")
	}
	for name, v := range dynamic.Object("postgresql").All() {
		if name == "parameters" {
			if _, ok := v.(*cluster.Object); !ok && cluster.Truthy(v) {
				return nil, errors.New("dynamic configuration: postgresql.parameters is not a dictionary")
			}
		}
		if v != nil && !slices.Contains(localOnly, name) {
			section.Set(name, v)
		}
	}
	ours := local.Doc.Object("postgresql")
	for name, v := range ours.All() {
		if name != "parameters" && name != "use_slots" {
			section.Set(name, v)
		}
	}
	m.Postgresql = typedPostgresql(reader{section, trees().local.child("postgresql")})
	m.Postgresql.UseSlots = settings.UseSlots
	params := m.parameters(dynamic.Object("postgresql").Object("parameters"))
	for name, v := range ours.Object("parameters").All() {
		if findControlled(name) == nil && v != nil {
			params.set(name, cluster.Text(v))
		}
	}
	params.set("cluster_name", local.Scope)
	params.set("listen_addresses", strings.Join(local.Postgresql.Listen.Hosts, ","))
	params.set("port", strconv.Itoa(local.Postgresql.Listen.Port))
	m.Postgresql.Parameters = params.values
	return m, nil
}

// parameters are the defaults of the controlled ones and what the store adds;
// a controlled one with a value that is not acceptable keeps its default.
func (m *Merged) parameters(dynamic *cluster.Object) *parameters {
	params := newParameters(nil)
	for _, g := range ControlledParameters {
		if g.Default != "" {
			params.set(g.Name, g.Default)
		}
	}
	for name, v := range dynamic.All() {
		if v == nil {
			continue
		}
		g := findControlled(name)
		switch {
		case g == nil:
			params.set(name, cluster.Text(v))
		case g.accept == nil:
			// comes from other keys
		case g.accept(v):
			params.set(name, cluster.Text(v))
		default:
			dflt := g.Default
			if dflt == "" {
				dflt = map[string]string{"wal_keep_segments": "8", "wal_keep_size": "128MB"}[g.Name]
			}
			m.Warnings = append(m.Warnings, fmt.Sprintf("postgresql parameter %s=%s failed validation, defaulting to %s", name, cluster.Text(v), dflt))
		}
	}
	return params
}

// Unsupported tells what in a dynamic document this version cannot do, each as
// "KEY: text". A document with any of it must not be acted on as if the key
// were not there.
func Unsupported(doc *cluster.Object) []string {
	var list []string
	// Each key is read alone, so that an error in another does not hide it.
	probe := func(key string) cluster.Settings {
		s, _, err := cluster.ParseSettings(cluster.NewObject(key, doc.Value(key)))
		if err != nil {
			return cluster.Settings{}
		}
		return s
	}
	if probe("synchronous_mode").SynchronousMode != cluster.SyncOff {
		list = append(list, "synchronous_mode: synchronous replication is not supported yet")
	}
	if probe("standby_cluster").StandbyCluster != nil {
		list = append(list, "standby_cluster: standby clusters are not supported yet")
	}
	for _, key := range []string{"permanent_replication_slots", "permanent_slots", "slots"} {
		if doc.Object(key).Len() > 0 {
			list = append(list, key+": permanent replication slots are not supported yet (they are left alone, but not made)")
		}
	}
	return list
}
