//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPatroniArguments(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]patroniArguments{
		"":                                {},
		"x.yml":                           {path: "x.yml"},
		"--validate-config -ip x.yml":     {mode: "--validate-config", ignorePort: true, print: true, path: "x.yml"},
		"--valid -i --pr x.yml":           {mode: "--validate-config", ignorePort: true, print: true, path: "x.yml"},
		"x.yml --ignore --validate-c":     {mode: "--validate-config", ignorePort: true, path: "x.yml"},
		"--generate-c --dsn host=/x f":    {mode: "--generate-config", dsn: "host=/x", path: "f"},
		"--generate-s --dsn=host=/x":      {mode: "--generate-sample-config", dsn: "host=/x"},
		"--validate-config --valid x.yml": {mode: "--validate-config", path: "x.yml"},
		"--vers":                          {version: true},
		"-h":                              {help: true},
	} {
		if got, err := parsePatroni(strings.Fields(line)); err != nil || got != want {
			t.Errorf("%s: %+v %v", line, got, err)
		}
	}
	for line, want := range map[string]string{
		"--generate x":                        "ambiguous option: --generate could match --generate-sample-config, --generate-config",
		"--validate-config --generate-config": "argument --generate-config: not allowed with argument --validate-config",
		"--foo":                               "unrecognized arguments: --foo",
		"-x":                                  "unrecognized arguments: -x",
		"a b":                                 "unrecognized arguments: b",
		"--dsn":                               "argument --dsn: expected one argument",
		"--validate-config=1":                 "argument --validate-config: ignored explicit argument '1'",
	} {
		if _, err := parsePatroni(strings.Fields(line)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}

// What cannot be loaded says so in the reference's words, and nothing else is said.
func TestStrictValidationOfWhatCannotBeLoaded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"list.yml": "- a\n", "empty.yml": "", "folder/1.yml": "scope: a\n", "folder/2.yml": "[]\n", "text.yml": "scope: a: b\n"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"list.yml":  "list.yml:1:1: does not contain a dict (a line is \"key: value\", with a blank behind the colon)\ninvalid config file list.yml\n",
		"folder":    "folder/2.yml:1:1: does not contain a dict (a line is \"key: value\", with a blank behind the colon)\ninvalid config file folder/2.yml\n",
		"empty.yml": "Config is empty.\n",
		"text.yml":  "text.yml:1:1: the YAML cannot be read: mapping values are not allowed in this context (check the indentation; a text that contains \": \" must be quoted)\n",
	} {
		var out, problems bytes.Buffer
		code := validateStrictly(patroniArguments{mode: "--validate-config", path: filepath.Join(dir, name), print: true}, &out, &problems)
		if got := strings.ReplaceAll(problems.String(), dir+"/", ""); code != 1 || out.Len() > 0 || got != want {
			t.Errorf("%s: %d %q %q, want %q", name, code, out.String(), got, want)
		}
	}
}
