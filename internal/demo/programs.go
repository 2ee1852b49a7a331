package demo

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// programs are those that a node cannot do without.
var programs = []string{"postgres", "initdb", "pg_basebackup", "pg_ctl", "pg_controldata", "pg_rewind", "pg_isready"}

// distribution is where packages put PostgreSQL: a folder per major version.
const distribution = "/usr/lib/postgresql/*/bin"

// findPrograms returns the folder of PostgreSQL's programs: those of the major
// version wanted, or the newest when that is 0.
func findPrograms(pattern string, wanted int) (dir string, major int, err error) {
	folders, _ := filepath.Glob(pattern)
	for _, d := range folders {
		v, err := strconv.Atoi(filepath.Base(filepath.Dir(d)))
		if err == nil && complete(d) && (wanted == 0 && v > major || v == wanted) {
			dir, major = d, v
		}
	}
	if dir != "" {
		return dir, major, nil
	}
	if p, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			p = real
		}
		if v, err := majorOf(p); err == nil && complete(filepath.Dir(p)) && (wanted == 0 || v == wanted) {
			return filepath.Dir(p), v, nil
		}
	}
	if wanted != 0 {
		return "", 0, fmt.Errorf("the data of this demo is of PostgreSQL %d, which is not installed any more: install it (Debian: apt-get install postgresql-%d), or remove the folder", wanted, wanted)
	}
	return "", 0, errors.New("PostgreSQL is not installed: its server programs are neither in /usr/lib/postgresql/*/bin nor on PATH (Debian, Ubuntu: apt-get install postgresql)")
}

func complete(dir string) bool {
	for _, p := range programs {
		if _, err := exec.LookPath(filepath.Join(dir, p)); err != nil {
			return false
		}
	}
	return true
}

// majorOf asks a server program for its version: "postgres (PostgreSQL) 15.7".
func majorOf(program string) (int, error) {
	out, err := exec.Command(program, "--version").Output()
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(out))
	if len(f) < 3 {
		return 0, fmt.Errorf("%s --version: %q", program, out)
	}
	return strconv.Atoi(strings.FieldsFunc(f[2], func(r rune) bool { return r < '0' || r > '9' })[0])
}
