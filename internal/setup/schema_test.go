package setup

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tamada/internal/config"
)

// The file is written by running this test with UPDATE=1.
func TestSchemaInTheRepositoryIsCurrent(t *testing.T) {
	t.Parallel()
	file := filepath.Join("..", "..", filepath.FromSlash(SchemaFile))
	want := Schema()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != want {
		t.Errorf("%s is not current (%v): run UPDATE=1 go test ./internal/setup -run Schema", SchemaFile, err)
	}
}

// Every key of the table is in the schema, at its place, with its meaning.
func TestSchemaHasEveryKey(t *testing.T) {
	t.Parallel()
	var root map[string]any
	if err := json.Unmarshal([]byte(Schema()), &root); err != nil {
		t.Fatal(err)
	}
	defs := root["$defs"].(map[string]any)
	find := func(o map[string]any, path string) map[string]any {
		for name := range strings.SplitSeq(path, ".") {
			if r, ok := o["$ref"].(string); ok {
				o = defs[strings.TrimPrefix(r, "#/$defs/")].(map[string]any)
			}
			p, _ := o["properties"].(map[string]any)
			next, ok := p[name].(map[string]any)
			if a, isMap := o["additionalProperties"].(map[string]any); !ok && isMap {
				next = a
			}
			if next == nil {
				return nil
			}
			o = next
		}
		return o
	}
	for _, k := range config.Keys() {
		if strings.HasSuffix(k.Path, ".*") || strings.HasPrefix(k.Path, "slots.*") {
			continue
		}
		roots := []map[string]any{}
		if k.Place&config.Local != 0 {
			roots = append(roots, root)
		}
		if k.Place&config.Dynamic != 0 {
			roots = append(roots, defs["dynamic"].(map[string]any))
		}
		for _, r := range roots {
			s := find(r, k.Path)
			if s == nil || s["$ref"] == nil && s["description"] == nil {
				t.Errorf("%s is not in the schema: %v", k.Path, s)
			}
		}
	}
}

func TestKeyListInTheDocumentationIsCurrent(t *testing.T) {
	t.Parallel()
	file := filepath.Join("..", "..", "docs", "configuration.md")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "<!-- keys: made by UPDATE=1 go test ./internal/setup -run KeyList -->\n"
	before, _, ok := strings.Cut(string(b), mark)
	if !ok {
		t.Fatalf("%s has no mark", file)
	}
	want := before + mark + "\n" + KeyList()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(b) != want {
		t.Errorf("%s is not current: run UPDATE=1 go test ./internal/setup -run KeyList", file)
	}
}
