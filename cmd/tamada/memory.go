//go:build linux

package main

import (
	"bufio"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startIsOver is when a process has done what it does only once.
const startIsOver = 20 * time.Second

// slimDown gives back what only the start of a process needed: the heap's free
// pages, and the pages of the program's own file, most of which the initialization
// of libraries has touched. What is needed of those comes back from the page cache
// by itself.
func slimDown() {
	debug.FreeOSMemory()
	for _, m := range programPages() {
		// MADV_DONTNEED on unchanged pages of a file loses nothing (madvise(2)). An
		// error means that the memory stays as large as it was.
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.begin, m.end-m.begin, syscall.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ begin, end uintptr }

// programPages are the read-only mappings of the program's file in which no page
// was changed: relocated ones, if there are any, exist nowhere else.
func programPages() []mapping {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	return readOnlyMappings(bufio.NewScanner(f), self)
}

// readOnlyMappings reads proc_pid_smaps(5).
func readOnlyMappings(lines *bufio.Scanner, file string) (list []mapping) {
	var begin, end uint64
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) >= 5 && strings.Contains(f[0], "-"):
			begin, end = 0, 0
			if len(f) == 6 && f[5] == file && strings.HasPrefix(f[1], "r-") {
				from, to, _ := strings.Cut(f[0], "-")
				begin, _ = strconv.ParseUint(from, 16, 64)
				end, _ = strconv.ParseUint(to, 16, 64)
			}
		case len(f) == 3 && f[0] == "Anonymous:" && f[1] == "0" && begin < end:
			list = append(list, mapping{uintptr(begin), uintptr(end)})
			begin, end = 0, 0
		}
	}
	return list
}
