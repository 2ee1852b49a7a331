package control

import (
	"regexp"
	"strings"

	"tamada/internal/cluster"
)

// Record is one line of pg_waldump.
type Record struct {
	Manager   string // resource manager: XLOG, Heap, ...
	LSN, Prev cluster.LSN
	Desc      string
}

// ParseRecord reads the first record in pg_waldump's standard output.
func ParseRecord(output string) (r Record, ok bool) {
	for line := range strings.Lines(output) {
		rest, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "rmgr:")
		if !ok {
			continue
		}
		rest = strings.TrimSpace(rest)
		r.Manager, _, _ = strings.Cut(rest, " ")
		r.LSN = lsn(field(rest, ", lsn: ", ","))
		r.Prev = lsn(field(rest, ", prev ", ","))
		_, r.Desc, _ = strings.Cut(rest, ", desc: ")
		return r, r.LSN != 0
	}
	return Record{}, false
}

// field is what stands in s between the first before and the next after.
func field(s, before, after string) string {
	_, s, ok := strings.Cut(s, before)
	if !ok {
		return ""
	}
	s, _, _ = strings.Cut(s, after)
	return strings.TrimSpace(s)
}

// ShutdownCheckpoint tells whether the record is a shutdown checkpoint that
// begins at the given position.
func (r Record) ShutdownCheckpoint(at cluster.LSN) bool {
	d := strings.ToLower(r.Desc)
	return r.Manager == "XLOG" && r.LSN == at && strings.HasPrefix(d, "checkpoint") && strings.HasSuffix(d, "shutdown")
}

// WALSwitch tells whether the record switches to a new segment.
func (r Record) WALSwitch() bool {
	d := strings.ToLower(strings.TrimSpace(r.Desc))
	return r.Manager == "XLOG" && (d == "switch" || d == "xlog switch")
}

// endOfWAL matches what pg_waldump says when it meets the end of the log after
// a record. What follows the second position differs between versions, and
// PostgreSQL 19 pads both.
var endOfWAL = regexp.MustCompile(`error in WAL record at ([0-9A-Fa-f]+/[0-9A-Fa-f]+): invalid record length at ([0-9A-Fa-f]+/[0-9A-Fa-f]+)`)

// RecordEnd is the end of the record at the given position, from the output of
// pg_waldump for two records beginning there: one line on stdout, one error on
// stderr. 0 when it cannot be told, as when another record follows.
func RecordEnd(stdout, stderr string, at cluster.LSN) cluster.LSN {
	if strings.Count(strings.TrimSpace(stdout), "\n") != 0 {
		return 0
	}
	r, ok := ParseRecord(stdout)
	m := endOfWAL.FindAllStringSubmatch(stderr, -1)
	if !ok || r.LSN != at || len(m) != 1 || lsn(m[0][1]) != at {
		return 0
	}
	return lsn(m[0][2])
}

// missingWAL matches pg_rewind's complaint about a segment that is not there.
var missingWAL = regexp.MustCompile(`could not open file ".*/pg_wal/([0-9A-F]{24})": `)

// MissingWAL is the segment that pg_rewind could not find, "" if that was not
// its trouble.
func MissingWAL(output string) string {
	m := missingWAL.FindStringSubmatch(output)
	if m == nil {
		return ""
	}
	return m[1]
}
