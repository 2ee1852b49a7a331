package ctl

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/spf13/cobra"

	"tamada/internal/cluster"
)

// sorted are members by their names.
func sorted(list []*cluster.Member) []*cluster.Member {
	slices.SortFunc(list, func(x, y *cluster.Member) int { return cmp.Compare(x.Name, y.Name) })
	return list
}

// choosing are the flags of commands on members of a cluster.
type choosing struct {
	group group
	role  choice
	force bool
	dry   *bool
}

func (c *choosing) flags(a *app, to *cobra.Command) {
	to.Flags().Var(&c.group, "group", "Citus group.")
	c.role = choice{"any", roleNames}
	to.Flags().VarP(&c.role, "role", "r", "Only members of this role.")
	to.Flags().BoolVar(&c.force, "force", false, "Ask nothing.")
	c.dry = a.dryRunFlag(to)
}

func (c *choosing) selection(action string) selection {
	return selection{role: c.role.value, shown: "'" + c.role.value + "'", action: action, force: c.force || *c.dry}
}

func (a *app) reloadCommand() *cobra.Command {
	var by choosing
	c := a.command("reload", "[OPTIONS] CLUSTER_NAME [MEMBER_NAMES]...", "Have members read their configuration again.")
	by.flags(a, c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		w, err := a.begin(cmd, args[:1], &by.group)
		if err != nil {
			return err
		}
		defer w.close()
		s := by.selection("reload")
		chosen, err := w.choose(ctx, args[1:], s)
		if err != nil {
			return err
		}
		if *by.dry {
			return w.dryReload(ctx, chosen)
		}
		if err := w.sure(ctx, chosen, s); err != nil {
			return err
		}
		return w.each(ctx, chosen, "reload", func(m *cluster.Member) error {
			got, err := w.members.do(ctx, quick, m, http.MethodPost, "/reload", nil)
			if err != nil {
				return err
			}
			switch got.status {
			case http.StatusAccepted:
				a.printf("Reload request received for member %s and will be processed within %.0f seconds\n", m.Name, w.settings.LoopWait.Seconds())
			case http.StatusOK:
				a.printf("No changes to apply on member %s\n", m.Name)
			default:
				a.printf("Failed: reload for member %s, status code=%d, (%s)\n", m.Name, got.status, got.text())
			}
			return nil
		})
	}
	return c
}
