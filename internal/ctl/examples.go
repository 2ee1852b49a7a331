package ctl

import (
	"strings"

	"github.com/spf13/cobra"
)

// examples stand at the end of a command's help; PROGRAM is the program's name.
// A line with --dry-run is shown only where there is one.
var examples = map[string]string{
	"": `PROGRAM list                             who leads, who follows, how far behind
PROGRAM switchover --dry-run             could the primary hand over now?
PROGRAM -d etcd3://10.0.0.1 list orders  without a configuration file
PROGRAM COMMAND --help                   options and examples of a command`,
	"list": `PROGRAM list
PROGRAM list -W                          again every two seconds
PROGRAM list orders billing -f json`,
	"topology": `PROGRAM topology
PROGRAM topology -w 5`,
	"history": `PROGRAM history
PROGRAM history -f json`,
	"version": `PROGRAM version
PROGRAM version orders                   of every member, PostgreSQL included`,
	"dsn": `PROGRAM dsn                              of the leader
psql "$(PROGRAM dsn -r replica) dbname=shop"`,
	"query": `PROGRAM query -c 'select now()' -U postgres
PROGRAM query -r replica -f report.sql -U app -d shop --format json
PROGRAM query -c 'select count(*) from pg_stat_activity' -U postgres -W`,
	"switchover": `PROGRAM switchover                       asks for what it needs to know
PROGRAM switchover --candidate pg-b --force
PROGRAM switchover --scheduled 2031-02-03T04:05
PROGRAM switchover --dry-run             could it be done now?`,
	"failover": `PROGRAM failover --candidate pg-b         when the leader is dead or will not go
PROGRAM failover --candidate pg-b --dry-run`,
	"restart": `PROGRAM restart orders pg-b
PROGRAM restart orders --pending         where a changed setting waits for it
PROGRAM restart orders -r replica --scheduled 2031-02-03T04:05 --force
PROGRAM restart orders --pg-version 16.4 --dry-run`,
	"reinit": `PROGRAM reinit orders pg-c --wait
PROGRAM reinit orders pg-c --force       even if it is busy with something
PROGRAM reinit orders pg-c --dry-run`,
	"reload": `PROGRAM reload orders
PROGRAM reload orders pg-b --force
PROGRAM reload orders --dry-run`,
	"flush": `PROGRAM flush orders switchover
PROGRAM flush orders pg-b restart --force
PROGRAM flush orders restart --dry-run`,
	"pause": `PROGRAM pause --wait
PROGRAM pause --dry-run`,
	"resume": `PROGRAM resume --wait
PROGRAM resume --dry-run                 would anybody answer?`,
	"show-config": `PROGRAM show-config`,
	"edit-config": `PROGRAM edit-config                      in $EDITOR
PROGRAM edit-config -s loop_wait=5 -p max_connections=200
PROGRAM edit-config -s postgresql.parameters.work_mem=null --force
PROGRAM edit-config --apply changes.yml --dry-run`,
	"remove": `PROGRAM remove orders                    asks three questions
PROGRAM remove orders --dry-run`,
	"demote-cluster": `PROGRAM demote-cluster --host 10.1.0.1 --port 5432
PROGRAM demote-cluster --host 10.1.0.1 --dry-run`,
	"promote-cluster": `PROGRAM promote-cluster
PROGRAM promote-cluster --dry-run`,
	"why": `PROGRAM why leader                       why did the leader change?
PROGRAM why member pg-b                  why is it not promoted, why does it not stream?
PROGRAM why switchover                   what keeps the cluster from switching over?
PROGRAM why if-dies pg-a                 who would take over, when, and what would be lost?`,
	"completion": `source <(PROGRAM completion bash)         in ~/.bashrc
PROGRAM completion zsh > "${fpath[1]}/_PROGRAM"
PROGRAM completion fish > ~/.config/fish/completions/PROGRAM.fish`,
}

// addExamples puts the examples into the commands.
func (a *app) addExamples(root *cobra.Command) {
	root.Example = a.example("")
	for _, c := range root.Commands() {
		c.Example = a.example(c.Name())
	}
}

func (a *app) example(name string) string {
	var lines []string
	for line := range strings.SplitSeq(examples[name], "\n") {
		if line != "" && (a.ours() || !strings.Contains(line, "--dry-run")) {
			lines = append(lines, "  "+strings.ReplaceAll(line, "PROGRAM", a.Program))
		}
	}
	return strings.Join(lines, "\n")
}
