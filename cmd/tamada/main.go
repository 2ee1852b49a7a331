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
	"os/signal"
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
		ctx, stop := interruptible()
		defer stop()
		return ctl.Execute(ctx, ctl.Root(ctlDeps("patronictl")), args[1:])
	}
	ctx, stop := interruptible()
	defer stop()
	root := ctl.Root(ctlDeps("tamada"))
	code := 0
	root.AddCommand(runCommand(&code), agentCommand(&code), etcdMemberCommand(&code), upgradeCommand(), fenceCommand(),
		etcdCommand(), demoCommand(), validateCommand(&code), generateCommand(&code), explainCommand())
	if c := ctl.Execute(ctx, root, args[1:]); c != 0 {
		return max(code, c)
	}
	return code
}

// interruptible ends with the first interrupt, which a command takes for
// "Aborted!"; a second one ends the program. What runs a node listens to signals
// itself.
func interruptible() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

func ctlDeps(program string) ctl.Deps {
	deps := ctl.Deps{Program: program, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Terminal: terminal(os.Stdout),
		Environ: os.Environ(), Now: time.Now, Open: openStore}
	if terminal(os.Stdin) {
		deps.Hide = hide
	}
	return deps
}

// hide stops the terminal from showing what is typed.
func hide() (restore func(), err error) {
	fd := int(os.Stdin.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	quiet := *before
	quiet.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, before) }, nil
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
