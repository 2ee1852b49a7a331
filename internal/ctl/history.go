package ctl

import "github.com/spf13/cobra"

var historyColumns = []column{{name: "TL", right: true}, {name: "LSN", right: true}, {name: "Reason"}, {name: "Timestamp"}, {name: "New Leader"}}

func (a *app) historyCommand() *cobra.Command {
	var g group
	format := choice{"pretty", formats}
	c := a.command("history", "[OPTIONS] [CLUSTER_NAME]", "Show the cluster's past promotions.")
	c.Flags().Var(&g, "group", "Citus group.")
	c.Flags().VarP(&format, "format", "f", "Format of the output.")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		view, _, err := a.clusterOf(cmd, args, &g)
		if err != nil {
			return err
		}
		var cells rows
		if view.History != nil {
			for _, l := range view.History.Lines {
				cells = append(cells, []any{number(l.Timeline), number(l.LSN), l.Reason, l.Time, l.Leader})
			}
		}
		printTable(a.Stdout, format.value, "", historyColumns, cells, false)
		return nil
	}
	return c
}
