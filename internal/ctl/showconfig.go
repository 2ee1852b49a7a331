package ctl

import (
	"github.com/spf13/cobra"

	"tamada/internal/cluster"
	"tamada/internal/config"
)

// clusterOf does what the commands on one cluster begin with: configuration,
// name, and one look into the store.
func (a *app) clusterOf(cmd *cobra.Command, args []string, g *group) (*cluster.Cluster, string, error) {
	if err := a.load(cmd); err != nil {
		return nil, "", err
	}
	if err := g.refuse(); err != nil {
		return nil, "", err
	}
	scope, err := a.scope(args)
	if err != nil {
		return nil, "", err
	}
	store, err := a.open(scope)
	if err != nil {
		return nil, "", err
	}
	defer store.Close()
	c, err := a.read(cmd.Context(), store, scope)
	return c, scope, err
}

func (a *app) showConfigCommand() *cobra.Command {
	var g group
	c := a.command("show-config", "[OPTIONS] [CLUSTER_NAME]", "Show the dynamic configuration.")
	c.Flags().Var(&g, "group", "Citus group.")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		view, _, err := a.clusterOf(cmd, args, &g)
		if err != nil || view.Config == nil {
			return err
		}
		a.print(config.DumpYAML(view.Config.Doc))
		return nil
	}
	return c
}
