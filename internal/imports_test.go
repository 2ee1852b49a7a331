package internal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers are the packages from the lowest to the highest; those in one line may
// not import each other. A package imports only what stands above its own line
// (docs/dev.md, "Packages").
var layers = [][]string{
	{"cluster", "testport"},
	{"config"},
	{"logging"},
	{"dcs"},
	{"postgres"},
	{"setup"},
	{"ha"},
	{"watchdog"},
	{"guardian", "ledger"},
	{"agent"},
	{"router", "routing"},
	{"rest", "why"},
	{"dashboard"},
	{"node"},
	{"sim"},
	{"demo", "ctl"},
}

// pure packages decide and do nothing else: no I/O, no goroutine, no clock, no
// logger. The value is what they may import of our own, besides themselves.
var pure = map[string][]string{
	"cluster": {},
	"ha":      {"cluster"},
	"agent":   {"cluster", "dcs", "ha"}, // of dcs the root only: types and errors
	"why":     {"cluster", "ha", "ledger"},
}

// pureImports is what pure packages may import of the standard library. Package
// time is for durations and points in time that come from outside.
var pureImports = []string{"bytes", "cmp", "encoding/json", "errors", "fmt", "io", "iter", "maps", "math", "math/bits", "net/netip",
	"net/url", "regexp", "slices", "sort", "strconv", "strings", "time", "unicode", "unicode/utf8"}

// clock is what package time must not be used for there.
var clock = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}

// light packages run in the guardian, or in processes that must stay small; the
// value is every package they may import that is not of the standard library.
var light = map[string][]string{
	"postgres/proc": {"golang.org/x/sys/unix"},
}

const prefix = "tamada/internal/"

// A source is one file that is not a test.
type source struct {
	file string
	pkg  string // relative to internal
	ast  *ast.File
	set  *token.FileSet
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "testdata":
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") || path.Dir(file) == ".":
			return nil
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		all = append(all, source{file, path.Dir(filepath.ToSlash(file)), f, set})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found only %d files", len(all))
	}
	return all
}

func (s source) imports() (paths []string) {
	for _, i := range s.ast.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		paths = append(paths, p)
	}
	return paths
}

// layer is the height of a package, by the first part of its path.
func layer(pkg string) int {
	top, _, _ := strings.Cut(pkg, "/")
	return slices.IndexFunc(layers, func(names []string) bool { return slices.Contains(names, top) })
}

func top(pkg string) string {
	t, _, _ := strings.Cut(pkg, "/")
	return t
}

func TestImportsGoDownwards(t *testing.T) {
	for _, s := range sources(t) {
		if layer(s.pkg) < 0 {
			t.Errorf("%s: package %s has no layer; give it one in this test", s.file, s.pkg)
		}
		for _, p := range s.imports() {
			own, ok := strings.CutPrefix(p, prefix)
			if ok && top(own) != top(s.pkg) && layer(own) >= layer(s.pkg) {
				t.Errorf("%s: %s must not import %s, which is not below it", s.file, s.pkg, own)
			}
			if strings.HasPrefix(p, "tamada/cmd") || strings.HasPrefix(p, "tamada/test") {
				t.Errorf("%s: imports %s", s.file, p)
			}
		}
	}
}

func TestPurePackagesArePure(t *testing.T) {
	for _, s := range sources(t) {
		allowed, ok := pure[top(s.pkg)]
		if !ok {
			continue
		}
		for _, p := range s.imports() {
			own, isOwn := strings.CutPrefix(p, prefix)
			switch {
			case isOwn && own == "postgres/control": // formats, text in and values out; see its doc.go
			case isOwn && (top(own) == top(s.pkg) || slices.Contains(allowed, top(own)) && (top(own) != "dcs" || own == "dcs")):
			case slices.Contains(pureImports, p):
			default:
				t.Errorf("%s: package %s is pure and must not import %s", s.file, s.pkg, p)
			}
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: package %s is pure and starts a goroutine", s.set.Position(n.Pos()), s.pkg)
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, n.Sel.Name) {
					t.Errorf("%s: package %s is pure and uses time.%s", s.set.Position(n.Pos()), s.pkg, n.Sel.Name)
				}
			}
			return true
		})
	}
}

func TestLightPackagesAreLight(t *testing.T) {
	for _, s := range sources(t) {
		allowed, ok := light[s.pkg]
		for _, p := range s.imports() {
			host, _, _ := strings.Cut(p, "/")
			standard := !strings.Contains(host, ".") && host != "tamada"
			if ok && !standard && !slices.Contains(allowed, p) {
				t.Errorf("%s: package %s must stay light and imports %s", s.file, s.pkg, p)
			}
		}
	}
}

// TestWalkthroughNamesWhatThereIs: docs/walkthrough.md leads through the code by
// the names of files and functions.
func TestWalkthroughNamesWhatThereIs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/walkthrough.md")
	if err != nil {
		t.Fatal(err)
	}
	places := regexp.MustCompile("`([a-z0-9/]+\\.go):(\\w+)`").FindAllStringSubmatch(string(text), -1)
	if len(places) < 30 {
		t.Fatalf("only %d places are found", len(places))
	}
	for _, p := range places {
		code, err := os.ReadFile(p[1])
		if err != nil {
			t.Error(err)
			continue
		}
		if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + p[2] + `\(`).Match(code) {
			t.Errorf("docs/walkthrough.md: %s has no function %s", p[1], p[2])
		}
	}
}
