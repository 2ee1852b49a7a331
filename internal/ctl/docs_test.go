package ctl

import (
	"os"
	"strings"
	"testing"
)

// Every command in docs/cli.md is run: those that change something with
// --dry-run, those that need a PostgreSQL or a shell as far as their options go.
func TestCommandsInTheDocs(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.SplitSeq(string(data), "\n") {
		command, ok := strings.CutPrefix(line, "    tamada ")
		if !ok {
			continue
		}
		n++
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			var args []string
			for _, w := range word.FindAllString(command, -1) {
				args = append(args, strings.Trim(w, "'"))
			}
			f := fake(t, "pending-restart", nil, nil, exchange{request: "any", code: 200, answer: readyDoc})
			b := f.bench()
			b.program, b.stores["orders"] = "tamada", f.store
			b.environ = []string{"EDITOR=true"}
			root := Root(Deps{Program: "tamada"})
			c, _, err := root.Find(args)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case c.Name() == "query", strings.Contains(command, " -W"):
				if err := c.ParseFlags(args[1:]); err != nil {
					t.Error(err)
				}
				return
			case c.Flags().Lookup("dry-run") != nil && args[len(args)-1] != "--dry-run":
				args = append(args, "--dry-run")
			}
			switch c.Name() { // what is asked for must be there
			case "resume":
				b.stores["batman"] = fake(t, "paused", nil, nil, exchange{request: "any", code: 200, answer: readyDoc}).store
			case "flush":
				b.stores["orders"] = atRevision(t, 80)
			}
			if r := b.run(t, args...); r.code != 0 {
				t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
			}
		})
	}
	if n < 25 {
		t.Errorf("only %d commands were found", n)
	}
}
