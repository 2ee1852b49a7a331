package cluster

import (
	"encoding/json"
	"math"
)

// Tags are a member's tags in their published order (reference
// configuration.md 2.10). A nil Tags has none.
type Tags = Object

// Truthy tells whether a value counts as set the way the agents test it: false,
// null, zero, and empty strings, lists and objects do not, everything else
// does, the string "false" too (reference configuration.md, trap 5).
func Truthy(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case json.Number:
		f, err := v.Float64()
		return err != nil || f != 0
	case []any:
		return len(v) > 0
	case *Object:
		return v.Len() > 0
	}
	return true
}

// FailoverPriority is the member's rank among equally advanced candidates:
// 0 when it may never lead, 1 by default.
func FailoverPriority(t *Tags) int { return priority(t, "nofailover", "failover_priority") }

// SyncPriority is the member's rank as a synchronous standby: 0 when it may
// never be one, 1 by default.
func SyncPriority(t *Tags) int { return priority(t, "nosync", "sync_priority") }

// priority combines the boolean tag with the numeric one; where both are given
// the boolean wins.
func priority(t *Tags, boolean, number string) int {
	flag, haveFlag := t.Get(boolean)
	if haveFlag && Truthy(flag) {
		return 0
	}
	n, ok := ParseInt(t.Value(number), "")
	switch {
	case !ok:
		return 1
	case n <= 0 && haveFlag:
		return 1
	case n <= 0:
		return 0
	}
	return int(min(n, math.MaxInt32))
}

// NoFailover tells whether the tags forbid the member to lead.
func NoFailover(t *Tags) bool { return FailoverPriority(t) <= 0 }

// NoSync tells whether the tags forbid the member to be synchronous.
func NoSync(t *Tags) bool { return SyncPriority(t) <= 0 }

// CloneFrom tells whether the member is preferred as source of base backups.
func CloneFrom(t *Tags) bool { return Truthy(t.Value("clonefrom")) }

// NoLoadBalance tells whether the member keeps out of load balancing.
func NoLoadBalance(t *Tags) bool { return Truthy(t.Value("noloadbalance")) }

// NoStream tells whether the member never streams and lives on the archive
// alone. This tag alone is read as a boolean word.
func NoStream(t *Tags) bool {
	b, ok := ParseBool(t.Value("nostream"))
	return ok && b
}

// ReplicateFrom is the member whose WAL this one streams, empty for the leader.
func ReplicateFrom(t *Tags) string {
	s, _ := t.String("replicatefrom")
	return s
}
