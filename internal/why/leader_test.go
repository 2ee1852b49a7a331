package why

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tamada/internal/ha"
	"tamada/internal/ledger"
)

var update = flag.Bool("update", false, "write what the recorded ledgers tell to testdata")

// recorded are the ledgers of real nodes, kept in a folder of testdata.
func recorded(t *testing.T, name string) Ledgers {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", name, "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	var all [][]ledger.Entry
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var lines []json.RawMessage
		for _, l := range bytes.Split(bytes.TrimSpace(b), []byte{'\n'}) {
			lines = append(lines, l)
		}
		all = append(all, ledger.Decode(lines))
	}
	return Ledgers{Entries: ledger.Merge(all...)}
}

// transcript is a story as the command prints it, its table with bars.
func transcript(s *Story) string {
	var b strings.Builder
	for _, a := range s.Answer {
		fmt.Fprintln(&b, a)
	}
	for _, r := range s.Facts.Rows {
		fmt.Fprintln(&b, "  "+strings.Join(r, " | "))
	}
	return b.String()
}

// TestRecordedLedgersTellEachChange: three nodes, of whom n3 is tagged nofailover.
// n1 made the cluster and died, n2 took over, an operator moved the leader to n1,
// and n1's agent was stopped.
func TestRecordedLedgersTellEachChange(t *testing.T) {
	t.Parallel()
	l := recorded(t, "changes")
	var got strings.Builder
	at := time.Time{}
	for range 5 {
		s := Leader(l, at)
		fmt.Fprintf(&got, "# why leader --at %s\n%s\n", l.date(at), transcript(s))
		since, _ := s.Values.String("since")
		from, _ := time.Parse(time.RFC3339Nano, since)
		at = from.Add(-time.Millisecond)
	}
	golden := filepath.Join("testdata", "changes", "leader.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the story is another one than in %s:\n%s", golden, got.String())
	}
}

// Without the ledger of the old leader the others tell what they saw.
func TestStoryWithoutTheOldLeadersLedger(t *testing.T) {
	t.Parallel()
	l := recorded(t, "changes")
	var rest []ledger.Entry
	for _, e := range l.Entries {
		if e.Node != "n1" {
			rest = append(rest, e)
		}
	}
	l.Entries, l.Missing = rest, map[string]string{"n1": "connection refused"}
	s := Leader(l, time.Time{})
	text := transcript(s)
	for _, part := range []string{"n2 has led since", "before that n1 led", "n1 did not give the leader key up as far as others can tell",
		"The ledger of n1 could not be read (connection refused)"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in the story:\n%s", part, text)
		}
	}
}

// A clockwork of ledgers for the tables: n1 leads from second 0 on.
type script struct{ entries []ledger.Entry }

var midnight = time.Date(2031, 5, 6, 0, 0, 0, 0, time.UTC)

func (s *script) add(second float64, node string, r ha.Record) *script {
	if r.Facts == nil {
		r.Facts = &ha.Facts{TTL: 20}
	}
	s.entries = append(s.entries, ledger.Entry{At: midnight.Add(time.Duration(second * float64(time.Second))), Node: node, Record: r})
	return s
}

func led() *script {
	s := &script{}
	s.add(0, "n1", ha.Record{Kind: ha.RecordLease, What: "acquired"})
	s.add(0.1, "n1", ha.Record{Kind: ha.RecordWait, What: "Wait", Why: "no action. I am (n1), the leader with the lock"})
	return s
}

// taken: n2 has the key at a second, after it was gone for half a second.
func (s *script) taken(second float64) Ledgers {
	s.add(second-0.5, "n2", ha.Record{Kind: ha.RecordLeader, What: "changed", Before: "n1"})
	s.add(second-0.5, "n3", ha.Record{Kind: ha.RecordLeader, What: "changed", Before: "n1"})
	s.add(second-0.1, "n2", ha.Record{Kind: ha.RecordDecision, What: "AcquireLeader", Facts: &ha.Facts{LSN: "0/50", Peers: []ha.PeerFact{{Name: "n3", LSN: "0/40"}}}})
	s.add(second, "n2", ha.Record{Kind: ha.RecordLease, What: "acquired"})
	s.add(second+0.2, "n2", ha.Record{Kind: ha.RecordTask, What: "promote", Took: 0.2})
	return Ledgers{Entries: ledger.Merge(s.entries)}
}

func TestCauseOfTheEndOfALeadersTime(t *testing.T) {
	t.Parallel()
	r := func(k ha.RecordKind, what, why string) ha.Record { return ha.Record{Kind: k, What: what, Why: why} }
	demote := func(action, line string) ha.Record {
		return ha.Record{Kind: ha.RecordDecision, What: "Demote", Action: action, Why: line, Facts: &ha.Facts{TTL: 20, Failover: &ha.FailoverFact{Leader: "n1", Candidate: "n2"}}}
	}
	for name, c := range map[string]struct {
		end   func(*script)
		cause string
		says  string
	}{
		"switchover": {func(s *script) {
			s.add(99, "n3", ha.Record{Kind: ha.RecordRequest, What: "accepted", Action: "switchover", Notes: []string{"asked from 10.0.0.9:5"}})
			s.entries[len(s.entries)-1].Facts = nil
			s.add(99.1, "n1", demote("switchover", "switchover: demoting myself"))
		}, "request", "An operator asked for a switchover to n2 (asked from 10.0.0.9:5 at 00:01:39.000 by the API of n3); n1 stopped its PostgreSQL for it at 00:01:39.100."},
		"failover": {func(s *script) { s.add(99, "n1", demote("manual failover", "")) }, "request", "An operator asked for a manual failover to n2; n1"},
		"stopped": {func(s *script) {
			s.add(99, "n1", r(ha.RecordAgent, "asked to end", ""))
			s.add(99.5, "n1", r(ha.RecordDecision, "ReleaseLeader", "another member has everything"))
		}, "stopped", "The agent of n1 was asked to end at 00:01:39.000"},
		"fenced": {func(s *script) {
			s.add(99, "n1", r(ha.RecordGuardian, "fenced", "the guardian killed PostgreSQL 3ms after the lease's deadline, which the agent had not moved"))
		}, "fenced", "at 00:01:39.000 the guardian killed PostgreSQL 3ms after"},
		"store away": {func(s *script) {
			s.add(80, "n1", r(ha.RecordStore, "failed", "renewal of the lease: no leader in etcd"))
			s.add(98, "n1", r(ha.RecordLease, "lost", "the lease could not be renewed before its deadline"))
			s.add(98.1, "n1", demote("offline", "demoted self because DCS is not accessible and I was a leader"))
		}, "lease lost", "n1 lost its lease at 00:01:38.000: the lease could not be renewed before its deadline. Before that, the store failed: renewal of the lease: no leader in etcd."},
		"crash": {func(s *script) {
			s.add(98, "n1", r(ha.RecordPostgres, "exited", ""))
			s.add(98.1, "n1", ha.Record{Kind: ha.RecordTask, What: "starting primary after failure", Error: "disk full"})
			s.add(98.2, "n1", r(ha.RecordDecision, "ReleaseLeader", "failed to start postgres"))
			s.add(98.3, "n1", ha.Record{Kind: ha.RecordLease, What: "lost", Why: "the leader key was released"})
		}, "released", "n1 gave the leader key up at 00:01:38.200: failed to start postgres. Before that, PostgreSQL ended by itself and starting primary after failure failed: disk full."},
		"dead": {func(s *script) { s.add(110, "n1", r(ha.RecordAgent, "begins", "Tamada")) },
			"silence", "its agent was dead. It began again at 00:01:50.000."},
		"frozen": {func(s *script) { s.add(110, "n1", r(ha.RecordLeader, "changed", "")) },
			"silence", "its agent wrote nothing until 00:01:50.000, so it was frozen or cut off."},
		"gone for good": {func(*script) {}, "silence", "its agent has written nothing since 00:00:00.100. It was dead, frozen or cut off."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc := led()
			c.end(sc)
			s := Leader(sc.taken(100), time.Time{})
			if s.Values.Value("cause") != c.cause || s.Values.Value("leader") != "n2" || s.Values.Value("before") != "n1" {
				t.Errorf("cause %v, leader %v, before %v; want %s", s.Values.Value("cause"), s.Values.Value("leader"), s.Values.Value("before"), c.cause)
			}
			if text := transcript(s); !strings.Contains(text, c.says) {
				t.Errorf("%q is not in the story:\n%s", c.says, text)
			}
			if text := transcript(s); !strings.Contains(text, "n2 took the leader key at 00:01:40.000, because nobody was ahead of it (n3 at 0/40, it at 0/50); its promotion took 200 ms.") {
				t.Errorf("how n2 came to lead is not in the story:\n%s", text)
			}
		})
	}
}

func TestWhyTheOthersWereNotPromoted(t *testing.T) {
	t.Parallel()
	for want, then := range map[string]func(*script){
		"Wal position of n2 is ahead of my wal position": func(s *script) {
			s.add(99.8, "n3", ha.Record{Kind: ha.RecordRefusal, What: "Wait", Notes: []string{"Wal position of n2 is ahead of my wal position"}})
		},
		"it tried as well, and n2 was first": func(s *script) {
			s.add(99.95, "n3", ha.Record{Kind: ha.RecordDecision, What: "AcquireLeader"})
			s.add(100.05, "n3", ha.Record{Kind: ha.RecordRefusal, What: "AcquireLeader", Notes: []string{"another member took the leader key first"}})
		},
		"it still waited for the answer of n1 and n2 when n2 took the key": func(s *script) {
			s.add(100.01, "n3", ha.Record{Kind: ha.RecordLeader, What: "changed", Member: "n2", Facts: &ha.Facts{Asking: []string{"n1", "n2"}}})
		},
		"it was busy: reinitialize": func(s *script) {
			s.add(100.01, "n3", ha.Record{Kind: ha.RecordLeader, What: "changed", Member: "n2", Facts: &ha.Facts{Task: "reinitialize"}})
		},
		"n2 was the one asked for": func(s *script) {
			s.add(100.01, "n3", ha.Record{Kind: ha.RecordLeader, What: "changed", Member: "n2", Facts: &ha.Facts{Failover: &ha.FailoverFact{Candidate: "n2"}}})
		},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			sc := led()
			then(sc)
			s := Leader(sc.taken(100), time.Time{})
			if got, _ := s.Values.Object("others").String("n3"); got != want {
				t.Errorf("n3: %q, want %q", got, want)
			}
		})
	}
}

func TestLeaderThatTookItsOwnKeyAgainIsAChange(t *testing.T) {
	t.Parallel()
	sc := led()
	sc.add(50, "n1", ha.Record{Kind: ha.RecordLease, What: "lost", Why: "the lease could not be renewed before its deadline"})
	sc.add(60, "n1", ha.Record{Kind: ha.RecordLease, What: "acquired"})
	s := Leader(Ledgers{Entries: sc.entries}, time.Time{})
	if text := transcript(s); s.Values.Value("leader") != "n1" || !strings.Contains(text, "n1 lost its lease at 00:00:50.000") {
		t.Error(text)
	}
}

// TestClocksThatDifferDoNotInventChanges: n3's clock is a second behind, so it
// sees the old leader after the new one took the key.
func TestClocksThatDifferDoNotInventChanges(t *testing.T) {
	t.Parallel()
	sc := led()
	sc.add(100.5, "n3", ha.Record{Kind: ha.RecordLeader, What: "changed", Member: "n1", Why: "the first look at the store"})
	sc.add(101, "n3", ha.Record{Kind: ha.RecordLeader, What: "changed", Member: "n2", Before: "n1"})
	l := sc.taken(100)
	all := l.tenures()
	if len(all) != 2 || all[1].leader != "n2" || !all[1].own {
		t.Errorf("%+v", all)
	}
}

func TestEmptyLedgersSaySo(t *testing.T) {
	t.Parallel()
	s := Leader(Ledgers{Missing: map[string]string{"n1": "connection refused"}}, time.Time{})
	if text := transcript(s); !strings.Contains(text, "No ledger that could be read") || !strings.Contains(text, "connection refused") {
		t.Error(text)
	}
}

// TestReachIsKnownOnlyWithTheLeaderBefore: it tells the command how far back to
// read.
func TestReachIsKnownOnlyWithTheLeaderBefore(t *testing.T) {
	t.Parallel()
	sc := led()
	if _, known := Reach(Ledgers{Entries: sc.entries}, time.Time{}); known {
		t.Error("known with one leader only")
	}
	back, known := Reach(sc.taken(100), time.Time{})
	if !known || !back.Before(midnight.Add(100*time.Second-before)) {
		t.Errorf("%v %v", back, known)
	}
}
