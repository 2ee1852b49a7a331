package control

import (
	"os"
	"strings"
	"testing"

	"tamada/internal/cluster"
)

func TestParseDataReadsWhatPostgreSQLWrites(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/pg_controldata.15")
	if err != nil {
		t.Fatal(err)
	}
	d := ParseData(string(text))
	if d.State != StateShutDown || d.SystemIdentifier != "7711142797804111785" || d.Checkpoint == 0 || d.CheckpointTLI != 1 ||
		!strings.HasPrefix(d.RedoWALFile, "00000001") || d.MinRecoveryEnd != 0 || d.MinRecoveryEndTLI != 0 || !d.Checksums ||
		d.WALLogHints || d.BackupPending {
		t.Errorf("%+v", d)
	}
	for guc, want := range map[string]int{"max_connections": 100, "max_prepared_transactions": 0, "max_locks_per_transaction": 64,
		"max_worker_processes": 8, "max_wal_senders": 10} {
		if d.Limits[guc] != want {
			t.Errorf("%s = %d, want %d", guc, d.Limits[guc], want)
		}
	}
	binary, err := os.ReadFile("testdata/pg_control.15")
	if err != nil {
		t.Fatal(err)
	}
	h, ok := ParseHead(binary)
	if !ok || h.State != d.State || h.SystemIdentifier != 7711142797804111785 || h.ControlVersion != 1300 || h.CheckpointTLI != d.CheckpointTLI {
		t.Errorf("%+v %v", h, ok)
	}
}

func TestParseDataIgnoresForeignLinesAndThePrefixCurrent(t *testing.T) {
	t.Parallel()
	d := ParseData("WARNING no colon here\nCurrent max_connections setting: 7\nDatabase cluster state:   in production\nBackup start location: 0/28\n")
	if d.Limits["max_connections"] != 7 || d.State != StateInProduction || !d.BackupPending || d.Checkpoint != 0 {
		t.Errorf("%+v", d)
	}
	if _, known := d.Limits["max_wal_senders"]; known {
		t.Error("an absent limit is known")
	}
}

const shutdown15 = "rmgr: XLOG        len (rec/tot):    114/   114, tx:          0, lsn: 0/017414F8, prev 0/017414B0, desc: CHECKPOINT_SHUTDOWN redo 0/17414F8; tli 1; prev tli 1; fpw true; oldest running xid 0; shutdown\n"

func TestShutdownCheckpointRecord(t *testing.T) {
	t.Parallel()
	r, ok := ParseRecord(shutdown15)
	if !ok || r.Prev != 0x17414B0 || !r.ShutdownCheckpoint(0x17414F8) || r.ShutdownCheckpoint(0x17414B0) || r.WALSwitch() {
		t.Errorf("%+v %v", r, ok)
	}
	online, _ := ParseRecord(strings.Replace(strings.Replace(shutdown15, "; shutdown", "; online", 1), "_SHUTDOWN", "_ONLINE", 1))
	if online.ShutdownCheckpoint(0x17414F8) {
		t.Error("an online checkpoint is taken for a shutdown")
	}
	for _, desc := range []string{"SWITCH ", "xlog switch"} {
		if r, _ := ParseRecord("rmgr: XLOG len (rec/tot): 24/24, tx: 0, lsn: 0/01741488, prev 0/01741450, desc: " + desc); !r.WALSwitch() {
			t.Errorf("%q is not a switch", desc)
		}
	}
	if r, _ := ParseRecord("rmgr: Heap len (rec/tot): 24/24, tx: 0, lsn: 0/01741488, prev 0/01741450, desc: SWITCH"); r.WALSwitch() {
		t.Error("a switch of another resource manager")
	}
}

func TestRecordEnd(t *testing.T) {
	t.Parallel()
	const at = cluster.LSN(0x17414F8)
	for _, c := range []struct {
		name, out, err string
		want           cluster.LSN
	}{
		{"15", shutdown15, "pg_waldump: error: error in WAL record at 0/17414F8: invalid record length at 0/1741570: wanted 24, got 0\n", 0x1741570},
		{"16", shutdown15, "pg_waldump: error: error in WAL record at 0/17414F8: invalid record length at 0/1741570: expected at least 24, got 0\n", 0x1741570},
		{"19", shutdown15, "pg_waldump: error: error in WAL record at 0/017414F8: invalid record length at 0/01741570: expected at least 24, got 0\n", 0x1741570},
		{"another record follows", shutdown15 + shutdown15, "", 0},
		{"no error", shutdown15, "", 0},
		{"nothing", "", "pg_waldump: error: could not find a valid record after 0/17414F8\n", 0},
		{"error elsewhere", shutdown15, "error in WAL record at 0/17414F9: invalid record length at 0/1741570: wanted 24, got 0\n", 0},
	} {
		if got := RecordEnd(c.out, c.err, at); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestParseHistory(t *testing.T) {
	t.Parallel()
	list, bad := ParseHistory("1\t0/3000060\tno recovery target specified\n\n# comment\n2\t1/0\tbefore 2000-01-01\nx\ty\tz\n3 0/1 r\n")
	if len(list) != 2 || list[0] != (HistoryEntry{1, 0x3000060, "no recovery target specified"}) || list[1].LSN != 1<<32 || len(bad) != 2 {
		t.Errorf("%+v %q", list, bad)
	}
	if HistoryName(0x1a) != "0000001A.history" {
		t.Error(HistoryName(0x1a))
	}
	for name, want := range map[string]cluster.Timeline{"0000001A.history": 26, "1A.history": 0, "00000000.history": 0, "00000001": 0, "0000000G.history": 0} {
		if got, ok := HistoryTimeline(name); got != want || ok != (want != 0) {
			t.Errorf("%s: %d %v", name, got, ok)
		}
	}
}

func TestMissingWAL(t *testing.T) {
	t.Parallel()
	const out = `pg_rewind: error: could not open file "/data/pg_wal/000000010000000000000003": No such file or directory`
	if got := MissingWAL(out); got != "000000010000000000000003" {
		t.Error(got)
	}
	if got := MissingWAL(`could not open file "/data/base/1/2": No such file`); got != "" {
		t.Error(got)
	}
}

func FuzzHistory(f *testing.F) {
	f.Add("1\t0/3000060\tno recovery target specified\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, _ := ParseHistory(text)
		for _, e := range list {
			if e.Timeline == 0 {
				t.Error("timeline 0")
			}
		}
	})
}

func FuzzControl(f *testing.F) {
	f.Add("Database cluster state: shut down\n", []byte("12345678901234567890"))
	f.Fuzz(func(t *testing.T, text string, head []byte) {
		ParseData(text)
		ParseRecord(text)
		RecordEnd(text, text, 1)
		if h, ok := ParseHead(head); ok && h.State == "" {
			t.Error("no state")
		}
	})
}
