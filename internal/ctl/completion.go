package ctl

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tamada/internal/dcs"
)

// completionTimeout is how long the shell may be kept waiting for names.
const completionTimeout = time.Second

// shells are those that completion can be made for.
var shells = []string{"bash", "zsh", "fish"}

func (a *app) completionCommand() *cobra.Command {
	c := a.command("completion", "[OPTIONS] {bash|zsh|fish}", "Print the script that completes commands, clusters and members in a shell.")
	c.ValidArgs = shells
	c.RunE = func(cmd *cobra.Command, args []string) error {
		switch root := cmd.Root(); args[0] {
		case "bash":
			a.print(bashWithoutPackage)
			return root.GenBashCompletionV2(a.Stdout, true)
		case "zsh":
			return root.GenZshCompletion(a.Stdout)
		case "fish":
			return root.GenFishCompletion(a.Stdout, true)
		}
		return usage(cmd, "Invalid value for '{bash|zsh|fish}': '%s' is not one of 'bash', 'zsh', 'fish'.", args[0])
	}
	return c
}

// bashWithoutPackage makes the script work where the package bash-completion is
// not installed, as on many servers. Where it is, its own function is used.
const bashWithoutPackage = `if ! declare -F _get_comp_words_by_ref > /dev/null; then
    _get_comp_words_by_ref() {
        cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
    }
fi`

// completer makes the words for one position. Whatever goes wrong, the shell
// simply has nothing to offer.
type completer = func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective)

// addCompletions tells the shell's completion what the arguments and options of
// each command may be.
func (a *app) addCompletions(root *cobra.Command) {
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			c.ValidArgsFunction = words(shells...)
			continue
		case "list", "topology":
			c.ValidArgsFunction = a.clusters
		case "flush":
			c.ValidArgsFunction = a.clusterAndMembers(flushable...)
		case "restart", "reload", "reinit", "version":
			c.ValidArgsFunction = a.clusterAndMembers()
		default:
			c.ValidArgsFunction = a.clusterOnly
		}
		for name, words := range map[string]completer{
			"role": words(roleNames...), "format": words(formats...),
			"member": a.memberOption, "candidate": a.memberOption, "leader": a.memberOption, "primary": a.memberOption,
			"file": nil, "apply": nil, "replace": nil, // names of files
		} {
			if f := c.Flags().Lookup(name); f != nil && words != nil {
				_ = c.RegisterFlagCompletionFunc(name, words)
			}
		}
	}
}

func words(list ...string) completer {
	return func(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return offer(list, typed, nil)
	}
}

// offer are the words that begin as typed and are not there yet. Never names of
// files.
func offer(list []string, typed string, taken []string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var fit []cobra.Completion
	for _, w := range list {
		if strings.HasPrefix(w, typed) && !slices.Contains(taken, w) {
			fit = append(fit, w)
		}
	}
	return fit, cobra.ShellCompDirectiveNoFileComp
}

// clusters completes names of clusters, each once.
func (a *app) clusters(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return offer(a.scopes(cmd), typed, args)
}

func (a *app) clusterOnly(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.clusters(cmd, args, typed)
}

// clusterAndMembers completes a cluster, then its members and what else may
// follow.
func (a *app) clusterAndMembers(more ...string) completer {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return a.clusters(cmd, args, typed)
		}
		if len(more) > 0 && slices.Contains(more, args[len(args)-1]) && len(args) > 1 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return offer(append(a.memberNames(cmd, args[:1]), more...), typed, args[1:])
	}
}

func (a *app) memberOption(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return offer(a.memberNames(cmd, args[:min(1, len(args))]), typed, nil)
}

// scopes are the clusters in the store's namespace, or the configured one alone
// when the store cannot tell in time.
func (a *app) scopes(cmd *cobra.Command) []string {
	if a.load(cmd) != nil {
		return nil
	}
	var list []string
	beside := cmp.Or(a.cfg.Scope, "any") // a store is always opened for one cluster
	_ = a.quickly(cmd, beside, func(ctx context.Context, store dcs.Store) error {
		lister, ok := store.(dcs.Lister)
		if !ok {
			return nil
		}
		var err error
		list, err = lister.Scopes(ctx)
		return err
	})
	if a.cfg.Scope != "" && !slices.Contains(list, a.cfg.Scope) {
		list = append(list, a.cfg.Scope)
	}
	return list
}

func (a *app) memberNames(cmd *cobra.Command, args []string) []string {
	if a.load(cmd) != nil {
		return nil
	}
	scope, err := a.scope(args)
	if err != nil {
		return nil
	}
	var list []string
	_ = a.quickly(cmd, scope, func(ctx context.Context, store dcs.Store) error {
		c, err := store.Load(ctx)
		if err != nil {
			return err
		}
		for i := range c.Members {
			list = append(list, c.Members[i].Name)
		}
		return nil
	})
	return list
}

func (a *app) quickly(cmd *cobra.Command, scope string, do func(context.Context, dcs.Store) error) error {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	store, err := a.open(scope)
	if err != nil {
		return err
	}
	defer store.Close()
	return do(ctx, store)
}
