//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/setup"
)

const patroniUsageLine = `usage: patroni [-h] [--version]
               [--validate-config | --generate-sample-config | --generate-config]
               [--dsn DSN] [--ignore-listen-port] [--print]
               [configfile]
`

const patroniUsage = patroniUsageLine + `
Runs a node of a PostgreSQL cluster (this is Tamada by the name of patroni).

positional arguments:
  configfile            file or folder of the configuration; without it the
                        environment is taken (PATRONI_CONFIGURATION, or the
                        single variables)

options:
  -h, --help            show this help message and exit
  --version             show the version and exit
  --validate-config     check the configuration, print what is wrong, and exit
  --generate-sample-config
                        write a template of a configuration and exit
  --generate-config     write a configuration for a running PostgreSQL and exit
  --dsn DSN             how to connect to that PostgreSQL
  --ignore-listen-port, -i
                        with --validate-config: a port in use is no mistake
  --print, -p           with --validate-config: print the merged configuration
`

// patroniArguments are what was given on the command line.
type patroniArguments struct {
	mode              string // one of the three, or empty: run
	dsn, path         string
	ignorePort, print bool
	help, version     bool
}

// patroni runs the program by that name, with its arguments and exit codes
// (reference configuration.md 5.1).
func patroni(args []string) int {
	a, err := parsePatroni(args)
	if err != nil {
		fmt.Fprint(os.Stderr, patroniUsageLine)
		return fail(fmt.Errorf("patroni: error: %w", err), 2)
	}
	switch {
	case a.help:
		fmt.Print(patroniUsage)
		return 0
	case a.version:
		fmt.Println("patroni " + cluster.CompatVersion)
		return 0
	case a.mode == "--validate-config":
		return validateStrictly(a, os.Stdout, os.Stderr)
	case a.mode == "--generate-config":
		return generateConfig(generateArguments{server: true, dsn: a.dsn, file: a.path, compatible: true})
	case a.mode == "--generate-sample-config":
		return generateConfig(generateArguments{file: a.path, compatible: true})
	}
	code, err := runNode(a.path, false)
	if err != nil {
		return fail(err, code)
	}
	return code
}

func parsePatroni(args []string) (a patroniArguments, err error) {
	modes := []string{"--validate-config", "--generate-sample-config", "--generate-config"}
	args = separateFlags(args)
	for i := 0; i < len(args); i++ {
		arg, value, inline := strings.Cut(args[i], "=")
		if !strings.HasPrefix(arg, "--") {
			arg, inline = args[i], false
		} else if arg, err = wholeOption(arg); err != nil {
			return a, err
		}
		switch arg {
		case "-h", "--help":
			a.help = true
		case "--version":
			a.version = true
		case "-i", "--ignore-listen-port":
			a.ignorePort = true
		case "-p", "--print":
			a.print = true
		case modes[0], modes[1], modes[2]:
			if a.mode != "" && a.mode != arg {
				return a, fmt.Errorf("argument %s: not allowed with argument %s", arg, a.mode)
			}
			a.mode = arg
		case "--dsn":
			if !inline {
				if i++; i == len(args) {
					return a, errors.New("argument --dsn: expected one argument")
				}
				value = args[i]
			}
			a.dsn = value
		default:
			if strings.HasPrefix(arg, "-") || a.path != "" {
				return a, fmt.Errorf("unrecognized arguments: %s", args[i])
			}
			a.path = arg
		}
		if inline && arg != "--dsn" && strings.HasPrefix(arg, "--") {
			return a, fmt.Errorf("argument %s: ignored explicit argument '%s'", arg, value)
		}
	}
	return a, nil
}

// separateFlags turns -ip into -i -p.
func separateFlags(args []string) (all []string) {
	for _, arg := range args {
		if len(arg) > 2 && arg[0] == '-' && strings.Trim(arg[1:], "hip") == "" {
			for _, c := range arg[1:] {
				all = append(all, "-"+string(c))
			}
			continue
		}
		all = append(all, arg)
	}
	return all
}

// wholeOption completes an option of which only the beginning was given, as the
// reference's parser does.
func wholeOption(arg string) (string, error) {
	var found []string
	for _, o := range []string{"--help", "--version", "--validate-config", "--generate-sample-config", "--generate-config", "--dsn", "--ignore-listen-port", "--print"} {
		if o == arg {
			return arg, nil
		}
		if len(arg) > 2 && strings.HasPrefix(o, arg) {
			found = append(found, o)
		}
	}
	switch len(found) {
	case 0:
		return arg, nil
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("ambiguous option: %s could match %s", arg, strings.Join(found, ", "))
}

// validateStrictly is --validate-config: nothing to say is exit code 0.
func validateStrictly(a patroniArguments, out, problems io.Writer) int {
	doc, err := config.ReadDocument(a.path, os.Environ())
	if err != nil {
		fmt.Fprintln(problems, err)
		var list config.Errors
		if errors.As(err, &list) && list[0].Text == config.NotADict {
			fmt.Fprintln(problems, "invalid config file "+list[0].Pos.Source)
		}
		return 1
	}
	if doc.Root.Len() == 0 {
		fmt.Fprintln(problems, "Config is empty.")
		return 1
	}
	lines := setup.Strict(doc.Root, setup.StrictOptions{IgnoreListenPort: a.ignorePort})
	if len(lines) > 0 {
		fmt.Fprintln(problems, strings.Join(lines, "\n"))
		return 1
	}
	if a.print {
		fmt.Fprint(out, config.DumpYAML(doc.Root))
	}
	return 0
}
