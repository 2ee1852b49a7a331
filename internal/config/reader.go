package config

import (
	"tamada/internal/cluster"
)

// reader takes typed values out of one section that was checked before, with
// the table's defaults. A value of the wrong type reads as its default.
type reader struct {
	o *cluster.Object
	t *keyTree
}

// at is the reader of a section of the whole local document.
func at(root *cluster.Object, t *keyTree, path ...string) reader {
	r := reader{root, t}
	for _, name := range path {
		r = r.section(name)
	}
	return r
}

func (r reader) section(name string) reader { return reader{r.o.Object(name), r.key(name)} }

// key panics on a name that is not in the table: a mistake in this package.
func (r reader) key(name string) *keyTree {
	t := r.t.child(name)
	if t == nil || t.key == nil {
		panic("config: no key " + name + " in the table")
	}
	return t
}

func (r reader) text(name string) string {
	dflt, _ := r.key(name).key.Default.(string)
	switch v := r.o.Value(name).(type) {
	case nil, *cluster.Object, []any:
		return dflt
	case bool:
		if !v && r.key(name).key.Enum != nil {
			return "off"
		}
		return dflt
	default:
		return cluster.Text(v)
	}
}

func (r reader) secret(name string) Secret { return Secret(r.text(name)) }

func (r reader) flag(name string) bool {
	if b, ok := cluster.ParseBool(r.o.Value(name)); ok {
		return b
	}
	b, _ := r.key(name).key.Default.(bool)
	return b
}

// integer applies the range of the table.
func (r reader) integer(name string) int {
	k := r.key(name).key
	n, _ := k.Default.(int)
	if v, ok := cluster.ParseInt(r.o.Value(name), k.Unit); ok {
		n = int(v)
	}
	if k.Bounded() {
		n = max(n, k.Min)
	}
	if k.Max != 0 {
		n = min(n, k.Max)
	}
	return n
}

func (r reader) address(name string, port int) Address {
	s, _ := r.o.String(name)
	a, err := ParseAddress(s, port)
	if err != nil {
		return Address{}
	}
	return a
}

// hostPort is an address with its port made explicit, "" when absent.
func (r reader) hostPort(name string, port int) string {
	if _, ok := r.o.String(name); !ok {
		return ""
	}
	return r.address(name, port).String()
}

// strings is nil when the key is absent or not a list; what is not a text in
// the list is left out.
func (r reader) strings(name string) []string {
	r.key(name)
	list, ok := r.o.Value(name).([]any)
	if !ok {
		return nil
	}
	texts := make([]string, 0, len(list))
	for _, e := range list {
		if s, ok := e.(string); ok {
			texts = append(texts, s)
		}
	}
	return texts
}

func (r reader) options(name string) []Option {
	r.key(name)
	list, _ := options(r.o.Value(name))
	return list
}

func (r reader) object(name string) *cluster.Object {
	r.key(name)
	return r.o.Object(name)
}

// texts is a mapping with its values in text form; nulls are left out.
func (r reader) texts(name string) map[string]string {
	m := map[string]string{}
	for k, v := range r.object(name).All() {
		if v != nil {
			m[k] = cluster.Text(v)
		}
	}
	return m
}

// others are the sections whose name is not in the table: custom methods.
func (r reader) others() map[string]*cluster.Object {
	m := map[string]*cluster.Object{}
	for name, v := range r.o.All() {
		if o, ok := v.(*cluster.Object); ok && r.t.child(name) == nil {
			m[name] = o
		}
	}
	if len(m) == 0 {
		return nil
	}
	return m
}
