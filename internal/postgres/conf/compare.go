package conf

import (
	"slices"
	"strconv"
	"strings"

	"tamada/internal/cluster"
)

// Setting is a row of pg_settings.
type Setting struct {
	Name, Value, Unit, Type, Context, Source, SourceFile string
	PendingRestart                                       bool
}

// Equal compares a wanted value with a running one as the server would
// understand both (reference configuration.md 4.4). What cannot be read is
// different.
func Equal(s Setting, wanted string) bool {
	switch s.Type {
	case "bool":
		a, ok1 := cluster.ParseBool(s.Value)
		b, ok2 := cluster.ParseBool(wanted)
		return ok1 && ok2 && a == b
	case "integer":
		a, ok1 := cluster.ParseInt(s.Value, "")
		b, ok2 := cluster.ParseInt(wanted, s.Unit)
		return ok1 && ok2 && a == b
	case "real":
		a, ok1 := cluster.ParseReal(s.Value, "")
		b, ok2 := cluster.ParseReal(wanted, s.Unit)
		return ok1 && ok2 && a == b
	case "enum":
		return strings.EqualFold(s.Value, wanted)
	}
	return s.Value == wanted
}

// AutoWALBuffers is what wal_buffers = -1 comes out as, in 8 kB blocks.
func AutoWALBuffers(sharedBuffers, segmentSize int64) string {
	return strconv.FormatInt(min(max(sharedBuffers/32, 8), segmentSize/8192), 10)
}

// SameConninfo tells whether a standby connects as wanted: every wanted keyword
// equal, further ones ignored, defaults filled in, the password left to the
// password file, dbname only where slot synchronisation needs it (17).
func SameConninfo(current, wanted map[string]string, version int) bool {
	filled := map[string]string{}
	for k, v := range current {
		filled[k] = v
	}
	Defaults(filled, version)
	for k, v := range wanted {
		if k == "password" || k == "dbname" && version < 170000 {
			continue
		}
		if filled[k] != v {
			return false
		}
	}
	return true
}

// SameLines tells whether a password file has exactly the wanted lines.
func SameLines(content string, wanted []string) bool {
	have := map[string]bool{}
	for line := range strings.Lines(content) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			have[line] = true
		}
	}
	for line := range have {
		if !slices.Contains(wanted, line) {
			return false
		}
	}
	for _, line := range wanted {
		if !have[line] {
			return false
		}
	}
	return true
}

// Human writes a value of pg_settings with the largest unit that keeps it
// whole, as SHOW does.
func Human(value, unit string) string {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || unit == "" || n <= 0 {
		return value
	}
	i := strings.IndexFunc(unit, func(r rune) bool { return r < '0' || r > '9' })
	if i > 0 {
		m, err := strconv.ParseInt(unit[:i], 10, 64)
		if err != nil {
			return value + unit
		}
		n, unit = n*m, unit[i:]
	}
	units, factors := []string{"B", "kB", "MB", "GB", "TB"}, []int64{1024, 1024, 1024, 1024}
	if slices.Contains([]string{"us", "ms", "s", "min", "h", "d"}, unit) {
		units, factors = []string{"us", "ms", "s", "min", "h", "d"}, []int64{1000, 1000, 60, 60, 24}
	}
	for at := slices.Index(units, unit); at >= 0 && at < len(factors) && n%factors[at] == 0; at++ {
		n /= factors[at]
		unit = units[at+1]
	}
	return strconv.FormatInt(n, 10) + unit
}
