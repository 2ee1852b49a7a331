//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/guardian"
)

// upgradeWait is longer than the guardian's own patience with both agents.
const upgradeWait = 40 * time.Second

// nodeConfig reads the configuration of the node that a command is about: the
// argument, or the global option.
func nodeConfig(c *cobra.Command, args []string) (*config.Config, error) {
	path := first(args)
	if path == "" {
		path, _ = c.Root().Flags().GetString("config-file")
	}
	if path == "" {
		return nil, errors.New("which node? Give its configuration: tamada -c FILE " + c.Name())
	}
	return config.Load(path, os.Environ())
}

func upgradeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "upgrade-agent [BINARY]",
		Short: "Replace the agent of this node by another version, PostgreSQL untouched",
		Long: `Starts another version of this program as the node's agent: the present agent makes
room, the new one goes on with its lease. PostgreSQL, its clients and the health
checks notice nothing. If the new version crashes, hangs or does not renew the
lease, the version before it is started again. Without BINARY the program at the
present one's place is taken, for instance after a package was upgraded.

The guardian follows to the new version once the agent has shown that it works.`,
		Example: "  tamada -c /etc/tamada/node.yml upgrade-agent\n  tamada -c node.yml upgrade-agent /opt/tamada-0.2.0/tamada",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := nodeConfig(c, nil)
			if err != nil {
				return err
			}
			binary, err := os.Executable()
			if len(args) == 1 {
				binary, err = filepath.Abs(args[0])
			}
			if err != nil {
				return err
			}
			if err := guardian.RequestUpgrade(cfg.StateDir, binary, upgradeWait); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "the agent of %s was replaced by %s and works\n", cfg.Name, binary)
			return nil
		},
	}
}

func fenceCommand() *cobra.Command {
	var afterService bool
	command := &cobra.Command{
		Use:   "fence [FILE]",
		Short: "Kill every process of this node's PostgreSQL at once",
		Long: `Ends PostgreSQL of this node without a checkpoint: SIGQUIT, and SIGKILL half a second
later, to every process of the instance, found by its data folder. This is what
the guardian does when a lease ends. The service unit runs it when guardian and
agent were both killed, so that no primary goes on without anybody who enforces
its lease. It is safe to run when nothing runs.

With --after-service it is for ExecStopPost= of a unit: it acts only when the
service manager killed the service for want of its keepalive, and not in
maintenance mode.`,
		Example: "  tamada fence /etc/tamada/node.yml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := nodeConfig(c, args)
			if err != nil {
				return err
			}
			if why := notToFence(cfg); afterService && why != "" {
				fmt.Fprintln(c.OutOrStdout(), "PostgreSQL is left as it is: "+why)
				return nil
			}
			var names []string
			if name := cfg.Postgresql.BinName["postgres"]; name != "" {
				names = append(names, name)
			}
			if err := guardian.KillInstance(cfg.Postgresql.DataDir, names); err != nil {
				return fmt.Errorf("kill PostgreSQL of %s: %w", cfg.Postgresql.DataDir, err)
			}
			fmt.Fprintf(c.OutOrStdout(), "no process of PostgreSQL runs on %s\n", cfg.Postgresql.DataDir)
			return nil
		},
	}
	command.Flags().BoolVar(&afterService, "after-service", false, "Act only after a watchdog time-out of the service ($SERVICE_RESULT), and not in maintenance mode.")
	return command
}

// notToFence tells why PostgreSQL may go on after the service has ended, "" when
// it must not.
//
// After a crash of the guardian the agent goes on, and after a crash of both the
// service is started again within a second and adopts PostgreSQL. A time-out of
// the watchdog means that nobody has acted for so long, and nobody knows for how
// much longer.
func notToFence(cfg *config.Config) string {
	if result := os.Getenv("SERVICE_RESULT"); result != "watchdog" {
		return fmt.Sprintf("the service ended with the result %q, not by a watchdog time-out", result)
	}
	doc, err := config.LoadCache(cfg.Postgresql.DataDir)
	if err != nil || doc == nil {
		return ""
	}
	if settings, _, err := cluster.ParseSettings(doc); err == nil && settings.Pause {
		return "the cluster is in maintenance mode"
	}
	return ""
}
