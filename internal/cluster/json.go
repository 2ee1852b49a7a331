package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxJSONDepth bounds the nesting of a document read from outside, so that
// hostile input cannot exhaust the stack.
const maxJSONDepth = 100

// Object is a JSON object that keeps the order of its keys. Values are nil,
// bool, [json.Number] (with the digits as they were written), string, []any
// and *Object. The zero value is an empty object.
type Object struct {
	keys   []string
	values map[string]any
}

// NewObject makes an object of alternating keys and values, in that order. Go
// integers and []string are converted to the value types of [Object].
func NewObject(pairs ...any) *Object {
	o := &Object{}
	for i := 0; i+1 < len(pairs); i += 2 {
		o.Set(pairs[i].(string), pairs[i+1])
	}
	return o
}

// Len is the number of keys; a nil object has none.
func (o *Object) Len() int {
	if o == nil {
		return 0
	}
	return len(o.keys)
}

// Get returns the value of a key and whether the key is there.
func (o *Object) Get(key string) (any, bool) {
	if o == nil {
		return nil, false
	}
	v, ok := o.values[key]
	return v, ok
}

// Value returns the value of a key, nil when it is absent.
func (o *Object) Value(key string) any {
	v, _ := o.Get(key)
	return v
}

// String returns the value of a key if it is a string.
func (o *Object) String(key string) (string, bool) {
	s, ok := o.Value(key).(string)
	return s, ok
}

// Object returns the value of a key if it is an object, else nil.
func (o *Object) Object(key string) *Object {
	v, _ := o.Value(key).(*Object)
	return v
}

// Set adds a key at the end or replaces the value of a key in its place.
func (o *Object) Set(key string, v any) {
	if o.values == nil {
		o.values = map[string]any{}
	}
	if _, ok := o.values[key]; !ok {
		o.keys = append(o.keys, key)
	}
	o.values[key] = normal(v)
}

// Delete removes a key; an absent one is no error.
func (o *Object) Delete(key string) {
	if _, ok := o.Get(key); !ok {
		return
	}
	delete(o.values, key)
	o.keys = slices.DeleteFunc(o.keys, func(k string) bool { return k == key })
}

// All yields the keys and values in order. The object must not change meanwhile.
func (o *Object) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		if o == nil {
			return
		}
		for _, k := range o.keys {
			if !yield(k, o.values[k]) {
				return
			}
		}
	}
}

// Clone is a deep copy.
func (o *Object) Clone() *Object {
	if o == nil {
		return nil
	}
	c := &Object{}
	for k, v := range o.All() {
		c.Set(k, cloneValue(v))
	}
	return c
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case *Object:
		return v.Clone()
	case []any:
		c := make([]any, len(v))
		for i := range v {
			c[i] = cloneValue(v[i])
		}
		return c
	}
	return v
}

// normal brings Go values into the value types that Object documents.
func normal(v any) any {
	switch v := v.(type) {
	case int:
		return json.Number(fmt.Sprint(v))
	case int64:
		return json.Number(fmt.Sprint(v))
	case uint64:
		return json.Number(fmt.Sprint(v))
	case LSN:
		return json.Number(fmt.Sprint(uint64(v)))
	case Timeline:
		return json.Number(fmt.Sprint(uint32(v)))
	case []string:
		a := make([]any, len(v))
		for i := range v {
			a[i] = v[i]
		}
		return a
	case *Object:
		if v == nil {
			return nil
		}
	}
	return v
}

// ParseJSON reads exactly one JSON value. Anything after it, nesting beyond
// 100 levels and invalid UTF-8 outside of strings are errors.
func ParseJSON(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := parseValue(dec, 0)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("unexpected data after the JSON value")
	}
	return v, nil
}

// ParseObject reads exactly one JSON object; any other JSON value is an error.
func ParseObject(data []byte) (*Object, error) {
	v, err := ParseJSON(data)
	if err != nil {
		return nil, err
	}
	o, ok := v.(*Object)
	if !ok {
		return nil, errors.New("the JSON value is not an object")
	}
	return o, nil
}

func parseValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxJSONDepth {
		return nil, fmt.Errorf("JSON is nested more than %d levels deep", maxJSONDepth)
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	d, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if d == '[' {
		a := []any{}
		for dec.More() {
			v, err := parseValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			a = append(a, v)
		}
		_, err := dec.Token()
		return a, err
	}
	o := &Object{}
	for dec.More() {
		k, err := dec.Token()
		if err != nil {
			return nil, err
		}
		v, err := parseValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		o.Set(k.(string), v)
	}
	_, err = dec.Token()
	return o, err
}

// Compact writes a value without blanks and with every character outside of
// ASCII escaped, the form of all JSON in the store.
func Compact(v any) []byte { return appendJSON(nil, v, ",", ":") }

// Spaced writes a value with ", " and ": " as separators and every character
// outside of ASCII escaped, the form of REST answers and of `--format json`.
func Spaced(v any) []byte { return appendJSON(nil, v, ", ", ": ") }

func appendJSON(b []byte, v any, comma, colon string) []byte {
	switch v := normal(v).(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return fmt.Append(b, v)
	case json.Number:
		return append(b, v...)
	case string:
		return appendString(b, v)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, comma...)
			}
			b = appendJSON(b, e, comma, colon)
		}
		return append(b, ']')
	case *Object:
		b = append(b, '{')
		first := true
		for k, e := range v.All() {
			if !first {
				b = append(b, comma...)
			}
			first = false
			b = appendString(b, k)
			b = append(b, colon...)
			b = appendJSON(b, e, comma, colon)
		}
		return append(b, '}')
	case float64:
		return fmt.Append(b, v)
	default:
		// Only this package's own code and its callers build values: another
		// type is a mistake in the program, not in the input.
		panic(fmt.Sprintf("cluster: %T is not a JSON value", v))
	}
}

const hexDigits = "0123456789abcdef"

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r >= 0x20 && r < utf8.RuneSelf && r != 0x7f:
			b = append(b, byte(r))
		case r == 0x7f:
			b = append(b, 0x7f)
		case r > 0xffff:
			r -= 0x10000
			b = appendEscape(b, 0xd800+(r>>10))
			b = appendEscape(b, 0xdc00+(r&0x3ff))
		default:
			b = appendEscape(b, r)
		}
	}
	return append(b, '"')
}

func appendEscape(b []byte, r rune) []byte {
	return append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// Text is the text form of a value by which configurations are compared: a
// string as it is, everything else as the agents print it (`1` equals `"1"`,
// true equals "True"; reference configuration.md 0.4).
func Text(v any) string {
	switch v := normal(v).(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case string:
		return v
	case json.Number:
		return string(v)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = quoted(v[i])
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case *Object:
		var parts []string
		for k, e := range v.All() {
			parts = append(parts, quoted(k)+": "+quoted(e))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// quoted is the text form within a list or an object, where strings stand in
// quotes. What they contain is escaped: otherwise two different lists could
// have the same text.
func quoted(v any) string {
	s, ok := v.(string)
	if !ok {
		return Text(v)
	}
	quote := "'"
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = `"`
	}
	s = strings.NewReplacer(`\`, `\\`, quote, `\`+quote, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s)
	return quote + s + quote
}

// Equal compares two values the way the agents do: objects by their key sets,
// recursively, everything else by [Text].
func Equal(a, b any) bool {
	ao, aok := a.(*Object)
	bo, bok := b.(*Object)
	if aok != bok {
		return false
	}
	if !aok {
		return Text(a) == Text(b)
	}
	if ao.Len() != bo.Len() {
		return false
	}
	for k, v := range ao.All() {
		w, ok := bo.Get(k)
		if !ok || !Equal(v, w) {
			return false
		}
	}
	return true
}

// Patch merges a patch into target and reports whether anything changed
// (reference configuration.md 1.3): null removes a key, two objects merge,
// scalars and lists replace when their text differs, unknown keys are added
// as they are.
func Patch(target, patch *Object) bool {
	changed := false
	for k, v := range patch.All() {
		old, there := target.Get(k)
		switch {
		case v == nil:
			if there {
				target.Delete(k)
				changed = changed || old != nil
			}
		case !there:
			target.Set(k, cloneValue(v))
			changed = true
		default:
			vo, isObject := v.(*Object)
			oo, wasObject := old.(*Object)
			switch {
			case isObject && wasObject:
				if Patch(oo, vo) {
					changed = true
				}
			case isObject || wasObject || Text(old) != Text(v):
				target.Set(k, cloneValue(v))
				changed = true
			}
		}
	}
	return changed
}
