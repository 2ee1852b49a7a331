package config

import (
	"strings"

	"tamada/internal/cluster"
)

// Reload is [Load] for a node that runs with old: values that take effect only
// when the agent is restarted stay as they are, and later names their keys. A
// changed data_dir, above all, must not make a running agent believe that its
// data is gone.
func Reload(old *Config, path string, environ []string) (cfg *Config, later []string, err error) {
	cfg, err = Load(path, environ)
	if err != nil {
		return nil, nil, err
	}
	doc := &Document{Root: cfg.Doc.Clone(), pos: map[string]Pos{}}
	before := &Document{Root: old.Doc}
	keys := Keys()
	for i := range keys {
		k := &keys[i]
		if k.Place&Local == 0 || k.Effect != OnAgentRestart || k.Kind == Section || strings.Contains(k.Path, "*") {
			continue
		}
		is, _ := doc.value(k.Path)
		was, _ := before.value(k.Path)
		if cluster.Equal(is, was) {
			continue
		}
		later = append(later, k.Path)
		if was == nil {
			doc.remove(k.Path)
		} else {
			doc.set(k.Path, was, Pos{})
		}
	}
	if len(later) == 0 {
		return cfg, nil, nil
	}
	kept := typed(doc, environ)
	kept.Store, kept.Warnings, kept.Source = old.Store, cfg.Warnings, cfg.Source
	return kept, later, nil
}

// remove takes a value out; sections stay, even empty ones.
func (d *Document) remove(path string) {
	parent, name := "", path
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		parent, name = path[:i], path[i+1:]
	}
	o := d.Root
	if parent != "" {
		v, _ := d.value(parent)
		o, _ = v.(*cluster.Object)
	}
	o.Delete(name)
}
