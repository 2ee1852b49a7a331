//go:build linux

package node

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/dcs/memory"
	"tamada/internal/ha"
	"tamada/internal/postgres"
	"tamada/internal/rest"
)

// bootstrapper is a node with a store and a data folder in which a new cluster was
// begun; nothing runs.
func bootstrapper(t *testing.T) (*node, *memory.Server) {
	t.Helper()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	journal, _, err := OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	server := memory.New(func() time.Duration { return 0 })
	n := &node{log: log, ctx: t.Context(), journal: journal, store: server.Open("n1", dcs.Times{TTL: 30 * time.Second}, ""),
		pg: postgres.New(postgres.Settings{DataDir: data}, postgres.Deps{Log: log, StateDir: dir, Journal: journal})}
	t.Cleanup(n.pg.Close)
	n.snapshot.Store(&rest.Snapshot{Settings: cluster.Settings{RetryTimeout: 10 * time.Second}})
	return n, server
}

func TestJournalKeepsTheVersionOfTheInitializeKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, _, err := OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{j.Begin(ha.TaskBootstrap, 7), j.ChildStarted("initdb", os.Getpid(), 1)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, when := range []string{"with a child", "after it"} {
		if _, last, err := OpenJournal(dir); err != nil || last == nil || last.Initialize != 7 {
			t.Errorf("%s: %+v, %v; want version 7", when, last, err)
		}
		j.ChildEnded("initdb")
	}
}

// A machine may be down so long that another node takes the bootstrap over. The key
// is then empty, as ours was.
func TestInterruptedBootstrapGoesOnWithItsOwnKeyOnly(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name string
		made func(now cluster.Version) cluster.Version // as the journal has it
		ours bool
	}{
		{"our own", func(now cluster.Version) cluster.Version { return now }, true},
		{"another's", func(now cluster.Version) cluster.Version { return now - 1 }, false},
		{"one that an old version did not note", func(cluster.Version) cluster.Version { return 0 }, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			n, server := bootstrapper(t)
			server.Set(cluster.KeyInitialize, []byte{})
			now := server.Set(cluster.KeyInitialize, []byte{})
			if err := n.journal.Begin(ha.TaskBootstrap, x.made(now)); err != nil {
				t.Fatal(err)
			}
			var cfg agent.Config
			if err := n.cleanUp(&Record{Task: ha.TaskBootstrap, Initialize: x.made(now)}, &cfg); err != nil {
				t.Fatal(err)
			}
			want := cluster.Version(0)
			if x.ours {
				want = now
			}
			if cfg.Bootstrapping != want {
				t.Errorf("goes on with version %d, want %d", cfg.Bootstrapping, want)
			}
			if n.journal.Unfinished() {
				t.Error("the journal is not empty")
			}
			if state, _ := n.pg.DataDir(); state == postgres.DirPresent {
				t.Error("the half-made cluster is still in its place")
			}
			if c, err := n.store.Load(t.Context()); err != nil || c.Initialize == nil || c.Initialize.Version != now {
				t.Errorf("the key was changed: %+v, %v", c, err)
			}
		})
	}
}

func TestNewClusterIsNotPublishedOverAnothersKey(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name, there string
		want        error
	}{
		{"another goes on with the bootstrap", "", dcs.ErrConflict},
		{"another has published its cluster", "7000000000000000002", dcs.ErrConflict},
		{"an earlier try got through", "7000000000000000001", nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			n, server := bootstrapper(t)
			ours := server.Set(cluster.KeyInitialize, []byte{})
			server.Set(cluster.KeyInitialize, []byte(x.there))
			_, _, err := n.publishCluster(t.Context(), agent.PublishCluster{Sysid: "7000000000000000001", Condition: dcs.IfVersion(ours)})
			if !errors.Is(err, x.want) {
				t.Errorf("published with %v, want %v", err, x.want)
			}
			if c, _ := n.store.Load(t.Context()); c.Initialize.Value != x.there {
				t.Errorf("the key is %q, was %q", c.Initialize.Value, x.there)
			}
		})
	}
}

// A store that cannot tell whose the key is must not cost us the data.
func TestUnknownOutcomeOfAPublicationIsNoRefusal(t *testing.T) {
	t.Parallel()
	n, server := bootstrapper(t)
	ours := server.Set(cluster.KeyInitialize, []byte{})
	server.Set(cluster.KeyInitialize, []byte("7000000000000000001"))
	server.SetFate(func(_, operation string) memory.Fate {
		if operation == "Load" {
			return memory.NotDone
		}
		return memory.Answered
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, _, err := n.publishCluster(ctx, agent.PublishCluster{Sysid: "7000000000000000001", Condition: dcs.IfVersion(ours)})
	if err == nil || dcs.Refused(err) {
		t.Errorf("ended with %v, want an error that is no refusal", err)
	}
}
