package sim

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTranscripts plays the files of testdata. A file is prose (#), commands
// (> verb arguments) and, below each command, exactly what happens: lines of the
// trace without the heartbeats. SIM_UPDATE=1 writes what happens into the files.
//
//	> cluster SEED [N]         a cluster of N (3) machines, and its first moments
//	> run DURATION             time passes
//	> fault KIND; ON; DURATION something goes wrong; ON is a machine or "leader"
//	> show                     what runs where
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if got == string(want) {
				return
			}
			if os.Getenv("SIM_UPDATE") != "" {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("something else happens (SIM_UPDATE=1 to accept it):\n%s", firstDifference(string(want), got))
		})
	}
}

func firstDifference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, a[i], b[i])
		}
	}
	return "one ends before the other"
}

// play runs a transcript and returns it with the output that really comes.
func play(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	var w *World
	in := bufio.NewScanner(strings.NewReader(text))
	for in.Scan() {
		line := in.Text()
		command, ok := strings.CutPrefix(line, "> ")
		switch {
		case ok:
			fmt.Fprintln(&out, line)
			w = perform(t, w, command, &out)
			if w.fatal != nil {
				t.Fatalf("%s: %s\n%s", w.fatal.Invariant, w.fatal.Text, w.lastLines())
			}
		case line == "" || strings.HasPrefix(line, "#"):
			fmt.Fprintln(&out, line)
		}
	}
	return out.String()
}

func perform(t *testing.T, w *World, command string, out *strings.Builder) *World {
	t.Helper()
	verb, rest, _ := strings.Cut(command, " ")
	switch verb {
	case "cluster":
		return newCluster(t, rest, out)
	case "run":
		d, err := time.ParseDuration(rest)
		if err != nil {
			t.Fatal(err)
		}
		end := w.now + d
		w.until(end)
		w.now = end
	case "fault":
		f := strings.Split(rest, "; ")
		d, err := time.ParseDuration(f[2])
		if err != nil {
			t.Fatal(err)
		}
		s := Step{Kind: f[0], For: d, Role: "same"}
		if w.scriptedOn = w.machine(f[1]); f[1] == "leader" {
			w.scriptedOn = w.machine(w.store.leader())
		}
		w.scripted(s)
	case "show":
		show(w, out)
	default:
		t.Fatalf("no such command: %s", verb)
	}
	return w
}

func newCluster(t *testing.T, arguments string, out *strings.Builder) *World {
	t.Helper()
	o, nodes := FromSeed(0), 3
	if _, err := fmt.Sscanf(arguments+" 3", "%d %d", &o.Seed, &nodes); err != nil {
		t.Fatal(err)
	}
	three(&o)
	o.Nodes, o.Pause, o.Faulty, o.CheckTimeline, o.MaximumLag, o.FollowRestarts = nodes, 0, time.Hour, false, 1<<20, false
	o.Local.UsePgRewind = true
	w := newWorld(o)
	last := map[string]string{}
	w.listen = func(who, text string) {
		if noise(text) || last[who] == text {
			return
		}
		last[who] = text
		fmt.Fprintf(out, "%-5s %s\n", who, text)
	}
	return w
}

// noise are lines that come again and again.
func noise(text string) bool {
	for _, s := range []string{"| no action.", "| Lock owner:", "in progress", "| updated leader lock", "task", "| DCS is not accessible", "| waiting for", "| continue to run"} {
		if strings.HasPrefix(text, s) || strings.HasPrefix(text, "|") && strings.HasSuffix(text, s) {
			return true
		}
	}
	return false
}

func show(w *World, out *strings.Builder) {
	for _, m := range w.machines {
		state := "stopped"
		switch {
		case !m.up:
			state = "machine down"
		case m.writable():
			state = "primary"
		case m.pg != nil && m.pg.stream != nil:
			state = "streams from " + m.pg.stream.name
		case m.pg != nil:
			state = "replica"
		}
		key := ""
		if w.store.leader() == m.name {
			key = ", has the leader key"
		}
		tli := 0
		if m.disk.present {
			tli = int(m.disk.at.br.tli)
		}
		fmt.Fprintf(out, "%-5s timeline %d, %s%s\n", m.name, tli, state, key)
	}
}
