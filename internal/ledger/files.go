package ledger

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxBytes is how large the ledger may be in all, and maxFiles in how many files.
	maxBytes = 16 << 20
	maxFiles = 8
	fileSize = maxBytes / maxFiles
	// maxLine is the length of the longest line that is written.
	maxLine = 32 << 10

	folder = "ledger"
	prefix = "ledger-"
	suffix = ".jsonl"
)

// Dir is the ledger's folder below a state folder.
func Dir(stateDir string) string { return filepath.Join(stateDir, folder) }

// file is one of the ledger's, by its number. A higher number is younger.
type file struct {
	number uint64
	path   string
}

func fileOf(dir string, number uint64) file {
	return file{number, filepath.Join(dir, fmt.Sprintf("%s%08d%s", prefix, number, suffix))}
}

// files lists the files of a ledger, the oldest first.
func files(dir string) ([]file, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	var list []file
	for _, n := range names {
		digits, ok := strings.CutPrefix(n.Name(), prefix)
		digits, ok2 := strings.CutSuffix(digits, suffix)
		number, err := strconv.ParseUint(digits, 10, 64)
		if ok && ok2 && err == nil && n.Type().IsRegular() {
			list = append(list, file{number, filepath.Join(dir, n.Name())})
		}
	}
	slices.SortFunc(list, func(a, b file) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	return list, nil
}
