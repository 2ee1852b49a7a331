package config

import (
	"strings"

	"tamada/internal/cluster"
)

// unknownKey is the text of the warning about a key that is not in the table.
const unknownKey = "unknown key"

// unknown warns about a key that is not in the table. Sections of custom
// methods may have any name, so a mapping there is only mentioned when its
// name looks like a slip.
func (c *checker) unknown(path, name string, v any, t *keyTree) {
	section, _, _ := strings.Cut(path, ".")
	parent := strings.TrimSuffix(strings.TrimSuffix(path, name), ".")
	_, mapping := v.(*cluster.Object)
	method := mapping && (parent == "postgresql" || parent == "bootstrap" || parent == "bootstrap.dcs.postgresql")
	if near := nearest(name, t); near != "" {
		if method && len(name) > 3 && c.namedAsMethod(name) {
			return
		}
		c.warn(path, unknownKey, "did you mean "+join(parent, near)+"?")
		return
	}
	if method {
		t := trees().local
		if parent == "bootstrap.dcs.postgresql" {
			t, parent = trees().dynamic, "postgresql"
		}
		c.section(v.(*cluster.Object), path, t.find(parent+".<method>"))
		return
	}
	switch {
	case !strings.Contains(path, ".") && trees().dynamic.child(name) != nil:
		c.warn(path, "is ignored here: it belongs into bootstrap.dcs, and later into the dynamic configuration", "")
	case parent == "postgresql" && trees().dynamic.find(path) != nil:
		c.warn(path, "is ignored here: it counts only in the dynamic configuration", "")
	case parent == "bootstrap.dcs.postgresql" && trees().local.find("postgresql."+name) != nil:
		c.warn(path, "is ignored here: it counts only in the node's own file", "write it below postgresql")
	case elsewhere(name) != "" && section != "tags":
		c.warn(path, unknownKey, "did you mean "+elsewhere(name)+"? check the indentation")
	default:
		c.warn(path, unknownKey, "it has no effect")
	}
}

// ownTag warns of a tag of the operator's own that looks like one of ours with a
// slip in it: everybody may invent tags, so it would go unnoticed.
func (c *checker) ownTag(path, name string, t *keyTree) {
	if !strings.HasPrefix(path, "tags.") || t.children[name] != nil {
		return
	}
	var known []string
	for _, k := range t.order {
		if k != "*" {
			known = append(known, k)
		}
	}
	if near := Nearest(name, known); near != "" {
		c.warn(path, "is a tag of your own", "did you mean tags."+near+"?")
	}
}

// namedAsMethod tells whether the configuration itself refers to a section.
func (c *checker) namedAsMethod(name string) bool {
	for _, path := range []string{"postgresql.create_replica_methods", "postgresql.create_replica_method",
		"bootstrap.dcs.postgresql.create_replica_methods", "bootstrap.dcs.standby_cluster.create_replica_methods"} {
		v, _ := c.doc.value(path)
		list, _ := v.([]any)
		for _, e := range list {
			if e == name {
				return true
			}
		}
	}
	v, _ := c.doc.value("bootstrap.method")
	return v == name
}

// elsewhere finds the only other place of the table where a key of this name
// stands, for keys that slipped out of their section.
func elsewhere(name string) string {
	path := ""
	for _, k := range Keys() {
		if k.Place&Local != 0 && k.name() == name && strings.Contains(k.Path, ".") {
			if path != "" {
				return ""
			}
			path = k.Path
		}
	}
	return path
}

// nearest is the known key that differs least from a name, "" when none is
// near.
func nearest(name string, t *keyTree) string {
	var known []string
	for _, k := range t.order {
		switch {
		case k == "*":
			return ""
		case k[0] != '<':
			known = append(known, k)
		}
	}
	return Nearest(name, known)
}

// Nearest is the one of some names that was probably meant, "" when none is
// near.
func Nearest(name string, known []string) string {
	best, near := min(2, len(name)/3)+1, ""
	for _, k := range known {
		if d := distance(name, k, best+1); d < best || d == best && near != "" && k < near {
			best, near = d, k
		}
	}
	return near
}

// distance is the number of characters to add, remove, change or swap with
// their neighbour to get from one text to the other; it gives up at limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	var before []int // the row before the last one
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, next[j]+1, row[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
