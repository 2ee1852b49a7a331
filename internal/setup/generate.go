package setup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/postgres/conf"
)

// fixMe stands where only the operator knows the value.
const fixMe = "#FIXME"

// GenerateOptions say where a generated configuration comes from.
type GenerateOptions struct {
	Environ []string
	// Compatible makes exactly what the reference makes: no store unless the
	// environment names one, and a tag that its own validator refuses.
	Compatible bool
	DSN        string                 // of the running server
	Password   func() (string, error) // asks for the password of its superuser
}

// Sample is the template of a configuration for this machine (reference
// configuration.md 5.4). The server program must be there: what is right depends
// on its version.
func Sample(o GenerateOptions) (string, error) {
	env := environment(o.Environ)
	doc := template()
	bin := text(env, "postgresql.bin_dir")
	path := machine{}.program(bin, programName(env, "postgres"))
	if path == "" {
		return "", refuse("Failed to get postgres version: %s", notThere("postgres", bin))
	}
	version, _, err := machine{}.version(path)
	if err != nil {
		return "", refuse("Failed to get postgres version: %w", err)
	}
	method := "scram-sha-256"
	if version < 100000 {
		method = "md5"
	}
	pg := doc.Object("postgresql")
	parameters := &cluster.Object{}
	parameters.Set("password_encryption", method)
	pg.Set("parameters", parameters)
	user := text(env, "postgresql.authentication.replication.username")
	if user == "" {
		user = "replicator"
	}
	pg.Set("pg_hba", []any{"host all all all " + method, "host replication " + user + " all " + method})
	if version >= 110000 {
		pg.Object("authentication").Set("rewind", cluster.NewObject("username", "rewind_user", "password", fixMe))
	}
	dcs := doc.Object("bootstrap").Object("dcs").Object("postgresql")
	dcs.Set("parameters", controlledDefaults(version))
	dcs.Set("use_pg_rewind", true) // because wal_log_hints is on
	return finish(doc, env, o), nil
}

// controlledDefaults are the parameters that only the store sets, spelled for
// the version.
func controlledDefaults(version int) *cluster.Object {
	o := &cluster.Object{}
	for _, c := range config.ControlledParameters {
		if c.Default != "" {
			o.Set(c.Name, yamlValue(c.Default))
		}
	}
	if version >= 130000 {
		o.Set("wal_keep_size", "128MB")
	} else {
		o.Set("wal_keep_segments", yamlValue("8"))
	}
	if version >= 90600 {
		o.Set("wal_level", "replica")
	}
	return o
}

// yamlValue is a number as a number and everything else as a text.
func yamlValue(s string) any {
	if n, ok := cluster.ParseInt(s, ""); ok && fmt.Sprint(n) == s {
		return n
	}
	return s
}

// environment is what the environment says of a configuration.
func environment(environ []string) *cluster.Object {
	var rest []string
	for _, e := range environ {
		// A whole document is not a single value to lay over the template.
		if !strings.HasPrefix(e, "PATRONI_CONFIGURATION=") && !strings.HasPrefix(e, "TAMADA_CONFIGURATION=") {
			rest = append(rest, e)
		}
	}
	doc, err := config.ReadDocument("", rest)
	if err != nil {
		return &cluster.Object{}
	}
	return doc.Root
}

// template is what every generated configuration begins with.
func template() *cluster.Object {
	host, err := os.Hostname()
	if err != nil {
		host = fixMe
	}
	ip := ownAddress(host)
	object := cluster.NewObject
	return object(
		"scope", fixMe,
		"name", host,
		"log", object("type", "plain", "level", "INFO", "traceback_level", "ERROR", "format", "%(asctime)s %(levelname)s: %(message)s", "max_queue_size", 1000),
		"restapi", object("listen", ip+":8008", "connect_address", ip+":8008"),
		"bootstrap", object("dcs", object("ttl", 30, "loop_wait", 10, "retry_timeout", 10, "postgresql", object("use_slots", true))),
		"postgresql", object("listen", ip+":5432", "connect_address", ip+":5432", "data_dir", fixMe, "bin_dir", "",
			"authentication", object("superuser", object("username", "postgres", "password", fixMe),
				"replication", object("username", "replicator", "password", fixMe))),
		"tags", object("failover_priority", 1, "sync_priority", 1, "noloadbalance", false, "clonefrom", true, "nosync", false, "nostream", false),
	)
}

// ownAddress is the first address of the machine's name, IPv4 preferred.
func ownAddress(host string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil || len(addresses) == 0 {
		return fixMe
	}
	i := max(0, slices.IndexFunc(addresses, func(a net.IPAddr) bool { return a.IP.To4() != nil }))
	if a := addresses[i]; a.IP.To4() == nil {
		return "[" + a.String() + "]"
	}
	return addresses[i].String()
}

// finish lays the environment over the document and writes it.
func finish(doc, env *cluster.Object, o GenerateOptions) string {
	cluster.Patch(doc, env)
	if !o.Compatible {
		doc.Object("tags").Delete("nosync") // sync_priority says it
		if !slices.ContainsFunc(storeSections, func(s string) bool { return doc.Value(s) != nil }) {
			doc.Set("etcd3", cluster.NewObject("hosts", []any{"127.0.0.1:2379"}))
		}
	}
	return write(doc)
}

var storeSections = []string{"consul", "etcd", "etcd3", "exhibitor", "kubernetes", "raft", "zookeeper"}

// write writes the sections that belong into a configuration, in their order.
func write(doc *cluster.Object) string {
	var b strings.Builder
	order := slices.Concat([]string{"scope", "namespace", "name", "log", "restapi", "ctl", "citus"}, storeSections,
		[]string{"bootstrap", "postgresql", "watchdog", "tags"})
	for _, name := range order {
		v := doc.Value(name)
		if v == nil {
			continue
		}
		section, ok := v.(*cluster.Object)
		if !ok {
			b.WriteString(config.DumpYAML(cluster.NewObject(name, v)))
			continue
		}
		b.WriteString("\n")
		if name == "bootstrap" {
			writeBootstrap(&b, section)
			continue
		}
		b.WriteString(config.DumpYAML(cluster.NewObject(name, section)))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// writeBootstrap puts the three times first and says what the section is for.
func writeBootstrap(b *strings.Builder, section *cluster.Object) {
	b.WriteString("# Counts only while the cluster is made: afterwards the dynamic configuration in the\n" +
		"# store is in force, which edit-config changes.\nbootstrap:\n")
	if dcs := section.Object("dcs"); dcs != nil {
		b.WriteString("  dcs:\n")
		rest := dcs.Clone()
		for _, name := range []string{"loop_wait", "retry_timeout", "ttl"} {
			if v := dcs.Value(name); v != nil {
				b.WriteString("    " + config.DumpYAML(cluster.NewObject(name, v)))
				rest.Delete(name)
			}
		}
		if rest.Len() > 0 {
			b.WriteString(indented(config.DumpYAML(rest)))
		}
	}
	rest := section.Clone()
	rest.Delete("dcs")
	if rest.Len() > 0 {
		for line := range strings.Lines(config.DumpYAML(rest)) {
			b.WriteString("  " + line)
		}
	}
}

// refusal is an error in the reference's words, capital letters included.
type refusal struct {
	text  string
	cause error
}

func refuse(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &refusal{err.Error(), errors.Unwrap(err)}
}

func (r *refusal) Error() string { return r.text }

func (r *refusal) Unwrap() error { return r.cause }

// errNotSuperuser has the reference's text.
var errNotSuperuser = refuse("The provided user does not have superuser privilege")

// localOnly are parameters that may differ from node to node.
var localOnly = []string{"archive_command", "restore_command", "archive_cleanup_command", "recovery_end_command", "ssl_passphrase_command",
	"hba_file", "ident_file"}

// acceptable tells whether a controlled parameter's present value may be kept.
func acceptable(name, value string) bool {
	doc := cluster.NewObject("postgresql", cluster.NewObject("parameters", cluster.NewObject(name, value)))
	return !slices.ContainsFunc(config.CheckDynamic(doc, cluster.CommonFloors), func(p config.Problem) bool { return p.Path == parametersPath+name })
}

// placeParameters sorts the parameters of a server into the two places.
func placeParameters(settings map[string]string) (local, dynamic *cluster.Object, lost []string) {
	local, dynamic = &cluster.Object{}, &cluster.Object{}
	controlled := conf.Controlled()
	var names []string
	for name := range settings {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value := settings[name]
		switch {
		case slices.Contains([]string{"data_directory", "config_file", "cluster_name", "listen_addresses", "port", "external_pid_file"}, name):
		case slices.Contains(localOnly, name):
			if value != "" {
				local.Set(name, yamlValue(value))
			}
		case conf.IsRecovery(name):
			// whom a standby follows is up to the agent
		case slices.Contains(controlled, name) && !acceptable(name, value):
			lost = append(lost, name+" = "+value)
		default:
			dynamic.Set(name, yamlValue(value))
		}
	}
	return local, dynamic, lost
}

func defaultFile(dataDir, guc string) string {
	return strings.TrimSuffix(dataDir, "/") + "/pg_" + strings.TrimSuffix(guc, "_file") + ".conf"
}
