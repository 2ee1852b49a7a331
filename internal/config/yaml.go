package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"tamada/internal/cluster"
)

// Bounds against hostile or mistaken input; aliases count each time they are
// used, so that a small file cannot grow without end.
const (
	maxYAMLDepth  = 100
	maxYAMLValues = 200_000
	maxYAMLBytes  = 4 << 20
)

// ParseYAML reads one YAML 1.1 document into the value types of
// [cluster.Object]; an empty one is nil. source names it in errors, which are
// of type [Errors].
func ParseYAML(source string, data []byte) (any, error) {
	p := parseYAML(source, data)
	if len(p.problems) > 0 {
		return nil, Errors(p.problems)
	}
	return p.value, nil
}

// parsed is a document and where each of its values stands.
type parsed struct {
	source   string
	value    any
	pos      map[string]Pos
	problems []Problem
	joined   []string // paths of texts that go on in a further line beginning with a dash
	// respelled are numbers that were written otherwise than they are, by path:
	// 0123 is 83.
	respelled map[string]string
	lines     [][]byte
	values    int
}

func parseYAML(source string, data []byte) (p *parsed) {
	p = &parsed{source: source, pos: map[string]Pos{}, respelled: map[string]string{}}
	if len(data) > maxYAMLBytes {
		p.add(Pos{Source: source}, "", fmt.Sprintf("is larger than %d bytes", maxYAMLBytes), "")
		return p
	}
	p.lines = bytes.Split(data, []byte("\n"))
	root, err := yamlNode(data)
	if err != nil {
		p.syntaxError(err)
		return p
	}
	if root != nil && len(root.Content) > 0 {
		p.value = p.convert(root.Content[0], "", 0)
	}
	return p
}

// yamlNode parses the text. A panic of the library is an error like any other:
// the text comes from outside.
func yamlNode(data []byte) (n *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			n, err = nil, errors.New("yaml: the text cannot be parsed")
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	n = &yaml.Node{}
	if err := dec.Decode(n); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, err
	}
	var second yaml.Node
	switch err := dec.Decode(&second); {
	case errors.Is(err, io.EOF):
		return n, nil
	case err != nil:
		return nil, err
	}
	return nil, fmt.Errorf("yaml: line %d: a second document begins, and only one is expected", second.Line)
}

func (p *parsed) add(pos Pos, path, text, hint string) {
	p.problems = append(p.problems, Problem{Pos: pos, Path: path, Text: text, Hint: hint})
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// syntaxError reports what the parser did not understand. The library gives a
// line at most; the column is where that line's text begins.
func (p *parsed) syntaxError(err error) {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = strings.TrimPrefix(err.Error(), m[0])
	}
	hint := ""
	lines := p.lines
	line = culprit(lines, err, line)
	// The reported line may be the one before or after the culprit.
	for i := max(line-2, 0); i < min(line+1, len(lines)); i++ {
		if bytes.ContainsRune(indentation(lines[i]), '\t') {
			line, text, hint = i+1, "a tab is used for indentation", "YAML allows only blanks there"
			break
		}
		if l := bytes.TrimSpace(lines[i]); len(l) > 1 && l[0] == '-' && l[1] != ' ' && l[1] != '-' {
			line, text, hint = i+1, "an item of a list has no blank behind its dash", `write "- item"`
			break
		}
		if i >= line-2 && i < line && gluedKey.Match(lines[i]) {
			line, text, hint = i+1, "a key has no blank behind its colon", `write "key: value"`
			break
		}
	}
	if n := badCharacter(lines); n > 0 {
		line, text, hint = n, "a character that YAML does not allow", "is the file text in UTF-8?"
	}
	switch {
	case strings.HasPrefix(text, "unknown anchor"):
		// The name is not repeated: it may be the beginning of a password.
		line, text, hint = aliasLine(lines, line), "a value refers to an anchor that does not exist", "a text that begins with * must be quoted"
	case hint == "" && strings.Contains(text, "unexpected end of stream"):
		hint = "is a quote or a bracket not closed?"
	case hint == "":
		for said, what := range yamlHints {
			if strings.Contains(text, said) {
				hint = what
			}
		}
	}
	column := 1
	if line <= len(lines) {
		column += len(indentation(lines[line-1]))
	}
	p.add(Pos{p.source, line, column}, "", "the YAML cannot be read: "+text, hint)
}

// culprit finds the line that the parser stumbled over: what it names may be
// where the section around it began, or the end of the file. Up to the line before,
// the text is good, or ends in the middle of something.
func culprit(lines [][]byte, err error, otherwise int) int {
	size := len(lines)
	for _, l := range lines {
		size += len(l)
	}
	if size > maxSearched {
		return otherwise // it is parsed again and again
	}
	fails := func(n int) bool { // the first n lines, with the same error
		_, e := yamlNode(bytes.Join(lines[:n], []byte("\n")))
		return e != nil && yamlLine.ReplaceAllString(e.Error(), "") == yamlLine.ReplaceAllString(err.Error(), "")
	}
	if !strings.Contains(err.Error(), "unexpected end of stream") {
		n := 1 + sort.Search(len(lines), func(i int) bool { return fails(i + 1) })
		if n > len(lines) {
			return otherwise
		}
		return n
	}
	// Everything behind a quote that is not closed fails.
	for n := len(lines); n > max(0, len(lines)-maxQuoted); n-- {
		if !fails(n - 1) {
			return n
		}
	}
	return otherwise
}

const (
	maxSearched = 64 << 10 // bytes in which a mistake's line is looked for
	maxQuoted   = 100      // lines in which the beginning of a text that does not end is looked for
)

// yamlHints tell what the library's words mostly mean.
var yamlHints = map[string]string{
	"mapping values are not allowed": `check the indentation; a text that contains ": " must be quoted`,
	"did not find expected ',' or":   "is a bracket not closed?",
	"expected node content":          "a value, or a closing bracket, is missing",
	"did not find expected key":      "check the indentation: the keys of a section begin in the same column",
	"did not find expected '-'":      "check the indentation: the items of a list begin in the same column",
	"could not find expected ':'":    `a line is "key: value", or begins with "- " in a list`,
	"cannot start any token":         "a text that begins with @, % or a backquote must be quoted",
	"found unknown escape character": "within double quotes a backslash is written twice; within single quotes it is what it is",
	"found unexpected document":      "only one document is expected: remove the line ...",
	"a second document begins":       "remove the line ---, or what stands before it",
	"expected <document start>":      "only one document is expected: remove the line ... and what follows",
}

// gluedKey is "key:value", which is a text and no key.
var gluedKey = regexp.MustCompile(`^\s*(- )?[A-Za-z_][A-Za-z0-9_.]*:(?:[^\s:/]|/[^/])`)

func indentation(line []byte) []byte {
	return line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
}

func badCharacter(lines [][]byte) int {
	for i, l := range lines {
		if bytes.HasPrefix(l, []byte("\xff\xfe")) || bytes.HasPrefix(l, []byte("\xfe\xff")) {
			return 0 // UTF-16 with a mark is allowed
		}
		if !utf8.Valid(l) {
			return i + 1
		}
		for _, c := range l {
			if c < 0x20 && c != '\t' && c != '\r' || c == 0x7f {
				return i + 1
			}
		}
	}
	return 0
}

var aliasUse = regexp.MustCompile(`(?:^|[:\-\[{,]\s+|[\[{,])\*\S`)

func aliasLine(lines [][]byte, otherwise int) int {
	for i, l := range lines {
		if aliasUse.Match(l) {
			return i + 1
		}
	}
	return otherwise
}

// convert turns a node into a value and remembers where it and everything
// below it stands.
func (p *parsed) convert(n *yaml.Node, path string, depth int) any {
	at := Pos{p.source, n.Line, n.Column}
	if depth > maxYAMLDepth {
		if p.values <= maxYAMLValues {
			p.add(at, path, fmt.Sprintf("is nested more than %d levels deep", maxYAMLDepth), "does an anchor contain itself?")
		}
		p.values = maxYAMLValues + 1 // and nothing more of it
		return nil
	}
	if p.values++; p.values > maxYAMLValues {
		if p.values == maxYAMLValues+1 {
			p.add(at, path, "the document holds too many values", "are anchors used within anchors?")
		}
		return nil
	}
	p.pos[path] = at
	switch n.Kind {
	case yaml.AliasNode:
		v := p.convert(n.Alias, path, depth+1)
		p.pos[path] = at
		return v
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for i, c := range n.Content {
			list = append(list, p.convert(c, join(path, strconv.Itoa(i)), depth+1))
		}
		return list
	case yaml.MappingNode:
		return p.mapping(n, path, depth)
	case yaml.ScalarNode:
		return p.scalar(n, path, at)
	}
	return nil
}

func (p *parsed) mapping(n *yaml.Node, path string, depth int) *cluster.Object {
	o := &cluster.Object{}
	// What is merged in comes first and loses against the mapping's own keys.
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i]; k.Kind == yaml.ScalarNode && k.Tag == "!!merge" {
			p.mergeInto(o, n.Content[i+1], path, depth)
		}
	}
	own := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.ScalarNode && k.Tag == "!!merge" {
			continue
		}
		key, ok := p.key(k, path)
		if !ok {
			continue
		}
		at := Pos{p.source, k.Line, k.Column}
		if first, again := own[key]; again {
			p.add(at, join(path, key), fmt.Sprintf("is given a second time (first in line %d)", first), "remove one of them")
			continue
		}
		own[key] = k.Line
		v := p.convert(n.Content[i+1], join(path, key), depth+1)
		p.pos[join(path, key)] = at
		o.Set(key, v)
	}
	return o
}

func (p *parsed) mergeInto(o *cluster.Object, n *yaml.Node, path string, depth int) {
	at := Pos{p.source, n.Line, n.Column}
	v := p.convert(n, path, depth+1)
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, e := range list {
		m, ok := e.(*cluster.Object)
		if !ok {
			p.add(at, path, "<< merges something that is not a mapping", "")
			return
		}
		for k, v := range m.All() {
			if _, there := o.Get(k); !there {
				o.Set(k, v)
			}
		}
	}
}

// key is a mapping's key as JSON has it: numbers and booleans by their text.
func (p *parsed) key(k *yaml.Node, path string) (string, bool) {
	at := Pos{p.source, k.Line, k.Column}
	if k.Kind == yaml.AliasNode && k.Alias.Kind == yaml.ScalarNode {
		k = k.Alias
	}
	if k.Kind != yaml.ScalarNode {
		p.add(at, path, "a key is not a plain text", "")
		return "", false
	}
	switch v := p.scalar(k, path, at).(type) {
	case string:
		return v, true
	case json.Number:
		return string(v), true
	case bool:
		return strconv.FormatBool(v), true
	default:
		return "null", true
	}
}

func (p *parsed) scalar(n *yaml.Node, path string, at Pos) any {
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 && n.Style&yaml.TaggedStyle == 0 {
		return n.Value
	}
	if p.goesOn(n) {
		p.joined = append(p.joined, path)
	}
	v := ResolveScalar(n.Value)
	if num, ok := v.(json.Number); ok && string(num) != n.Value {
		p.respelled[path] = n.Value
	}
	if n.Style&yaml.TaggedStyle == 0 {
		return v
	}
	ok := false
	switch n.Tag {
	case "!!str":
		return n.Value
	case "!!int":
		num, isNumber := v.(json.Number)
		ok = isNumber && !strings.ContainsAny(string(num), ".e")
	case "!!float":
		_, ok = v.(json.Number)
	case "!!bool":
		_, ok = v.(bool)
	case "!!null":
		ok = v == nil
	}
	if !ok {
		// Neither tag nor value is repeated: an unquoted password may begin with !.
		p.add(at, path, "has a tag that is not understood or does not fit its value", "a text that begins with ! must be quoted")
	}
	return v
}

// goesOn tells whether an unquoted text has a further line that looks as if it
// should have been an item of a list: "-item" instead of "- item".
func (p *parsed) goesOn(n *yaml.Node) bool {
	for i := n.Line; i < len(p.lines) && i < n.Line+20; i++ { // the line after the first
		line := bytes.TrimSpace(p.lines[i])
		if len(line) == 0 || !strings.Contains(n.Value, string(line)) || bytes.Contains(p.lines[n.Line-1], line) {
			return false
		}
		if len(line) > 1 && line[0] == '-' && line[1] != '-' && line[1] != ' ' {
			return true
		}
	}
	return false
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
