package conf

import (
	"slices"
	"strings"

	"tamada/internal/cluster"
)

// recoveryNames are all recovery parameters, with the versions (from, till)
// that know them; 0 is open. Those without a version that we support are still
// recognised, so that they never reach postgresql.conf as ordinary ones.
var recoveryNames = map[string][2]int{
	"archive_cleanup_command":   {},
	"primary_conninfo":          {},
	"primary_slot_name":         {},
	"recovery_end_command":      {},
	"recovery_min_apply_delay":  {},
	"recovery_target":           {},
	"recovery_target_action":    {},
	"recovery_target_inclusive": {},
	"recovery_target_lsn":       {},
	"recovery_target_name":      {},
	"recovery_target_time":      {},
	"recovery_target_timeline":  {},
	"recovery_target_xid":       {},
	"restore_command":           {},
	"promote_trigger_file":      {0, 160000},
	"trigger_file":              {0, 1},
	"standby_mode":              {0, 1},
	"pause_at_recovery_target":  {0, 1},
}

// IsRecovery tells whether a parameter is one of recovery.
func IsRecovery(name string) bool {
	_, ok := recoveryNames[strings.ToLower(name)]
	return ok
}

// RecoveryNames are the recovery parameters that a version knows.
func RecoveryNames(version int) []string {
	var names []string
	for name, v := range recoveryNames {
		if version >= v[0] && (v[1] == 0 || version < v[1]) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// RecoverySection is the effective `recovery_conf`: recovery parameters among
// the ordinary ones replace the section as a whole.
func RecoverySection(section, parameters *cluster.Object) *cluster.Object {
	found := &cluster.Object{}
	for name, v := range parameters.All() {
		if IsRecovery(name) && v != nil {
			found.Set(strings.ToLower(name), v)
		}
	}
	if found.Len() > 0 {
		return found
	}
	return section
}

// blankTargets are written empty on every standby: a value in an included file
// would pause or promote it.
var blankTargets = []string{"recovery_target", "recovery_target_lsn", "recovery_target_name", "recovery_target_time",
	"recovery_target_xid"}

// Recovery makes the recovery parameters of a standby: the section's own minus
// targets and connection, latest timeline, empty targets. The caller adds
// connection, slot and overrides (reference postgresql.md 6.1).
func Recovery(section *cluster.Object, version int) Params {
	params := translate(section, version)
	for _, p := range slices.Clone(params) {
		if strings.HasPrefix(p.Name, "recovery_target") || p.Name == "primary_conninfo" || p.Name == "primary_slot_name" {
			params.Delete(p.Name)
		}
	}
	params.Set("recovery_target_timeline", "latest")
	for _, name := range blankTargets {
		params.Set(name, "")
	}
	return params
}

// PointInTime makes the recovery parameters of a custom bootstrap out of its
// own section, targets included. standby tells which signal file goes with it.
func PointInTime(section *cluster.Object, version int) (params Params, standby bool) {
	standby, _ = cluster.ParseBool(section.Value("standby_mode"))
	return translate(section, version), standby
}

// translate takes over what the version knows and spells old names anew.
func translate(section *cluster.Object, version int) Params {
	params := Params{}
	for name, v := range section.All() {
		if name = strings.ToLower(name); v == nil {
			continue
		}
		switch name {
		case "trigger_file":
			name = "promote_trigger_file"
			if section.Value(name) != nil {
				continue
			}
		case "pause_at_recovery_target":
			if section.Value("recovery_target_action") == nil {
				action := "promote"
				if pause, _ := cluster.ParseBool(v); pause {
					action = "pause"
				}
				params.Set("recovery_target_action", action)
			}
			continue
		}
		if r, ok := recoveryNames[name]; ok && version >= r[0] && (r[1] == 0 || version < r[1]) {
			params.Set(name, cluster.Text(v))
		}
	}
	return params
}

// PromotesAtTarget tells whether a point-in-time recovery ends in promotion by
// itself. Such a server must not accept connections before (reference
// postgresql.md 5.3).
func PromotesAtTarget(section *cluster.Object) bool {
	if v := section.Value("recovery_target_action"); v != nil {
		return strings.EqualFold(cluster.Text(v), "promote")
	}
	v := section.Value("pause_at_recovery_target")
	pause, ok := cluster.ParseBool(v)
	return ok && !pause
}

// TriggerFile is the file whose presence would promote a clone at once: the
// configured one, else "promote".
func TriggerFile(section *cluster.Object) string {
	for _, name := range []string{"promote_trigger_file", "trigger_file"} {
		if s, ok := section.String(name); ok && s != "" {
			return s
		}
	}
	return "promote"
}
