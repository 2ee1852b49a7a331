package ctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

// roleNames are what --role takes (reference cli.md 1.7).
var roleNames = []string{"leader", "primary", "standby-leader", "replica", "standby", "any"}

// withRole are the members of a role, in the order of their names.
func withRole(c *cluster.Cluster, role string) []*cluster.Member {
	var list []*cluster.Member
	for i := range c.Members {
		m := &c.Members[i]
		leads := m.Name == c.LeaderName()
		switch {
		case role == "any",
			role == "leader" && leads,
			role == "primary" && leads && m.Role != cluster.RoleStandbyLeader,
			role == "standby-leader" && leads && m.Role != cluster.RolePrimary,
			(role == "replica" || role == "standby") && !leads:
			list = append(list, m)
		}
	}
	return list
}

func names(members []*cluster.Member) string {
	list := make([]string, len(members))
	for i, m := range members {
		list[i] = m.Name
	}
	return strings.Join(list, ", ")
}

// reachable are the members that have an API, the leader first.
func reachable(c *cluster.Cluster) []*cluster.Member {
	var list []*cluster.Member
	for i := range c.Members {
		if c.Members[i].APIURL != "" {
			list = append(list, &c.Members[i])
		}
	}
	slices.SortStableFunc(list, func(x, y *cluster.Member) int {
		switch c.LeaderName() {
		case x.Name:
			return -1
		case y.Name:
			return 1
		}
		return 0
	})
	return list
}

// work is one command's work on one cluster: the store, what was in it when the
// command began, and the client of the members' API.
type work struct {
	*app
	store    dcs.Store
	scope    string
	view     *cluster.Cluster
	settings cluster.Settings
	members  *members
}

// begin does what all commands on one cluster begin with. The caller closes it.
func (a *app) begin(cmd *cobra.Command, args []string, g *group) (*work, error) {
	if err := a.load(cmd); err != nil {
		return nil, err
	}
	if err := g.refuse(); err != nil {
		return nil, err
	}
	scope, err := a.scope(args)
	if err != nil {
		return nil, err
	}
	client, err := newMembers(a.cfg.Ctl)
	if err != nil {
		return nil, err
	}
	store, err := a.open(scope)
	if err != nil {
		return nil, err
	}
	w := &work{app: a, store: store, scope: scope, members: client}
	if err := w.look(cmd.Context()); err != nil {
		store.Close()
		return nil, err
	}
	return w, nil
}

func (w *work) close() { w.store.Close() }

// look reads the cluster anew.
func (w *work) look(ctx context.Context) error {
	view, err := w.read(ctx, w.store, w.scope)
	if err != nil {
		return err
	}
	w.view, w.settings = view, settingsOf(view)
	return nil
}

// settingsOf are the cluster's settings. With a document that the agents reject
// they go on with what they had, which is not known here: it is the defaults then.
// The mode is read in any case, as `resume` must work.
func settingsOf(c *cluster.Cluster) cluster.Settings {
	var doc *cluster.Object
	if c.Config != nil {
		doc = c.Config.Doc
	}
	s, _, err := cluster.ParseSettings(doc)
	if err != nil {
		s, _, _ = cluster.ParseSettings(nil)
		s.Pause, _ = cluster.ParseBool(doc.Value("pause"))
	}
	return s
}

// table prints the table of members.
func (w *work) table(format string) {
	printMembers(w.Stdout, w.view, w.scope, format, false, w.colours())
}

// selection is how a command chooses members (reference cli.md 2.4).
type selection struct {
	role   string // of roleNames
	shown  string // the role in the text of an error
	action string // reload, restart, reinitialize or flush
	force  bool
	prompt bool // ask for one when none is named; without force
}

// choose prints the table and chooses among the members of the role: those
// named, or all. Names of others are dropped as long as one is left.
func (w *work) choose(ctx context.Context, named []string, s selection) ([]*cluster.Member, error) {
	candidates := withRole(w.view, s.role)
	if len(named) == 0 && len(candidates) == 0 {
		return nil, refuse("%s cluster doesn't have any members", w.scope)
	}
	w.table("pretty")
	if len(named) > 0 {
		candidates = slices.DeleteFunc(candidates, func(m *cluster.Member) bool { return !slices.Contains(named, m.Name) })
		if len(candidates) == 0 {
			return nil, refuse("No %s among provided members", s.shown)
		}
		return candidates, nil
	}
	if !s.prompt {
		return candidates, nil
	}
	if s.force {
		return nil, nil
	}
	name, err := w.ask(ctx, fmt.Sprintf("Which member do you want to %s [%s]?", s.action, names(candidates)), "")
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(candidates, func(m *cluster.Member) bool { return m.Name == name })
	if i < 0 {
		return nil, refuse("%s is not a member of cluster", name)
	}
	return candidates[i : i+1], nil
}

// sure asks whether to go on with the members chosen.
func (w *work) sure(ctx context.Context, chosen []*cluster.Member, s selection) error {
	if s.force {
		return nil
	}
	yes, err := w.confirm(ctx, fmt.Sprintf("Are you sure you want to %s members %s?", s.action, names(chosen)))
	if err == nil && !yes {
		err = refuse("Aborted %s", s.action)
	}
	return err
}

// each does something on one member after the other. One that cannot be reached
// is reported and does not keep the others from their turn; the error at the end
// names all of them (the reference stops with a stack trace at the first).
func (w *work) each(ctx context.Context, chosen []*cluster.Member, action string, do func(m *cluster.Member) error) error {
	var silent []*cluster.Member
	for _, m := range chosen {
		err := do(m)
		switch {
		case ctx.Err() != nil, errors.Is(err, errAborted):
			return errAborted
		case err != nil:
			w.printf("Failed: %s for member %s, it cannot be reached: %v\n", action, m.Name, err)
			silent = append(silent, m)
		}
	}
	if len(silent) > 0 {
		return fmt.Errorf("%s: no answer from %s (is the agent running there, and is its api_url right?)", action, names(silent))
	}
	return nil
}
