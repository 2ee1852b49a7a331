package setup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The examples in the documentation pass validation, on a machine that has the
// programs, folders and files that they name.
func TestExamplesAreValid(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("..", "..", "docs", "examples", "*.yml"))
	if err != nil || len(files) != 8 {
		t.Fatalf("%d examples: %v", len(files), err)
	}
	bin := fakeBin(t, append(neededPrograms, "pg_rewind")...)
	tls := t.TempDir()
	for _, f := range []string{"ca.crt", "db1.crt", "db1.key"} {
		if err := os.WriteFile(filepath.Join(tls, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		here := strings.NewReplacer("/usr/lib/postgresql/17/bin", bin, "/etc/tamada/tls", tls).Replace(string(text))
		path := filepath.Join(t.TempDir(), filepath.Base(f))
		if err := os.WriteFile(path, []byte(here), 0o600); err != nil {
			t.Fatal(err)
		}
		r := Validate([]string{path}, nil, ValidateOptions{IgnoreListenPort: true})
		for _, p := range r.Errors {
			t.Errorf("%s: %s", filepath.Base(f), p)
		}
		for _, p := range r.Warnings {
			if !strings.Contains(p.Text, "not supported yet") && !strings.Contains(p.Text, "reaches only this machine") {
				t.Errorf("%s: %s", filepath.Base(f), p)
			}
		}
	}
}
