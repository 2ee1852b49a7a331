package testport

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func TestNoPortIsGivenTwice(t *testing.T) {
	seen := map[int]bool{}
	take := func(p int) {
		t.Helper()
		if seen[p] || p <= lowest || p >= highest {
			t.Errorf("port %d: given before: %v", p, seen[p])
		}
		seen[p] = true
	}
	for range 3 {
		first := Range(t, 100)
		for i := range 100 {
			take(first + i)
		}
		for _, p := range Free(t, 30) {
			take(p)
		}
	}
	// Another process that asks at the same time gets others, also those that we
	// were given and do not listen on.
	other := exec.Command(os.Args[0], "-test.run", "^TestOther$", "-test.v")
	other.Env = append(os.Environ(), "TESTPORT_OTHER=yes")
	out, err := other.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := 0
	for line := range strings.Lines(string(out)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "port "); ok {
			p, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			take(p)
			got++
		}
	}
	if got != 200 {
		t.Errorf("the other process told of %d ports:\n%s", got, out)
	}
}

// TestOther is the other process.
func TestOther(t *testing.T) {
	if os.Getenv("TESTPORT_OTHER") == "" {
		t.Skip("of TestNoPortIsGivenTwice")
	}
	for _, p := range Free(t, 200) {
		os.Stdout.WriteString("port " + strconv.Itoa(p) + "\n")
	}
}

func TestAPortInUseIsPassedOver(t *testing.T) {
	next := Free(t, 1)[0] + 1
	l, err := listen(next)
	if err != nil {
		t.Skip("somebody listens on ", next)
	}
	defer l.Close()
	if got := Range(t, 2); got <= next {
		t.Errorf("got %d, and %d is in use", got, next)
	}
}
