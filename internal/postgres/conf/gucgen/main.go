// Command gucgen writes conf/gucs.tsv, the table of PostgreSQL's parameters, from
// the servers themselves. Start one server of each version that can be had, and
// run
//
//	go run ./internal/postgres/conf/gucgen DSN... > internal/postgres/conf/gucs.tsv
//
// Each DSN is a connection string; the order does not matter. Where two versions
// follow each other in the arguments and others lie between them, a difference
// is taken to begin with the later one, unless the lists below know better: they
// are what the release notes of PostgreSQL say about 14 and 16.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// newIn are parameters that came, or changed, with a version that was not
// measured; goneIn are those that it no longer had.
var (
	newIn = map[int]string{
		14: `checkpoint_completion_target client_connection_check_interval compute_query_id debug_discard_caches default_toast_compression
			enable_async_append enable_memoize huge_page_size idle_session_timeout log_recovery_conflict_waits min_dynamic_shared_memory
			password_encryption recovery_init_sync_method remove_temp_files_after_crash restore_command ssl_crl_dir track_wal_io_timing
			vacuum_cost_page_miss vacuum_failsafe_age vacuum_multixact_failsafe_age`,
		16: `createrole_self_grant debug_io_direct debug_logical_replication_streaming debug_parallel_query enable_presorted_aggregate
			file_extend_method gss_accept_delegation icu_validation_level max_parallel_apply_workers_per_subscription reserved_connections
			scram_iterations send_abort_for_crash send_abort_for_kill vacuum_buffer_usage_limit`,
	}
	goneIn = map[int]string{
		14: "operator_precedence_warning vacuum_cleanup_index_scale_factor",
		16: "force_parallel_mode promote_trigger_file vacuum_defer_cleanup_age",
	}
)

// definition is everything about a parameter in one version.
type definition struct{ kind, context, unit, min, max, def, enum string }

type server struct {
	version int
	params  map[string]definition
}

func main() {
	log.SetFlags(0)
	var servers []server
	for _, dsn := range os.Args[1:] {
		s, err := read(dsn)
		if err != nil {
			log.Fatal(err)
		}
		servers = append(servers, s)
	}
	if len(servers) == 0 {
		log.Fatal("usage: gucgen DSN...")
	}
	slices.SortFunc(servers, func(a, b server) int { return a.version - b.version })
	write(servers)
}

// query leaves out what cannot be set, and defaults that are paths of a build.
const query = `SELECT name, vartype, context, coalesce(unit, ''), coalesce(min_val, ''), coalesce(max_val, ''),
 CASE WHEN boot_val LIKE '%/%' OR boot_val LIKE '%Debian%' THEN '' ELSE coalesce(boot_val, '') END, coalesce(array_to_string(enumvals, ','), '')
 FROM pg_settings WHERE context <> 'internal' AND name NOT LIKE '%.%'`

func read(dsn string) (s server, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return s, err
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int / 10000").Scan(&s.version); err != nil {
		return s, err
	}
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return s, err
	}
	defer rows.Close()
	s.params = map[string]definition{}
	for rows.Next() {
		var name string
		var d definition
		if err := rows.Scan(&name, &d.kind, &d.context, &d.unit, &d.min, &d.max, &d.def, &d.enum); err != nil {
			return s, err
		}
		s.params[name] = d
	}
	return s, rows.Err()
}

// write prints one row for each definition and the versions that have it.
func write(servers []server) {
	names := map[string]bool{}
	var versions []string
	for _, s := range servers {
		versions = append(versions, fmt.Sprint(s.version))
		for name := range s.params {
			names[name] = true
		}
	}
	fmt.Printf("# Parameters of PostgreSQL, measured with versions %s. Written by gucgen; do not edit.\n", strings.Join(versions, ", "))
	fmt.Println("# name\tfrom\ttill\ttype\tcontext\tunit\tmin\tmax\tdefault\tenum")
	for _, name := range slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
	}) {
		begin, from := 0, 0 // index of the first server with the definition; its version
		for i := range servers {
			d, ok := servers[i].params[name]
			next, more := definition{}, false
			if i+1 < len(servers) {
				next, more = servers[i+1].params[name]
			}
			if !ok {
				begin = i + 1
				continue
			}
			if i == begin {
				from = firstWith(servers, i, name)
			}
			if more && next == d {
				continue
			}
			till := 0
			if i+1 < len(servers) {
				till = firstWithout(servers, i, name, more)
			}
			fmt.Println(strings.Join([]string{name, fmt.Sprint(from), fmt.Sprint(till), d.kind, d.context, d.unit, d.min, d.max, d.def, d.enum}, "\t"))
			begin = i + 1
		}
	}
}

// firstWith is the version that brought what servers[i] has and the one before
// has not.
func firstWith(servers []server, i int, name string) int {
	if i > 0 {
		for v := servers[i-1].version + 1; v < servers[i].version; v++ {
			if slices.Contains(strings.Fields(newIn[v]), name) {
				return v
			}
		}
	}
	return servers[i].version
}

// firstWithout is the version that no longer has what servers[i] has.
func firstWithout(servers []server, i int, name string, changed bool) int {
	for v := servers[i].version + 1; v < servers[i+1].version; v++ {
		if slices.Contains(strings.Fields(goneIn[v]), name) || changed && slices.Contains(strings.Fields(newIn[v]), name) {
			return v
		}
	}
	return servers[i+1].version
}
