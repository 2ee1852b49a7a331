//go:build linux

package node

import (
	"os"
	"path/filepath"
	"testing"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/ha"
	"tamada/internal/postgres"
)

// What may be changed only after the journal says so is not counted as changed when
// the journal cannot be written.
func TestRecordThatCannotBeWrittenDoesNotCount(t *testing.T) {
	t.Parallel()
	j, _, err := OpenJournal(filepath.Join(t.TempDir(), "gone"))
	if err != nil {
		t.Fatal(err)
	}
	if err := j.beginCopy(ha.TaskReinit, false); err == nil || j.halfCopied() || j.Unfinished() {
		t.Errorf("%v; half copied: %v, unfinished: %v", err, j.halfCopied(), j.Unfinished())
	}
	// What is in its place, but not for certain on the disk, is taken back.
	for _, before := range []ha.TaskKind{"", ha.TaskRewind} {
		dir := t.TempDir()
		j, _, err := OpenJournal(dir)
		if err != nil {
			t.Fatal(err)
		}
		if before != "" {
			if err := j.Begin(before, 0); err != nil {
				t.Fatal(err)
			}
		}
		placed, err := j.write(&Record{Task: ha.TaskReinit})
		if !placed || err != nil {
			t.Fatal(placed, err)
		}
		back := j.putBack()
		_, last, err := OpenJournal(dir)
		if err != nil || !back || (last == nil) != (before == "") || last != nil && last.Task != before {
			t.Errorf("after %q: put back %v; a successor reads %+v, %v", before, back, last, err)
		}
	}
}

// A copy that failed before its method touched anything leaves what the journal said.
func TestCopyThatDidNotBeginLeavesTheFolderAsItWas(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]ha.TaskKind{"whole": "", "half rewound": ha.TaskRewind, "an unfinished copy": ha.TaskClone} {
		t.Run(name, func(t *testing.T) {
			n, _ := bootstrapper(t)
			if before != "" {
				if err := n.journal.Begin(before, 0); err != nil {
					t.Fatal(err)
				}
			}
			f, _ := n.look(t.Context(), nil)
			if want := map[bool]ha.DataDir{true: ha.DataEmpty, false: ha.DataPresent}[before == ha.TaskClone]; f.Data != want {
				t.Errorf("the data folder is taken for %v, want %v", f.Data, want)
			}
			var end agent.TaskEnded
			from := cluster.Member{Name: "n2", ConnURL: "postgres://127.0.0.1:1/postgres"}
			if err := n.runTask(t.Context(), agent.StartTask{ID: 1, Kind: ha.TaskReinitialize, Do: ha.Reinitialize{From: from}}, &end); err == nil {
				t.Fatal("a copy from nobody has succeeded")
			}
			if wants := before != ha.TaskClone; end.Retry != wants || end.Broken {
				t.Errorf("%+v, want Retry %v", end, wants)
			}
			_, last, err := OpenJournal(filepath.Dir(n.journal.path))
			if err != nil || (last == nil) != (before == "") || last != nil && last.Task != before {
				t.Errorf("the journal says %+v, %v; want %q", last, err, before)
			}
			if state, _ := n.pg.DataDir(); state != postgres.DirPresent {
				t.Error("the data is gone")
			}
		})
	}
}

func TestUnfinishedCopyIsRemovedUnlessItsMethodKeepsData(t *testing.T) {
	t.Parallel()
	for _, keeps := range []bool{false, true} {
		n, _ := bootstrapper(t)
		if err := n.journal.beginCopy(ha.TaskClone, keeps); err != nil {
			t.Fatal(err)
		}
		if err := n.journal.ChildStarted("pg_basebackup", os.Getpid(), 1); err != nil {
			t.Fatal(err)
		}
		n.journal.ChildEnded("pg_basebackup")
		j, last, err := OpenJournal(filepath.Dir(n.journal.path))
		if err != nil || last == nil {
			t.Fatal(last, err)
		}
		n.journal = j
		if err := n.cleanUp(last, &agent.Config{}); err != nil {
			t.Fatal(err)
		}
		state, _ := n.pg.DataDir()
		if kept := state == postgres.DirPresent; kept != keeps || n.journal.halfCopied() != keeps {
			t.Errorf("keep_data %v: the folder is there: %v, and counts as half copied: %v", keeps, kept, n.journal.halfCopied())
		}
		if f, _ := n.look(t.Context(), nil); f.Data != ha.DataEmpty {
			t.Errorf("keep_data %v: the data folder is taken for %v, want an empty one", keeps, f.Data)
		}
	}
}

// A new cluster is not made in what a copy left, nor on its record.
func TestUnfinishedCopyIsMovedAsideForANewCluster(t *testing.T) {
	t.Parallel()
	n, _ := bootstrapper(t)
	if err := n.journal.beginCopy(ha.TaskClone, true); err != nil {
		t.Fatal(err)
	}
	if err := n.runTask(t.Context(), agent.StartTask{ID: 1, Kind: ha.TaskBootstrap, Do: ha.BootstrapCluster{}, Initialize: 7}, &agent.TaskEnded{}); err == nil {
		t.Fatal("a cluster was made without programs")
	}
	data := n.pg.Settings().DataDir
	if _, err := os.Stat(filepath.Join(data+".failed", "PG_VERSION")); err != nil {
		t.Errorf("it was not moved aside: %v", err)
	}
	if _, last, err := OpenJournal(filepath.Dir(n.journal.path)); err != nil || last == nil || last.Task != ha.TaskBootstrap || last.Initialize != 7 {
		t.Errorf("the journal says %+v, %v", last, err)
	}
}
