//go:build linux

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"tamada/internal/setup"
)

func validateCommand(code *int) *cobra.Command {
	var o setup.ValidateOptions
	format := outputFormat("text")
	c := &cobra.Command{
		Use:   "validate [FILE...]",
		Short: "Check a configuration before it hurts",
		Long: `Checks a configuration, a file or a folder, and this machine against it. Several files
are merged in their order, as those of a folder are; without any the environment is checked.

Every mistake is reported with its place, what was found and what is expected. Unknown
keys are warnings. The exit code is 1 when there are errors.`,
		Example: "  tamada validate /etc/tamada/node.yml\n" +
			"  tamada validate --ignore-listen-port --connect /etc/tamada/node.yml   # while the node runs\n" +
			"  tamada validate --format json common.yml node1.yml",
		RunE: func(_ *cobra.Command, args []string) error {
			r := setup.Validate(args, os.Environ(), o)
			if len(r.Errors) > 0 {
				*code = 1
			}
			if err := setup.WriteReport(os.Stdout, r, string(format)); err != nil {
				return err
			}
			if format == "text" {
				fmt.Fprintln(os.Stdout, verdict(len(r.Errors), len(r.Warnings)))
			}
			return nil
		},
	}
	f := c.Flags()
	f.BoolVarP(&o.IgnoreListenPort, "ignore-listen-port", "i", false, "a port in use is no mistake")
	f.BoolVar(&o.Connect, "connect", false, "try to reach the store and the other hosts that are named")
	f.Var(&format, "format", "text or json")
	return c
}

// outputFormat is the value of --format.
type outputFormat string

func (o *outputFormat) String() string { return string(*o) }

// Type implements pflag.Value.
func (o *outputFormat) Type() string { return "[text|json]" }

// Set implements pflag.Value.
func (o *outputFormat) Set(s string) error {
	if s != "text" && s != "json" {
		return fmt.Errorf("'%s' is not one of 'text', 'json'", s)
	}
	*o = outputFormat(s)
	return nil
}

func verdict(errors, warnings int) string {
	count := func(n int, what string) string {
		if n == 1 {
			return "1 " + what
		}
		return fmt.Sprintf("%d %ss", n, what)
	}
	switch {
	case errors == 0 && warnings == 0:
		return "The configuration is valid."
	case errors == 0:
		return "The configuration is valid, with " + count(warnings, "warning") + "."
	}
	return count(errors, "error") + ", " + count(warnings, "warning") + "."
}
