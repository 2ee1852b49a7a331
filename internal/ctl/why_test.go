package ctl

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha"
	"tamada/internal/ledger"
)

// primaryDoc is pg-a's status when it has written 1000 bytes more than readyDoc
// has received.
const primaryDoc = `{"state":"running","role":"primary","server_version":150018,"timeline":1,"xlog":{"location":134218728}}`

const (
	noFailover  = `{"state":"running","role":"replica","timeline":1,"tags":{"nofailover":true},"xlog":{"received_location":134217728,"replayed_location":134217728}}`
	emptyLedger = `{"name":"x","more":false,"entries":[]}`
)

// ledgers are requests for the ledgers of members.
func ledgersOf(answers ...string) []exchange {
	var list []exchange
	for i := 0; i+1 < len(answers); i += 2 {
		list = append(list, exchange{"GET " + answers[i] + " /tamada/ledger", 200, answers[i+1], ""})
	}
	return list
}

// line is an entry as it stands in a ledger.
func line(at, node, rest string) string {
	return fmt.Sprintf(`{"at":"2031-05-06T%sZ","boot":1,"node":"%s",%s}`, at, node, rest)
}

func page(more bool, lines ...string) string {
	return fmt.Sprintf(`{"name":"x","more":%v,"entries":[%s]}`, more, strings.Join(lines, ","))
}

func whyBench(f *fakes) *bench {
	b := f.bench()
	b.program = "tamada"
	return b
}

func TestWhyIfDiesAsksEveryMemberAndTheLedgers(t *testing.T) {
	t.Parallel()
	script := append(asks("pg-b", readyDoc, "pg-c", noFailover, "pg-a", primaryDoc), ledgersOf("pg-a",
		page(false, line("07:00:00", "pg-a", `"kind":"task","what":"promote","took":0.25`)), "pg-b", emptyLedger)...)
	script = append(script, exchange{"GET pg-c /tamada/ledger", 404, "", ""})
	b := whyBench(fake(t, "77", nil, nil, script...))
	b.args(t, "why if-dies pg-a", 0, "pg-b would take over, 27.0 s to 30.0 s after the death of pg-a, when its lease has run out; the last promotion took 250 ms.",
		"Up to 1000 bytes of WAL that only pg-a has would be lost (it has written up to 0/80003E8, pg-b is at 0/8000000).",
		"pg-c would not: this member is tagged nofailover", "| pg-b   | replica |")
}

// args runs a command and looks for texts in its output.
func (b *bench) args(t *testing.T, command string, code int, parts ...string) result {
	t.Helper()
	r := b.run(t, strings.Fields(command)...)
	if r.code != code {
		t.Errorf("%s: exit code %d, want %d\n%s%s", command, r.code, code, r.stdout, r.stderr)
	}
	for _, p := range parts {
		if !strings.Contains(r.stdout+r.stderr, p) {
			t.Errorf("%s: %q is not in the output:\n%s%s", command, p, r.stdout, r.stderr)
		}
	}
	return r
}

func TestWhySwitchoverAsJSON(t *testing.T) {
	t.Parallel()
	b := whyBench(fake(t, "77", nil, nil, asks("pg-b", laggingOf, "pg-c", noFailover, "pg-a", primaryDoc)...))
	r := b.args(t, "why switchover -f json", 0)
	doc, err := cluster.ParseObject([]byte(r.stdout))
	if err != nil {
		t.Fatalf("%v\n%s", err, r.stdout)
	}
	if doc.Value("possible") != false || !strings.Contains(r.stdout, "Member pg-b exceeds maximum replication lag") || !strings.Contains(r.stdout, "Member pg-c is not allowed to promote") {
		t.Error(r.stdout)
	}
}

// TestWhyLeaderReadsBackToTheChange: the newest page of pg-a does not reach it.
func TestWhyLeaderReadsBackToTheChange(t *testing.T) {
	t.Parallel()
	changed := func(node string) string {
		return line("06:59:00", node, `"kind":"leader","what":"changed","before":"pg-b"`)
	}
	took := line("06:59:01", "pg-a", `"kind":"lease","what":"acquired"`)
	early := line("06:00:00", "pg-b", `"kind":"lease","what":"acquired"`)
	asked := line("06:58:59", "pg-b", `"kind":"agent","what":"asked to end"`)
	script := ledgersOf("pg-a", page(true, line("07:00:00", "pg-a", `"kind":"wait","what":"Wait","why":"no action. I am (pg-a), the leader with the lock"`)),
		"pg-b", page(false, early, asked), "pg-c", page(false, changed("pg-c")))
	script = append(script, ledgersOf("pg-a", page(false, changed("pg-a"), took))...)
	b := whyBench(fake(t, "77", nil, nil, script...))
	b.args(t, "why leader", 0, "pg-a has led since 2031-05-06 06:59:01.000 +00:00; before that pg-b led.", "The agent of pg-b was asked to end at 06:58:59.000",
		"| 06:59:01.000 | pg-a   | has the leader key")
}

// TestWhyReadsTheLedgerOfThisNodeFromItsFile: its agent need not run.
func TestWhyReadsTheLedgerOfThisNodeFromItsFile(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	w := ledger.Open(state, "pg-b", slog.New(slog.NewTextHandler(io.Discard, nil)))
	w.Add(time.Date(2031, 5, 6, 7, 0, 0, 0, time.UTC), 0, ha.Record{Kind: ha.RecordTask, What: "bootstrap from leader 'pg-a'", Error: "no space left on device"})
	w.Close()
	script := append(ledgersOf("pg-a", emptyLedger, "pg-c", emptyLedger), asks("pg-b", noXlog, "pg-c", readyDoc, "pg-a", primaryDoc)...)
	b := whyBench(fake(t, "77", nil, nil, script...))
	b.config += "name: pg-b\nstate_dir: " + state + "\n"
	b.args(t, "why member pg-b", 0, "pg-b does not stream.", `its state is "creating replica"`, "has failed: bootstrap from leader 'pg-a' (0 ms): no space left on device.",
		"If pg-a died now, pg-b would not be promoted: its PostgreSQL does not answer (state creating replica).")
}

func TestWhyRefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	for command, c := range map[string]struct {
		code int
		says string
	}{
		"why if-dies pg-x":        {1, "There is no member pg-x in cluster batman"},
		"why leader --at someday": {1, "Unable to parse the time someday."},
		"why what":                {2, "No such question 'what'."},
		"why if-dies":             {2, "Missing argument 'MEMBER_NAME'."},
		"why leader -f tsv":       {2, "'tsv' is not one of 'pretty', 'json'."},
		"why":                     {0, "What would happen if a member died this second?"},
		"why if-dies --help":      {0, "tamada why if-dies pg-a -f json"},
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			whyBench(fake(t, "77", nil, nil)).args(t, command, c.code, c.says)
		})
	}
}

func TestWhyMemberThatNobodyKnowsIsRefused(t *testing.T) {
	t.Parallel()
	b := whyBench(fake(t, "77", nil, nil, ledgersOf("pg-a", emptyLedger, "pg-b", emptyLedger, "pg-c", emptyLedger)...))
	b.args(t, "why member pg-x", 1, "Error: There is no member pg-x in cluster batman, and no ledger knows one")
}

func TestWhyIsNotACommandOfTheReferencesTool(t *testing.T) {
	t.Parallel()
	fake(t, "77", nil, nil).bench().args(t, "why leader", 2, "No such command 'why'.")
}
