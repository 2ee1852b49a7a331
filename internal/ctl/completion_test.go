package ctl

import (
	"os/exec"
	"strings"
	"testing"
)

// TestCompletionScriptsForEachShell: the script of bash is also read by bash, if
// there is one; zsh and fish are judged by what such a script must have.
func TestCompletionScriptsForEachShell(t *testing.T) {
	t.Parallel()
	for shell, parts := range map[string][]string{
		"bash": {"complete -o default", "__start_tamada tamada", "_get_comp_words_by_ref"},
		"zsh":  {"#compdef tamada\n", "compdef _tamada tamada", "__complete"},
		"fish": {"complete -c tamada", "__complete"},
	} {
		b := fake(t, "77", nil, nil).bench()
		b.program = "tamada"
		r := b.run(t, "completion", shell)
		if r.code != 0 {
			t.Errorf("%s: exit code %d: %s", shell, r.code, r.stderr)
		}
		for _, p := range parts {
			if !strings.Contains(r.stdout, p) {
				t.Errorf("%s: the script lacks %q", shell, p)
			}
		}
		if path, err := exec.LookPath(shell); err == nil {
			cmd := exec.Command(path, "-n")
			cmd.Stdin = strings.NewReader(r.stdout)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s does not understand the script: %v\n%s", shell, err, out)
			}
		}
	}
}
