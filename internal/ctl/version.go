package ctl

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"tamada/internal/cluster"
)

func (a *app) versionCommand() *cobra.Command {
	var g group
	c := a.command("version", "[OPTIONS] [CLUSTER_NAME] [MEMBER_NAMES]...", "Show versions: of this program, and of the members of a cluster.")
	c.Flags().Var(&g, "group", "Citus group.")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := g.refuse(); err != nil {
			return err
		}
		if a.Program == "patronictl" {
			a.print("patronictl version " + cluster.CompatVersion)
		} else {
			a.print("Tamada " + cluster.ProgramVersion + ", compatible with Patroni " + cluster.CompatVersion)
		}
		if len(args) == 0 {
			return nil
		}
		return a.memberVersions(cmd, args[:1], args[1:], &g)
	}
	return c
}

// memberVersions asks the members that have an API, all or those named. One
// that does not answer is reported and does not stop the others.
func (a *app) memberVersions(cmd *cobra.Command, scope, names []string, g *group) error {
	a.print()
	view, _, err := a.clusterOf(cmd, scope, g)
	if err != nil {
		return err
	}
	client, err := newMembers(a.cfg.Ctl)
	if err != nil {
		return err
	}
	for i := range view.Members {
		m := &view.Members[i]
		if m.APIURL == "" || len(names) > 0 && !slices.Contains(names, m.Name) {
			continue
		}
		version, err := a.memberVersion(cmd.Context(), client, m)
		if err != nil {
			version = "failed to get version: " + err.Error()
		}
		a.print(m.Name + ": " + version)
	}
	return nil
}

func (a *app) memberVersion(ctx context.Context, client *members, m *cluster.Member) (string, error) {
	doc, err := client.status(ctx, m)
	if err != nil {
		return "", err
	}
	compat, _ := doc.Object("patroni").String("version")
	text := "Patroni " + compat
	if m.Agent != nil && a.Program != "patronictl" {
		text = "Tamada " + m.Agent.Version + " (Patroni " + compat + ")"
	}
	if n, ok := cluster.ParseInt(doc.Value("server_version"), ""); ok && n > 0 {
		text += " PostgreSQL " + serverVersion(n)
	}
	return text, nil
}

// serverVersion is 16.4 for 160004, and 9.6.24 for 90624.
func serverVersion(n int64) string {
	if n < 100000 {
		return fmt.Sprintf("%d.%d.%d", n/10000, n/100%100, n%100)
	}
	return fmt.Sprintf("%d.%d", n/10000, n%10000)
}
