package ctl

import (
	"github.com/spf13/cobra"

	"tamada/internal/cluster"
)

func (a *app) dsnCommand() *cobra.Command {
	var g group
	var member string
	role := choice{"", roleNames}
	c := a.command("dsn", "[OPTIONS] [CLUSTER_NAME]", "Print host and port of a member, for connecting to it.")
	c.Flags().Var(&g, "group", "Citus group.")
	c.Flags().VarP(&role, "role", "r", "The first member of this role; the leader without it.")
	c.Flags().StringVarP(&member, "member", "m", "", "This member.")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if role.value != "" && member != "" {
			return refuse("--role and --member are mutually exclusive options")
		}
		view, _, err := a.clusterOf(cmd, args, &g)
		if err != nil {
			return err
		}
		m := anyMember(view, role.value, member)
		if m == nil {
			return refuse("Can not find a suitable member")
		}
		host, port, ok := m.Address()
		if !ok {
			return refuse("Member %s has not published its address", m.Name)
		}
		a.printf("host=%s port=%d\n", host, port)
		return nil
	}
	return c
}

// anyMember is the member of a name, or the first of a role, the leader when
// neither is given; nil when there is none.
func anyMember(c *cluster.Cluster, role, name string) *cluster.Member {
	if name != "" {
		return c.Member(name)
	}
	if role == "" {
		role = "leader"
	}
	if list := withRole(c, role); len(list) > 0 {
		return list[0]
	}
	return nil
}
