package cluster

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Settings is the dynamic configuration as the decision core uses it: defaults
// filled in and limits applied (reference ha.md 1, configuration.md 3).
type Settings struct {
	TTL, LoopWait, RetryTimeout time.Duration

	MaximumLagOnFailover int64 // bytes
	MaximumLagOnSyncNode int64 // bytes; not above 0: no limit
	MaxTimelinesHistory  int   // 0: all
	CheckTimeline        bool
	PrimaryRaceBackoff   time.Duration
	PrimaryStartTimeout  time.Duration
	PrimaryStopTimeout   time.Duration
	MemberSlotsTTL       time.Duration
	Pause                bool

	SynchronousMode       SyncMode
	SynchronousModeStrict bool
	SynchronousNodeCount  int
	FailsafeMode          bool

	// HangTimeout is how long a primary's PostgreSQL may fail to take a new
	// connection, or its disk a small write, before another member takes over. 0:
	// nobody looks. (Ours: primary_hang_timeout.)
	HangTimeout time.Duration
	// CrashLimit is how many crashes within ten minutes a primary restarts after
	// before another member takes over. 0: no limit. (Ours: primary_crash_limit.)
	CrashLimit int

	StandbyCluster *Object // nil unless it names a host, port or restore_command

	UseSlots bool // postgresql.use_slots

	Slots       *Object // permanent slots
	IgnoreSlots []any
}

// SyncMode is the kind of synchronous replication asked for.
type SyncMode string

// The values of synchronous_mode.
const (
	SyncOff    SyncMode = ""
	SyncOn     SyncMode = "on"
	SyncQuorum SyncMode = "quorum"
)

// Floors are the least values, in seconds, of the three times. All agents of a
// cluster apply the same.
type Floors struct{ TTL, LoopWait, RetryTimeout int }

// The floors. Those of the reference (configuration.md 3.1) hold as soon as one
// member has no guardian: without one a frozen agent would leave a primary
// without a lease for longer than the short ones allow.
var (
	CommonFloors  = Floors{20, 1, 3}
	GuardedFloors = Floors{4, 1, 1}
)

// FloorsFor are the floors for the members of a view.
func FloorsFor(c *Cluster) Floors {
	if c == nil || len(c.Members) == 0 {
		return CommonFloors
	}
	for i := range c.Members {
		if a := c.Members[i].Agent; a == nil || !a.Guardian {
			return CommonFloors
		}
	}
	return GuardedFloors
}

const (
	defaultTTL, defaultLoopWait, defaultRetryTimeout = 30, 10, 10
)

// ParseSettings reads a dynamic configuration document; nil means defaults.
// warnings tell which values were adjusted. On an error (one of the three
// times is not an integer) the whole document must be ignored.
func ParseSettings(doc *Object) (s Settings, warnings []string, err error) {
	return ParseSettingsFor(doc, CommonFloors)
}

// ParseSettingsFor is [ParseSettings] with the floors that the members allow.
func ParseSettingsFor(doc *Object, floors Floors) (s Settings, warnings []string, err error) {
	if warnings, err = s.parseTimes(doc, floors); err != nil {
		return Settings{}, nil, err
	}
	s.MaximumLagOnFailover = intOr(doc, 1048576, "maximum_lag_on_failover")
	s.MaximumLagOnSyncNode = intOr(doc, -1, "maximum_lag_on_syncnode")
	s.MaxTimelinesHistory = int(intOr(doc, 0, "max_timelines_history"))
	s.CheckTimeline = flag(doc, "check_timeline")
	s.PrimaryRaceBackoff = secondsOr(doc, 0, "primary_race_backoff")
	s.PrimaryStartTimeout = secondsOr(doc, 300, "primary_start_timeout", "master_start_timeout")
	s.PrimaryStopTimeout = secondsOr(doc, 0, "primary_stop_timeout", "master_stop_timeout")
	s.MemberSlotsTTL = unitSeconds(doc, "member_slots_ttl", 1800)
	s.Pause = flag(doc, "pause")
	s.StandbyCluster = standbyCluster(doc)
	if s.StandbyCluster == nil {
		s.SynchronousMode = syncMode(doc.Value("synchronous_mode"))
	}
	s.SynchronousModeStrict = flag(doc, "synchronous_mode_strict")
	s.SynchronousNodeCount = int(intOr(doc, 1, "synchronous_node_count"))
	s.FailsafeMode = flag(doc, "failsafe_mode")
	s.HangTimeout = unitSeconds(doc, "primary_hang_timeout", int64(s.TTL*2/3/time.Second))
	s.CrashLimit = int(max(intOr(doc, 5, "primary_crash_limit"), 0))
	s.UseSlots = true
	if b, ok := ParseBool(doc.Object("postgresql").Value("use_slots")); ok {
		s.UseSlots = b
	}
	for _, k := range []string{"permanent_replication_slots", "permanent_slots", "slots"} {
		if o := doc.Object(k); o.Len() > 0 {
			s.Slots = o
			break
		}
	}
	s.IgnoreSlots, _ = doc.Value("ignore_slots").([]any)
	return s, warnings, nil
}

// parseTimes reads ttl, loop_wait and retry_timeout, in the order of
// reference configuration.md 3.1.
func (s *Settings) parseTimes(doc *Object, floors Floors) (warnings []string, err error) {
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	read := func(key string, dflt int) (n int) {
		v, there := doc.Get(key)
		if !there || err != nil {
			return dflt
		}
		n, ok := plainInt(v)
		if !ok {
			err = fmt.Errorf("%s: %s is not an integer number of seconds", key, Text(v))
		}
		return n
	}
	loopWait, retryTimeout, ttl := read("loop_wait", defaultLoopWait), read("retry_timeout", defaultRetryTimeout), read("ttl", defaultTTL)
	if err != nil {
		return nil, err
	}
	atLeast := func(name string, n *int, least int) {
		if *n < least {
			warn("%s=%d can't be smaller than %d, adjusting...", name, *n, least)
			*n = least
		}
	}
	atLeast("loop_wait", &loopWait, floors.LoopWait)
	atLeast("retry_timeout", &retryTimeout, floors.RetryTimeout)
	atLeast("ttl", &ttl, floors.TTL)
	const rule = `Violated the rule "loop_wait + 2*retry_timeout <= ttl", where ttl=%d`
	switch {
	case 1+2*retryTimeout > ttl:
		warn(rule+". Adjusting loop_wait from %d to 1 and retry_timeout from %d to %d", ttl, loopWait, retryTimeout, (ttl-1)/2)
		loopWait, retryTimeout = 1, (ttl-1)/2
	case loopWait+2*retryTimeout > ttl:
		warn(rule+" and retry_timeout=%d. Adjusting loop_wait from %d to %d", ttl, retryTimeout, loopWait, ttl-2*retryTimeout)
		loopWait = ttl - 2*retryTimeout
	}
	s.TTL, s.LoopWait, s.RetryTimeout = seconds(ttl), seconds(loopWait), seconds(retryTimeout)
	return warnings, nil
}

// WithTimes is a dynamic configuration document with the three times that are
// made of it under the floors; the document itself if they are what it says, or if
// it must be ignored (reference configuration.md 3.1).
func WithTimes(doc *Object, floors Floors) *Object {
	var s Settings
	if warnings, err := s.parseTimes(doc, floors); err != nil || len(warnings) == 0 {
		return doc
	}
	out := doc.Clone()
	for _, t := range []struct {
		key  string
		time time.Duration
		dflt int
	}{{"loop_wait", s.LoopWait, defaultLoopWait}, {"retry_timeout", s.RetryTimeout, defaultRetryTimeout}, {"ttl", s.TTL, defaultTTL}} {
		n := t.dflt
		if v, there := doc.Get(t.key); there {
			n, _ = plainInt(v)
		}
		// What was not adjusted stays as it was written.
		if adjusted := int(t.time / time.Second); adjusted != n {
			out.Set(t.key, adjusted)
		}
	}
	return out
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// maxSeconds keeps durations far from overflow whatever is configured.
const maxSeconds = 1 << 31

// plainInt is an integer conversion without units: 30, 30.7 (cut), "40", true.
func plainInt(v any) (int, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case json.Number:
		f, err := v.Float64()
		if err != nil || math.Abs(f) > maxSeconds {
			return 0, false
		}
		return int(f), true
	case string:
		n, err := strconv.Atoi(strings.TrimSpace(v))
		return n, err == nil && n <= maxSeconds && n >= -maxSeconds
	}
	return 0, false
}

func flag(doc *Object, key string) bool {
	b, ok := ParseBool(doc.Value(key))
	return ok && b
}

// intOr reads the first of the keys that is present.
func intOr(doc *Object, dflt int64, keys ...string) int64 {
	for _, k := range keys {
		if v, there := doc.Get(k); there {
			if n, ok := ParseInt(v, ""); ok {
				return n
			}
			return dflt
		}
	}
	return dflt
}

func secondsOr(doc *Object, dflt int64, keys ...string) time.Duration {
	return time.Duration(min(max(intOr(doc, dflt, keys...), 0), maxSeconds)) * time.Second
}

// unitSeconds reads a time that may be given with a unit.
func unitSeconds(doc *Object, key string, dflt int64) time.Duration {
	n := dflt
	if v, there := doc.Get(key); there {
		if x, ok := ParseInt(v, "s"); ok {
			n = min(max(x, 0), maxSeconds)
		}
	}
	return time.Duration(n) * time.Second
}

// standbyCluster returns the section when it is in force.
func standbyCluster(doc *Object) *Object {
	o := doc.Object("standby_cluster")
	for _, k := range []string{"host", "port", "restore_command"} {
		if Truthy(o.Value(k)) {
			return o
		}
	}
	return nil
}

func syncMode(v any) SyncMode {
	if s, ok := v.(string); ok && strings.EqualFold(s, "quorum") {
		return SyncQuorum
	}
	if b, ok := ParseBool(v); ok && b {
		return SyncOn
	}
	return SyncOff
}
