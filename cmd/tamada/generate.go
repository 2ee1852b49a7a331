//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/spf13/cobra"

	"tamada/internal/setup"
)

// generateArguments say what to generate, and where it goes.
type generateArguments struct {
	server     bool // of a running PostgreSQL; else a template
	dsn, file  string
	compatible bool
}

func generateCommand(code *int) *cobra.Command {
	a := generateArguments{server: true}
	sample := false
	c := &cobra.Command{
		Use:   "generate-config [FILE]",
		Short: "Write a configuration for a running PostgreSQL, or a template",
		Long: `Writes a configuration to FILE, or prints it. By default it describes the PostgreSQL that
runs on this machine: started with it, tamada takes that server over with its data, its
parameters and its clients. What only you know is marked #FIXME.

How to connect as superuser comes from --dsn, or from libpq's variables (PGHOST, PGPORT,
PGUSER, PGPASSWORD, …). A password that is missing is asked for.`,
		Example: "  tamada generate-config --dsn 'host=/var/run/postgresql user=postgres' node.yml\n  tamada generate-config --sample",
		Args:    cobra.MaximumNArgs(1),
		Run: func(_ *cobra.Command, args []string) {
			a.server, a.file = !sample, first(args)
			*code = generateConfig(a)
		},
	}
	c.Flags().BoolVar(&sample, "sample", false, "a template instead")
	c.Flags().StringVar(&a.dsn, "dsn", "", "connection string of the superuser")
	return c
}

// generateConfig writes the configuration and returns the exit code.
func generateConfig(a generateArguments) int {
	o := setup.GenerateOptions{Environ: os.Environ(), DSN: a.dsn, Password: askPassword, Compatible: a.compatible}
	var text string
	var notes []string
	var err error
	if a.server {
		text, notes, err = setup.FromServer(context.Background(), o)
	} else {
		text, err = setup.Sample(o)
	}
	if err != nil {
		return fail(err, 1)
	}
	for _, n := range notes {
		fmt.Fprintln(os.Stderr, "note:", n)
	}
	if a.file == "" {
		fmt.Print(text)
		return 0
	}
	if err := os.MkdirAll(filepath.Dir(a.file), 0o755); err != nil {
		return fail(err, 1)
	}
	// It may hold a password.
	if err := os.WriteFile(a.file, []byte(text), 0o600); err != nil {
		return fail(err, 1)
	}
	return 0
}

// askPassword asks on the terminal. An interrupt ends the question and no more:
// a program that just died would leave the terminal without echo.
func askPassword() (string, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	password, err := ctlDeps("tamada").AskPassword(ctx, "Please enter the user password:")
	if err != nil {
		return "", fmt.Errorf("no password was given: %w", err)
	}
	return password, nil
}
