//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/setup"
)

// askTimeout is how long explain waits for the store, and for PostgreSQL.
const askTimeout = 5 * time.Second

func explainCommand() *cobra.Command {
	var file, member string
	c := &cobra.Command{
		Use:   "explain KEY",
		Short: "Tell what a key of the configuration means, and what is in force",
		Long: `Tells what a key means: type, default, limits, where it may stand, and what a change needs.
KEY is a dotted path, its last part where that is unambiguous, or a parameter of PostgreSQL.

With -c it also tells the value in force and where it comes from: the node's file, the
environment, the dynamic configuration in the store, or the default. With --member a
parameter is asked of that member's PostgreSQL.`,
		Example: "  tamada explain ttl\n  tamada explain -c /etc/tamada/node.yml postgresql.pg_hba\n" +
			"  tamada explain -c /etc/tamada/node.yml --member n2 max_connections",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" {
				file = cmd.Root().Flags().Lookup("config-file").Value.String()
			}
			s, err := sources(cmd.Context(), file, member, args[0])
			if err != nil {
				return err
			}
			return setup.Explain(os.Stdout, args[0], s)
		},
	}
	c.Flags().StringVarP(&file, "config-file", "c", "", "the node's configuration, file or folder")
	c.Flags().StringVar(&member, "member", "", "ask this member's PostgreSQL")
	return c
}

// sources collects where values come from: all of it as far as it can be had.
func sources(ctx context.Context, file, member, key string) (s setup.Sources, err error) {
	if file == "" {
		if member != "" {
			return s, fmt.Errorf("--member %s needs -c FILE, which tells where the store is", member)
		}
		return s, nil
	}
	if _, err := os.Stat(file); err != nil {
		return s, err
	}
	if s.Local, err = config.ReadDocument(file, os.Environ()); err != nil {
		return s, err
	}
	cfg, err := config.LoadClient(file, os.Environ(), nil)
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	view, err := loadCluster(ctx, cfg)
	if err != nil {
		if member != "" {
			return s, err
		}
		fmt.Fprintln(os.Stderr, "the store does not answer, so what it says is not known now:", err)
		s.Dynamic, s.DynamicFrom = lastKnown(cfg)
		return s, nil
	}
	if view.Config != nil {
		s.Dynamic, s.DynamicFrom = view.Config.Doc, "the dynamic configuration in the store"
	} else {
		s.Dynamic, s.DynamicFrom = lastKnown(cfg)
	}
	if member == "" {
		return s, nil
	}
	m := view.Member(member)
	if m == nil {
		return s, fmt.Errorf("there is no member %s in cluster %s", member, cfg.Scope)
	}
	name := setup.ParameterName(key)
	if name == "" {
		if member != cfg.Name {
			s.Local = nil // another node's file
		}
		return s, nil
	}
	if member != cfg.Name {
		s.Local = nil
	}
	s.Running, err = setup.AskMember(ctx, m, &cfg.Postgresql, name)
	return s, err
}

func loadCluster(ctx context.Context, cfg *config.Config) (*cluster.Cluster, error) {
	if cfg.Store == "" {
		return nil, fmt.Errorf("no store is configured")
	}
	store, err := openStore(cfg)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	return store.Load(ctx)
}

// lastKnown is the dynamic configuration as the node would start with it.
func lastKnown(cfg *config.Config) (doc *cluster.Object, from string) {
	if doc, err := config.LoadCache(cfg.Postgresql.DataDir); err == nil && doc != nil {
		return doc, "the copy of the dynamic configuration in the data folder"
	}
	if cfg.Bootstrap != nil {
		return cfg.Bootstrap.DCS, "bootstrap.dcs"
	}
	return nil, ""
}
