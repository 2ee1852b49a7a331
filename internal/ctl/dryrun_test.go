package ctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	readyDoc  = `{"state":"running","role":"replica","server_version":150018,"postmaster_start_time":"x","timeline":1,"xlog":{"received_location":134217728,"replayed_location":134217728}}`
	laggingOf = `{"state":"running","role":"replica","timeline":1,"xlog":{"received_location":1000,"replayed_location":1000}}`
	noXlog    = `{"state":"creating replica","role":"replica"}`
)

// asks are requests for the status document of members.
func asks(answers ...string) []exchange {
	var list []exchange
	for i := 0; i+1 < len(answers); i += 2 {
		list = append(list, exchange{"GET " + answers[i] + " /patroni", 200, answers[i+1], ""})
	}
	return list
}

// A dry run sends nothing but GET (the fakes refuse what is not in the script)
// and writes nothing into the store.
func TestDryRunsChangeNothingAndSayWhatIsAllowed(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "bad.yml")
	if err := os.WriteFile(config, []byte("ttl: soon\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		at, args string
		script   []exchange
		stdout   string
		refusal  string // "" when it is allowed
	}{
		{"77", "switchover --dry-run", asks("pg-a", readyDoc, "pg-b", readyDoc, "pg-c", `{"state":"running","role":"replica","timeline":1,"tags":{"nofailover":true},"xlog":{"received_location":134217728}}`),
			"Dry run: would send POST /switchover to pg-a: {\"candidate\": null, \"leader\": \"pg-a\"}\nDry run: Member pg-c is not allowed to promote\nDry run: allowed; pg-b would become the leader\n", ""},
		{"77", "switchover --candidate pg-b --dry-run", asks("pg-a", readyDoc, "pg-b", noXlog), "Dry run: Member pg-b is not reachable\n", "switchover is not possible: no good candidates have been found"},
		{"77", "switchover --candidate pg-b --dry-run", asks("pg-a", readyDoc, "pg-b", laggingOf), "Dry run: Member pg-b exceeds maximum replication lag\n", "switchover is not possible: no good candidates have been found"},
		{"77", "switchover --candidate pg-c --dry-run", nil, "", "Member pg-c does not exist in cluster batman or is tagged as nofailover"},
		{"77", "switchover --leader pg-b --dry-run", nil, "", "Member pg-b is not the leader of cluster batman"},
		{"77", "switchover --scheduled 2020-01-01T00:00 --dry-run", asks("pg-a", readyDoc), "", "Cannot schedule switchover in the past"},
		{"77", "switchover --scheduled 2031-01-01T00:00 --dry-run", asks("pg-a", readyDoc),
			"Dry run: would send POST /switchover to pg-a: {\"candidate\": null, \"leader\": \"pg-a\", \"scheduled_at\": \"2031-01-01T00:00:00+00:00\"}\nDry run: allowed; whether anybody can take over is decided at 2031-01-01T00:00:00+00:00\n", ""},
		{"paused", "switchover --dry-run", asks("pg-a", readyDoc), "", "Switchover is possible only to a specific candidate in a paused state"},
		{"synchronous-mode", "switchover --dry-run", asks("pg-a", readyDoc, "pg-b", readyDoc), "Dry run: allowed; pg-b would become the leader\n", ""},
		{"all-agents-stopped", "failover --candidate pg-b --dry-run", asks("pg-b", readyDoc, "pg-b", laggingOf),
			"Dry run: would send POST /failover to pg-b: {\"candidate\": \"pg-b\"}\nDry run: allowed; pg-b would become the leader\n", ""},
		{"77", "failover --dry-run", nil, "", "Failover could be performed only to a specific candidate"},
		{"52", "restart batman --dry-run --pg-version 15.18", asks("pg-a", readyDoc, "pg-b", noXlog, "pg-c", `{"state":"running","server_version":150003}`),
			"Dry run: would not restart pg-a: restart conditions are not satisfied (it runs PostgreSQL 15.18)\nDry run: would not restart pg-b: it is busy: creating replica\nDry run: would restart pg-c\n",
			"restart is not allowed or not possible on: pg-a, pg-b"},
		{"52", "restart batman --dry-run --pending", nil, "Dry run: no member is chosen, nothing would happen\n", ""},
		{"80", "restart batman pg-b --scheduled 2031-01-01T00:00 --dry-run", asks("pg-b", readyDoc),
			"Dry run: would not schedule at 2031-01-01T00:00:00+00:00 a restart of pg-b: another restart is already scheduled, at 2031-02-03T04:05:00+00:00\n", "schedule at 2031-01-01T00:00:00+00:00 a restart of is not allowed or not possible on: pg-b"},
		{"52", "restart batman pg-b --timeout never --dry-run", nil, "", "Timeout should be a positive number of seconds"},
		{"52", "reload batman --dry-run", asks("pg-a", readyDoc, "pg-b", readyDoc, "pg-c", readyDoc), "Dry run: would reload pg-a\nDry run: would reload pg-b\nDry run: would reload pg-c\n", ""},
		{"52", "reinit batman pg-b --dry-run", asks("pg-b", readyDoc), "Dry run: would throw away the data and copy it again on pg-b\n", ""},
		{"all-agents-stopped", "reinit batman pg-b --dry-run", nil, "", "Cluster has no leader, can not reinitialize"},
		{"80", "flush batman restart --dry-run", nil, "No scheduled restart for member pg-a\nDry run: would cancel the restart of pg-b scheduled at 2031-02-03T04:05:00+00:00\nNo scheduled restart for member pg-c\n", ""},
		{"scheduled-switchover", "flush batman switchover --dry-run", nil, "Dry run: would cancel the switchover scheduled at 2031-02-03T04:05:00+00:00\n", ""},
		{"healthy", "pause --dry-run", asks("pg-a", readyDoc), "Dry run: would send PATCH /config to pg-a: {\"pause\": true}\n", ""},
		{"paused", "pause --dry-run", nil, "", "Cluster is already paused"},
		{"paused", "resume --dry-run", asks("pg-a", readyDoc, "pg-a", readyDoc), "Dry run: would send PATCH /config to pg-a: {\"pause\": null}\n", ""},
		{"healthy", "edit-config -s ttl=45 --dry-run", nil, "-ttl: 30\n+ttl: 45\nDry run: would write the changed configuration\n", ""},
		{"healthy", "edit-config --apply " + config + " --dry-run", nil, "", "The configuration was not changed: ttl: found the text \"soon\", expected a whole number of seconds without a unit (agents ignore the whole document while this is wrong)"},
		{"healthy", "remove batman --dry-run", nil, "Dry run: would remove all keys of cluster batman from the store, after confirmation\nDry run: the cluster is alive", ""},
		{"", "remove batman --dry-run", nil, "", "the store holds nothing of cluster batman"},
		{"healthy", "demote-cluster --host h --dry-run", asks("pg-a", readyDoc), "Dry run: would send PATCH /config to pg-a: {\"standby_cluster\": {\"host\": \"h\"}}\n", ""},
		{"standby-cluster", "promote-cluster --dry-run", asks("pg-d", readyDoc), "Dry run: would send PATCH /config to pg-d: {\"standby_cluster\": null}\n", ""},
	} {
		t.Run(tc.args, func(t *testing.T) {
			t.Parallel()
			f := fake(t, tc.at, nil, nil, tc.script...)
			before := f.store.Revision()
			b := f.bench()
			b.program = "tamada"
			r := b.run(t, strings.Fields(tc.args)...)
			stderr := ""
			if tc.refusal != "" {
				stderr = "Error: " + tc.refusal + "\n"
			}
			if !strings.Contains(r.stdout, tc.stdout) || r.stderr != stderr || (r.code == 0) != (tc.refusal == "") {
				t.Errorf("got %+v\nwant %s%s", r, tc.stdout, stderr)
			}
			if f.store.Revision() != before {
				t.Error("the store was changed")
			}
		})
	}
}

func TestDryRunWithoutTheLeadersAPI(t *testing.T) {
	t.Parallel()
	b := fake(t, "77", nil, []string{"pg-a"}, asks("pg-b", readyDoc)...).bench()
	b.program = "tamada"
	r := b.run(t, "switchover", "--candidate", "pg-b", "--dry-run")
	if r.code != 0 || !strings.Contains(r.stdout, "Dry run: would write the request into the store, as the API of the receiver cannot be reached: ") {
		t.Errorf("got %+v", r)
	}
}

func TestTheReferencesToolHasNoDryRun(t *testing.T) {
	t.Parallel()
	b := &bench{}
	for _, command := range []string{"switchover", "failover", "pause", "resume", "edit-config", "demote-cluster", "promote-cluster"} {
		if r := b.run(t, command, "--dry-run"); r.code != 2 || !strings.HasSuffix(r.stderr, "Error: No such option: --dry-run\n") {
			t.Errorf("%s: %+v", command, r)
		}
	}
	if r := b.run(t, "completion", "bash"); r.code != 2 || !strings.HasSuffix(r.stderr, "Error: No such command 'completion'.\n") {
		t.Errorf("got %+v", r)
	}
}

func TestEveryCommandHasExamples(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"tamada", "patronictl"} {
		root := Root(Deps{Program: program, Now: nil})
		for _, c := range root.Commands() {
			if !strings.Contains(c.Example, program+" "+c.Name()) || strings.Contains(c.Example, "PROGRAM") {
				t.Errorf("%s %s has the examples %q", program, c.Name(), c.Example)
			}
			changes := c.Flags().Lookup("dry-run") != nil
			if strings.Contains(c.Example, "--dry-run") != changes {
				t.Errorf("%s %s: --dry-run in its examples or options, not in both", program, c.Name())
			}
			// What the examples use exists.
			for line := range strings.SplitSeq(c.Example, "\n") {
				for w := range strings.FieldsSeq(line) {
					if name, ok := strings.CutPrefix(w, "--"); ok && c.Flags().Lookup(name) == nil {
						t.Errorf("%s %s: there is no option %s", program, c.Name(), w)
					}
				}
			}
		}
	}
}
