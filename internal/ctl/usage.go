package ctl

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError is a mistake in the arguments.
type usageError struct {
	cmd  *cobra.Command
	text string
}

func (e *usageError) Error() string { return e.text }

func usage(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd, fmt.Sprintf(format, args...)}
}

// annotationArgs holds what follows a command's name in its usage line.
const annotationArgs = "args"

// command makes a command with what all of them have in common. args is what
// follows its name in the usage line: as many arguments are taken as it names,
// any number if a name ends in dots; those that are not in brackets are required.
func (a *app) command(name, args, short string) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, SilenceErrors: true, SilenceUsage: true,
		Annotations: map[string]string{annotationArgs: args}}
	c.Flags().Bool("help", false, "Show this message and exit.")
	c.Flags().SortFlags = false
	c.SetFlagErrorFunc(flagProblem)
	names := strings.Fields(args)[1:] // without [OPTIONS]
	c.Args = func(cmd *cobra.Command, given []string) error {
		most, seen := len(names), 0
		for _, name := range names {
			if strings.HasPrefix(name, "[") {
				continue
			}
			if seen++; seen > len(given) {
				return usage(cmd, "Missing argument '%s'.%s", name, choices(name))
			}
		}
		if strings.Contains(args, "...") || len(given) <= most {
			return nil
		}
		extra := given[most:]
		plural := ""
		if len(extra) > 1 {
			plural = "s"
		}
		return usage(cmd, "Got unexpected extra argument%s (%s)", plural, strings.Join(extra, " "))
	}
	return c
}

// choices names what a required argument written as {A|B} may be.
func choices(name string) string {
	words, ok := strings.CutPrefix(name, "{")
	if !ok {
		return ""
	}
	return " Choose from:\n\t" + strings.ReplaceAll(strings.TrimSuffix(words, "}"), "|", ",\n\t")
}

func usageLine(cmd *cobra.Command) string {
	args := cmd.Annotations[annotationArgs]
	if args == "" { // a command that the caller of Root added
		return cmd.UseLine()
	}
	return cmd.CommandPath() + " " + args
}

// flagProblem puts an error of the flag library into the words of the
// reference; other errors stay as they are.
func flagProblem(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &unknown):
		if short := unknown.GetSpecifiedShortnames(); short != "" {
			return usage(cmd, "No such option: -%s", unknown.GetSpecifiedName())
		}
		return usage(cmd, "No such option: --%s%s", unknown.GetSpecifiedName(), suggestion(cmd, unknown.GetSpecifiedName()))
	case errors.As(err, &missing):
		option := "--" + missing.GetSpecifiedName()
		if missing.GetSpecifiedShortnames() != "" {
			option = "-" + missing.GetSpecifiedName()
		}
		return usage(cmd, "Option '%s' requires an argument.", option)
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		if f.Value.Type() == "bool" {
			return usage(cmd, "Option '--%s' does not take a value.", f.Name)
		}
		return usage(cmd, "Invalid value for %s: %s", optionNames(f), invalid.Unwrap())
	case errors.As(err, &syntax):
		return usage(cmd, "%s", syntax.Error())
	case err != nil && strings.Contains(err.Error(), " arg(s), "): // cobra has no type for it
		return usage(cmd, "A wrong number of arguments: %s.", err)
	}
	return err
}

// suggestion names options that begin alike.
func suggestion(cmd *cobra.Command, name string) string {
	var near []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if name != "" && len(f.Name) > 1 && strings.HasPrefix(f.Name, name) {
			near = append(near, "--"+f.Name)
		}
	})
	slices.Sort(near)
	switch len(near) {
	case 0:
		return ""
	case 1:
		return " Did you mean " + near[0] + "?"
	}
	return " (Possible options: " + strings.Join(near, ", ") + ")"
}

func optionNames(f *pflag.Flag) string {
	switch {
	case f.Shorthand == "":
		return "'--" + f.Name + "'"
	case f.Name == "watch":
		return "'-" + f.Shorthand + "' / '--" + f.Name + "'"
	}
	return "'--" + f.Name + "' / '-" + f.Shorthand + "'"
}

// choice is a flag that takes one of several words.
type choice struct {
	value string
	words []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "[" + strings.Join(c.words, "|") + "]" }
func (c *choice) Set(s string) error {
	if !slices.Contains(c.words, s) {
		return refuse("'%s' is not one of '%s'.", s, strings.Join(c.words, "', '"))
	}
	c.value = s
	return nil
}

// float is a flag that takes a real number.
type float float64

func (f *float) String() string { return strconv.FormatFloat(float64(*f), 'g', -1, 64) }
func (f *float) Type() string   { return "FLOAT" }
func (f *float) Set(s string) error {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil {
		return refuse("'%s' is not a valid float.", s)
	}
	*f = float(v)
	return nil
}

// group is the flag --group, which is for Citus clusters.
type group struct{ given bool }

func (g *group) String() string { return "" }
func (g *group) Type() string   { return "INTEGER" }
func (g *group) Set(s string) error {
	if _, err := strconv.Atoi(s); err != nil {
		return refuse("'%s' is not a valid integer.", s)
	}
	g.given = true
	return nil
}

func (g *group) refuse() error {
	if g.given {
		return refuse("Citus is not supported yet: leave out --group")
	}
	return nil
}

// printHelp writes a command's help in the reference's layout.
func printHelp(cmd *cobra.Command, _ []string) {
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "Usage: %s\n\n  %s\n", usageLine(cmd), cmd.Short)
	if cmd.Long != "" {
		fmt.Fprintf(w, "\n%s\n", cmd.Long)
	}
	var options [][2]string
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		names := "--" + f.Name
		if f.Shorthand != "" {
			names = "-" + f.Shorthand + ", " + names
		}
		switch kind := f.Value.Type(); kind {
		case "bool":
		case "string", "stringArray":
			names += " TEXT"
		default:
			names += " " + kind
		}
		options = append(options, [2]string{names, f.Usage})
	})
	printPairs(cmd, "Options", options)
	var commands [][2]string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			commands = append(commands, [2]string{c.Name(), c.Short})
		}
	}
	printPairs(cmd, "Commands", commands)
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", cmd.Example)
	}
}

func printPairs(cmd *cobra.Command, title string, pairs [][2]string) {
	if len(pairs) == 0 {
		return
	}
	width := 0
	for _, p := range pairs {
		width = max(width, len(p[0]))
	}
	fmt.Fprintf(cmd.OutOrStdout(), "\n%s:\n", title)
	for _, p := range pairs {
		fmt.Fprintf(cmd.OutOrStdout(), "  %-*s  %s\n", width, p[0], p[1])
	}
}
