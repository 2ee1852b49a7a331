package control

import (
	"fmt"
	"strconv"
	"strings"

	"tamada/internal/cluster"
)

// HistoryEntry is one line of a timeline history file: the timeline that ended,
// where, and why.
type HistoryEntry struct {
	Timeline cluster.Timeline
	LSN      cluster.LSN // first position of the next timeline
	Reason   string
}

// ParseHistory reads a history file: three fields separated by tabs. bad has
// the lines that could not be read and are neither empty nor comments.
func ParseHistory(text string) (entries []HistoryEntry, bad []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if t := strings.TrimSpace(line); t == "" || t[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 3 {
			bad = append(bad, line)
			continue
		}
		tli, err1 := strconv.ParseUint(strings.TrimSpace(f[0]), 10, 32)
		at, err2 := cluster.ParseLSN(strings.TrimSpace(f[1]))
		if err1 != nil || err2 != nil || tli == 0 {
			bad = append(bad, line)
			continue
		}
		entries = append(entries, HistoryEntry{cluster.Timeline(tli), at, f[2]})
	}
	return entries, bad
}

// HistoryName is the name of a timeline's history file in pg_wal.
func HistoryName(tli cluster.Timeline) string { return fmt.Sprintf("%08X.history", uint32(tli)) }

// HistoryTimeline is the timeline of a history file's name.
func HistoryTimeline(name string) (cluster.Timeline, bool) {
	hex, ok := strings.CutSuffix(name, ".history")
	if !ok || len(hex) != 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 32)
	return cluster.Timeline(n), err == nil && n > 0
}
