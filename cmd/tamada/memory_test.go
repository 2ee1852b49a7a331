//go:build linux

package main

import (
	"bufio"
	"slices"
	"strings"
	"testing"
)

const smaps = `00400000-010e9000 r-xp 00000000 08:01 42                                 /opt/bin/tamada
Rss:               11044 kB
Anonymous:             0 kB
010e9000-01f76000 r--p 00ce9000 08:01 42                                 /opt/bin/tamada
Anonymous:             4 kB
01f76000-0203c000 rw-p 01b76000 08:01 42                                 /opt/bin/tamada
Anonymous:             0 kB
0203c000-04088000 rw-p 00000000 00:00 0
Anonymous:           132 kB
7f0000000000-7f0000001000 r--p 00000000 08:01 77                         /usr/share/zoneinfo/UTC
Anonymous:             0 kB
7f0000002000-7f0000003000 r--p 00000000 08:01 42                         /opt/bin/tamada
Anonymous:             0 kB
not a line of smaps at all
Anonymous: 0 kB
`

// Pages that were changed, may be, or belong to something else must stay: they
// exist nowhere but in memory, or are not ours to judge.
func TestOnlyUnchangedPagesOfTheProgramAreGivenBack(t *testing.T) {
	got := readOnlyMappings(bufio.NewScanner(strings.NewReader(smaps)), "/opt/bin/tamada")
	want := []mapping{{0x400000, 0x10e9000}, {0x7f0000002000, 0x7f0000003000}}
	if !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

// It is done to the running test itself, which must survive it.
func TestSlimDownLeavesAProgramThatRuns(t *testing.T) {
	if len(programPages()) == 0 {
		t.Fatal("this program has no pages of its own")
	}
	slimDown()
	if len(programPages()) == 0 {
		t.Error("the program's pages are gone")
	}
}
