package cluster

import (
	"fmt"
	"strconv"
	"strings"
)

// LSN is a position in the write-ahead log, in bytes from 0/0. Zero means
// "not known": no valid WAL record can begin there (PostgreSQL manual, "WAL
// Internals").
type LSN uint64

// ParseLSN reads the text form HI/LO, both hexadecimal, as pg_lsn prints it.
// Leading zeroes in either half are accepted (pg_waldump and PostgreSQL 19
// print them).
func ParseLSN(s string) (LSN, error) {
	hi, lo, ok := strings.Cut(s, "/")
	if !ok {
		return 0, fmt.Errorf("%q is not an LSN: expected HI/LO in hexadecimal", s)
	}
	h, err := strconv.ParseUint(hi, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not an LSN: expected HI/LO in hexadecimal", s)
	}
	l, err := strconv.ParseUint(lo, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not an LSN: expected HI/LO in hexadecimal", s)
	}
	return LSN(h<<32 | l), nil
}

// String is the short form 0/5000148 that PostgreSQL up to 18 prints.
func (l LSN) String() string {
	return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l))
}

// Full is the padded form 0/05000148 that pg_waldump and PostgreSQL 19 print.
func (l LSN) Full() string {
	return fmt.Sprintf("%X/%08X", uint32(l>>32), uint32(l))
}

// Timeline is PostgreSQL's timeline number. Zero means "not known".
type Timeline uint32
