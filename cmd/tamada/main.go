//go:build linux

// Command tamada keeps a PostgreSQL cluster available.
//
// By the names patroni and patronictl it takes those programs' arguments.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/ctl"
	"tamada/internal/dcs"
	"tamada/internal/dcs/open"
)

func main() { os.Exit(run(os.Args)) }

// run is the whole program; what it returns is the exit code.
func run(args []string) int {
	switch filepath.Base(args[0]) {
	case "patroni":
		return patroni(args[1:])
	case "patronictl":
		return ctl.Execute(context.Background(), ctl.Root(ctlDeps("patronictl")), args[1:])
	}
	root := ctl.Root(ctlDeps("tamada"))
	code := 0
	root.AddCommand(runCommand(&code), agentCommand(&code), validateCommand(&code), generateCommand(&code), explainCommand())
	if c := ctl.Execute(context.Background(), root, args[1:]); c != 0 {
		return max(code, c)
	}
	return code
}

func ctlDeps(program string) ctl.Deps {
	return ctl.Deps{Program: program, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Terminal: terminal(os.Stdout),
		Environ: os.Environ(), Now: time.Now, Open: openStore}
}

func terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// openStore makes the store for one command: no session, no watch.
func openStore(cfg *config.Config) (dcs.Store, error) {
	settings, _, _ := cluster.ParseSettings(nil)
	times := dcs.Times{TTL: settings.TTL, LoopWait: settings.LoopWait, RetryTimeout: settings.RetryTimeout}
	return open.Store(context.Background(), cfg, times, "", slog.New(slog.NewTextHandler(io.Discard, nil)))
}

// fail prints an error on standard error and returns the exit code.
func fail(err error, code int) int {
	fmt.Fprintln(os.Stderr, err)
	return code
}
