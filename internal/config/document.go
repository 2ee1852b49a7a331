package config

import (
	"strings"

	"tamada/internal/cluster"
)

// Document is a merged local configuration: values, and where each of them
// was written.
type Document struct {
	Root *cluster.Object
	pos  map[string]Pos
	// joined are paths of texts that swallowed a line of a list.
	joined []string
	// respelled are numbers that were written otherwise than they are, by path.
	respelled map[string]string
}

func newDocument() *Document {
	return &Document{Root: &cluster.Object{}, pos: map[string]Pos{}, respelled: map[string]string{}}
}

// Pos is where the value of a dotted path stands, or what is next around it.
func (d *Document) Pos(path string) Pos {
	for {
		if p, ok := d.pos[path]; ok {
			return p
		}
		if path == "" {
			return Pos{}
		}
		i := strings.LastIndexByte(path, '.')
		path = path[:max(i, 0)]
	}
}

// value returns the value of a dotted path of the table. Keys that contain
// dots themselves are not found by it.
func (d *Document) value(path string) (any, bool) {
	var v any = d.Root
	for name := range strings.SplitSeq(path, ".") {
		o, ok := v.(*cluster.Object)
		if !ok {
			return nil, false
		}
		if v, ok = o.Get(name); !ok {
			return nil, false
		}
	}
	return v, true
}

// set puts a value at a dotted path and makes the sections around it.
func (d *Document) set(path string, v any, pos Pos) {
	o := d.Root
	names := strings.Split(path, ".")
	for i, name := range names[:len(names)-1] {
		next := o.Object(name)
		if next == nil {
			next = &cluster.Object{}
			o.Set(name, next)
			d.pos[strings.Join(names[:i+1], ".")] = pos
		}
		o = next
	}
	o.Set(names[len(names)-1], v)
	d.pos[path] = pos
}

// patch merges another document over this one.
func (d *Document) patch(p *Document) {
	cluster.Patch(d.Root, p.Root)
	d.joined = append(d.joined, p.joined...)
	for path, pos := range p.pos {
		delete(d.respelled, path)
		if raw, ok := p.respelled[path]; ok {
			d.respelled[path] = raw
		}
		_, there := d.pos[path]
		v, _ := p.value(path)
		if _, section := v.(*cluster.Object); there && (section || path == "") {
			continue // the section goes on where it began
		}
		d.pos[path] = pos
	}
}

// Get returns the value of a dotted path.
func (d *Document) Get(path string) (any, bool) { return d.value(path) }
