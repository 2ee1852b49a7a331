package conf

import "strings"

// unlisted are parameters that `postgres --describe-config` leaves out although
// they can be set in a file (developer options and the like), of versions 13 to
// 18. Without this list they would be dropped as unknown.
var unlisted = map[string]bool{}

func init() {
	for name := range strings.FieldsSeq(`allow_in_place_tablespaces allow_system_table_mods application_name
backtrace_functions debug_discard_caches debug_io_direct debug_logical_replication_streaming debug_parallel_query
force_parallel_mode ignore_checksum_failure ignore_invalid_pages ignore_system_indexes jit_debugging_support
jit_dump_bitcode jit_expressions jit_profiling_support jit_tuple_deforming logical_replication_mode
operator_precedence_warning post_auth_delay pre_auth_delay remove_temp_files_after_crash
restrict_nonsystem_relation_kind ssl_renegotiation_limit trace_connection_negotiation trace_notify
trace_recovery_messages trace_sort transaction_deferrable transaction_isolation transaction_read_only
wal_consistency_checking zero_damaged_pages`) {
		unlisted[name] = true
	}
}

// Filter drops parameters that the server does not know, because it would not
// start with them. Names with a dot belong to extensions and pass. known has the
// names of --describe-config in lower case; nil lets everything pass.
func Filter(params Params, known map[string]bool) (kept Params, dropped []Param) {
	if known == nil {
		return params, nil
	}
	for _, p := range params {
		name := strings.ToLower(p.Name)
		if known[name] || unlisted[name] || strings.Contains(name, ".") || isControlled(name) {
			kept = append(kept, p)
			continue
		}
		dropped = append(dropped, p)
	}
	return kept, dropped
}
