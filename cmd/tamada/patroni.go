//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"

	"tamada/internal/cluster"
)

const patroniUsage = `usage: patroni [-h] [--version] [configfile]

Runs a node of a PostgreSQL cluster (this is Tamada by the name of patroni).

positional arguments:
  configfile  file or folder of the configuration; without it the environment
              (PATRONI_CONFIGURATION, or the single variables) is taken

options:
  -h, --help  show this help message and exit
  --version   show the version and exit
`

// notYet are arguments of patroni that come with a later version.
var notYet = map[string]bool{"--validate-config": true, "--generate-sample-config": true, "--generate-config": true}

// patroni runs the program by that name, with its arguments and exit codes
// (reference configuration.md 5.1).
func patroni(args []string) int {
	path := ""
	for _, a := range args {
		switch {
		case a == "-h" || a == "--help":
			fmt.Print(patroniUsage)
			return 0
		case a == "--version":
			fmt.Println("patroni " + cluster.CompatVersion)
			return 0
		case notYet[a]:
			return fail(fmt.Errorf("%s is not supported yet", a), 1)
		case a == "-i" || a == "--ignore-listen-port" || a == "-p" || a == "--print":
			// without --validate-config they mean nothing
		case strings.HasPrefix(a, "-"):
			fmt.Fprint(os.Stderr, "usage: patroni [-h] [--version] [configfile]\n")
			return fail(fmt.Errorf("patroni: error: unrecognized arguments: %s", a), 2)
		case path != "":
			fmt.Fprint(os.Stderr, "usage: patroni [-h] [--version] [configfile]\n")
			return fail(fmt.Errorf("patroni: error: unrecognized arguments: %s", a), 2)
		default:
			path = a
		}
	}
	code, err := runNode(path, false)
	if err != nil {
		return fail(err, code)
	}
	return code
}
