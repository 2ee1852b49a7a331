//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tamada/internal/config"
	"tamada/internal/dcs/embedded"
	"tamada/internal/dcs/open"
	"tamada/internal/logging"
)

const (
	membersTimeout  = 10 * time.Second
	replaceTimeout  = time.Minute
	snapshotTimeout = 5 * time.Minute
	// etcdLogLimit is the size at which etcd's log of warnings begins anew.
	etcdLogLimit = 8 << 20 // bytes
)

// etcdMemberCommand is what a guardian starts.
func etcdMemberCommand(code *int) *cobra.Command {
	return &cobra.Command{Use: "etcd-member [FILE]", Hidden: true, Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var err error
			*code, err = runEtcdMember(first(args))
			return err
		}}
}

// runEtcdMember runs the node's etcd member until SIGTERM. It does not depend on
// its guardian: when that is gone, the next one takes the member over.
func runEtcdMember(path string) (int, error) {
	// Another process of this node rotates the log.
	cfg, log, err := load(path, true)
	if err != nil {
		return 1, err
	}
	defer log.Close()
	c, err := open.Member(cfg, log.Logger)
	if err != nil {
		return 1, err
	}
	rotate(c.LogPath, log.Logger)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := embedded.Run(ctx, c); err != nil {
		log.Error(err.Error())
		return 1, nil
	}
	return 0, nil
}

// rotate keeps one former log.
func rotate(path string, log *slog.Logger) {
	if st, err := os.Stat(path); err == nil && st.Size() > etcdLogLimit {
		if err := os.Rename(path, path+".1"); err != nil {
			log.Warn("could not put the log of etcd aside", "error", err)
		}
	}
}

// etcdCommand is what an operator does with the embedded etcd.
func etcdCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "etcd",
		Short: "Look after the embedded etcd: members, replace, snapshot, restore",
		Long: `Looks after the etcd that the nodes run themselves (etcd3.embedded). Each command
takes the configuration of any of its nodes.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.PersistentFlags().StringVarP(&path, "config-file", "c", "", "Configuration file of a node. Default: the environment")
	c.AddCommand(etcdMembers(&path), etcdReplace(&path), etcdSnapshot(&path), etcdRestore(&path))
	return c
}

func etcdMembers(path *string) *cobra.Command {
	return &cobra.Command{
		Use:     "members",
		Short:   "List the members and how each is",
		Long:    "Lists etcd's members. The exit code is 1 if one of them does not answer.",
		Example: "  tamada etcd members -c /etc/tamada/node.yml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return administer(configFlag(c, *path), membersTimeout, func(ctx context.Context, _ *config.Config, a embedded.Admin) error {
				list, err := a.Members(ctx)
				if err != nil {
					return err
				}
				return printMembers(c.OutOrStdout(), list)
			})
		},
	}
}

// printMembers prints a table; an error says who does not answer.
func printMembers(out io.Writer, list []embedded.Member) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MEMBER\tID\tCLIENT\tPEER\tROLE\tSTATE\tSIZE\tINDEX\tVERSION")
	var lost []string
	voters, healthy := 0, 0
	for _, m := range list {
		if !m.Learner {
			voters++
			if m.Err == nil {
				healthy++
			}
		}
		name, role, state := m.Name, "follower", "healthy"
		switch {
		case m.Learner:
			role = "learner"
		case m.Leader:
			role = "leader"
		}
		if name == "" {
			name = "-"
		}
		size, index, version := fmt.Sprintf("%.1f MB", float64(m.DBSize)/1e6), fmt.Sprint(m.Index), m.Version
		if m.Err != nil {
			state, size, index, version = "no answer", "", "", ""
			if m.Client == "" {
				role, state = "learner", "to be started"
			}
			lost = append(lost, name)
		}
		fmt.Fprintf(w, "%s\t%x\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, m.ID, address(m.Client), address(m.Peer), role, state, size, index, version)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if healthy < voters/2+1 {
		return fmt.Errorf("only %d of %d voting members answer, which is no majority: nothing can be written, and no node may lead. Start the nodes of %s",
			healthy, voters, strings.Join(lost, ", "))
	}
	if len(lost) > 0 {
		return fmt.Errorf("%d of %d members do not answer: %s. Start their nodes; where the data is lost, `tamada etcd replace NAME` first",
			len(lost), len(list), strings.Join(lost, ", "))
	}
	return nil
}

func address(url string) string {
	_, host, _ := strings.Cut(url, "://")
	return host
}

func etcdReplace(path *string) *cobra.Command {
	return &cobra.Command{
		Use:   "replace NAME",
		Short: "Replace a member whose data is lost",
		Long: `Removes the member NAME, which must not answer any more, and adds it anew. The node
joins by itself when it is started, and votes as soon as it has caught up. The
other members must have a majority. Done again, it goes on where it stopped.`,
		Example: "  tamada etcd replace pg-c -c /etc/tamada/node.yml",
		Args:    exactly("the member to replace; `tamada etcd members` lists them"),
		RunE: func(c *cobra.Command, args []string) error {
			return administer(configFlag(c, *path), replaceTimeout, func(ctx context.Context, _ *config.Config, a embedded.Admin) error {
				return a.Replace(ctx, args[0], func(line string) { fmt.Fprintln(c.OutOrStdout(), line) })
			})
		},
	}
}

func etcdSnapshot(path *string) *cobra.Command {
	return &cobra.Command{
		Use:   "snapshot FILE",
		Short: "Write everything the store holds to a new file",
		Long: `Writes a snapshot of etcd to FILE, which only its owner may read, and checks it. It
holds the keys of the cluster, not the databases.`,
		Example: "  tamada etcd snapshot /var/backups/etcd-$(date +%F).db -c /etc/tamada/node.yml",
		Args:    exactly("the file of the snapshot"),
		RunE: func(c *cobra.Command, args []string) error {
			return administer(configFlag(c, *path), snapshotTimeout, func(ctx context.Context, _ *config.Config, a embedded.Admin) error {
				fmt.Fprintf(c.OutOrStdout(), "asking %s for a snapshot\n", strings.Join(a.Endpoints, ", "))
				if err := a.Snapshot(ctx, args[0]); err != nil {
					return err
				}
				st, err := os.Stat(args[0])
				if err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "wrote and checked %s, %d bytes\n", args[0], st.Size())
				return nil
			})
		},
	}
}

func etcdRestore(path *string) *cobra.Command {
	return &cobra.Command{
		Use:   "restore FILE",
		Short: "Make this node's etcd data from a snapshot, for a new cluster of members",
		Long: `Makes the data folder of this node's etcd member from the snapshot FILE. It is for
when most members' data is lost for good:

  1. stop tamada on every node, and move each etcd data folder out of the way;
  2. run this command on every node, with the same FILE;
  3. start the nodes.

A data folder that has data is refused.`,
		Example: "  sudo -u postgres tamada etcd restore /var/backups/etcd-2026-05-06.db -c /etc/tamada/node.yml",
		Args:    exactly("the file of the snapshot"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := config.Load(configFlag(c, *path), os.Environ())
			if err != nil {
				return err
			}
			if os.Geteuid() == 0 {
				return errors.New("run this as the user that runs tamada (usually postgres), so that the data folder belongs to it")
			}
			m, err := open.Member(cfg, logging.Open(cfg.Log, os.Stderr, true).Logger)
			if err != nil {
				return err
			}
			if _, err := os.Stat(args[0]); err != nil {
				return fmt.Errorf("the snapshot cannot be read: %w", err)
			}
			fmt.Fprintf(c.OutOrStdout(), "restoring %s to %s\n", args[0], m.DataDir)
			if err := embedded.Restore(m, args[0]); err != nil {
				return err
			}
			others := make([]string, 0, len(m.InitialCluster))
			for _, p := range cfg.Etcd3.Embedded.InitialCluster {
				if p.Name != m.Name {
					others = append(others, p.Name)
				}
			}
			fmt.Fprintf(c.OutOrStdout(), "done for %s; do the same on %s, then start the nodes\n", m.Name, strings.Join(others, ", "))
			return nil
		},
	}
}

// exactly wants one argument.
func exactly(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("expected one argument: %s", what)
		}
		return nil
	}
}

// configFlag is -c behind `etcd`, or else before it.
func configFlag(c *cobra.Command, path string) string {
	if f := c.Root().Flags().Lookup("config-file"); path == "" && f != nil {
		path = f.Value.String()
	}
	return path
}

// administer runs do with access to the members that a configuration names. An
// interrupt ends it.
func administer(path string, timeout time.Duration, do func(context.Context, *config.Config, embedded.Admin) error) error {
	if path != "" {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("configuration: %w", err)
		}
	}
	cfg, err := config.Load(path, os.Environ())
	if err != nil && path == "" {
		return fmt.Errorf("%w; name a node's configuration with -c FILE", err)
	}
	if err != nil {
		return err
	}
	a, err := open.Admin(cfg)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = do(ctx, cfg, a)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w\nOf the members at %s too few have answered within %s: see that most nodes run and reach each other",
			err, strings.Join(a.Endpoints, ", "), timeout)
	}
	return err
}
