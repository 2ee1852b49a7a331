package ctl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"tamada/internal/cluster"
)

// clusterRole is one run of demote-cluster (make the whole cluster a standby of
// another one) or promote-cluster (make it stand on its own).
type clusterRole struct {
	*app
	verb, noun string       // demote, demotion
	wanted     cluster.Role // of the leader, afterwards
	origin     map[string]*string
	force      bool
	dry        *bool
}

func (a *app) demoteClusterCommand() *cobra.Command {
	d := clusterRole{app: a, verb: "demote", noun: "demotion", wanted: cluster.RoleStandbyLeader, origin: map[string]*string{}}
	c := a.command("demote-cluster", "[OPTIONS] [CLUSTER_NAME]", "Make the whole cluster a standby of another one.")
	for _, o := range standbyOptions {
		d.origin[o.key] = c.Flags().String(o.flag, "", o.help)
	}
	return d.command(c)
}

// standbyOptions say what the cluster shall follow.
var standbyOptions = []struct{ flag, key, help string }{
	{"host", "host", "Host of the primary to follow."},
	{"port", "port", "Port of the primary to follow."},
	{"restore-command", "restore_command", "Command that fetches WAL from an archive."},
	{"primary-slot-name", "primary_slot_name", "Replication slot to use at the primary."},
}

func (a *app) promoteClusterCommand() *cobra.Command {
	p := clusterRole{app: a, verb: "promote", noun: "promotion", wanted: cluster.RolePrimary}
	return p.command(a.command("promote-cluster", "[OPTIONS] [CLUSTER_NAME]", "Make a standby cluster stand on its own and accept writes."))
}

func (r *clusterRole) command(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&r.force, "force", false, "Ask nothing.")
	r.dry = r.dryRunFlag(c)
	c.RunE = r.run
	return c
}

func (r *clusterRole) run(cmd *cobra.Command, args []string) error {
	ctx := cmd.Context()
	body := cluster.NewObject("standby_cluster", nil)
	if r.origin != nil {
		section := &cluster.Object{}
		for _, o := range standbyOptions {
			if v := *r.origin[o.key]; v != "" {
				section.Set(o.key, v)
			}
		}
		if *r.origin["host"] == "" && *r.origin["port"] == "" && *r.origin["restore_command"] == "" {
			return refuse("At least --host, --port or --restore-command should be specified")
		}
		body.Set("standby_cluster", section)
	}
	w, err := r.begin(cmd, args, &group{})
	if err != nil {
		return err
	}
	defer w.close()
	leader := w.view.LeaderMember()
	switch {
	case w.view.LeaderName() == "":
		return refuse("Cluster has no leader, %s is not possible", r.noun)
	case leader == nil:
		return refuse("The leader %s has no member key, so its API is not known", w.view.LeaderName())
	case leader.Role == r.wanted:
		return refuse("Cluster is already in the required state")
	}
	r.print("Current cluster topology")
	w.table("pretty")
	if *r.dry {
		return r.dryRun(ctx, w, leader, body)
	}
	if !r.force {
		yes, err := r.confirm(ctx, fmt.Sprintf("Are you sure you want to %s %s cluster?", r.verb, w.scope))
		if err == nil && !yes {
			err = refuse("Aborted cluster %s", r.noun)
		}
		if err != nil {
			return err
		}
	}
	failed := fmt.Sprintf("Failed to %s %s cluster: ", r.verb, w.scope)
	got, err := w.members.do(ctx, quick, leader, http.MethodPatch, "/config", body)
	switch {
	case ctx.Err() != nil:
		return errAborted
	case err != nil:
		return refuse("%s%v", failed, err)
	case got.status != http.StatusOK:
		return refuse("%[1]s%[1]s/config PATCH status code=%[2]d, (%[3]s)", failed, got.status, got.text())
	}
	return r.await(ctx, w, leader.Name)
}

// await tells every second how far it is, until the leader has the wanted role
// and runs; after a demotion the one that led before must run as well.
func (r *clusterRole) await(ctx context.Context, w *work, before string) error {
	tick := time.NewTicker(cmp.Or(r.tick, time.Second))
	defer tick.Stop()
	for {
		err := w.look(ctx)
		now := r.Now().Format("2006-01-02 15:04:05")
		switch {
		case ctx.Err() != nil, errors.Is(err, errAborted):
			return errAborted
		case err != nil:
			r.warn("%v", err) // the change is made; the store will be back
		default:
			line, done := r.progress(w.view, before)
			if done {
				r.printf("%s cluster is successfully %sd\n", now, r.verb)
				w.table("pretty")
				return nil
			}
			r.print(now, line)
		}
		select {
		case <-ctx.Done():
			return errAborted
		case <-tick.C:
		}
	}
}

func (r *clusterRole) progress(c *cluster.Cluster, before string) (line string, done bool) {
	role, state := "None", "None"
	leader := c.LeaderMember()
	if leader != nil {
		role, state = string(leader.Role), string(leader.State)
	}
	line = fmt.Sprintf("cluster is unlocked: %s, leader role: %s, leader state: %s", cluster.Text(c.LeaderName() == ""), role, state)
	done = leader != nil && leader.Role == r.wanted && leader.State == cluster.StateRunning
	if r.wanted == cluster.RoleStandbyLeader && leader != nil && leader.Name != before {
		previous := "None"
		if m := c.Member(before); m != nil {
			previous = "'" + string(m.State) + "'"
			done = done && m.State == cluster.StateRunning
		}
		line += ", previous leader state: " + previous
	}
	return line, done
}
