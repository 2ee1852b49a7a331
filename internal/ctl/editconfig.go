package ctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/dcs"
)

func (a *app) editConfigCommand() *cobra.Command {
	e := configEditor{app: a}
	c := a.command("edit-config", "[OPTIONS] [CLUSTER_NAME]", "Change the dynamic configuration.")
	f := c.Flags()
	f.Var(&e.group, "group", "Citus group.")
	f.BoolVarP(&e.quiet, "quiet", "q", false, "Do not show the changes.")
	f.StringArrayVarP(&e.set, "set", "s", nil, "Set PATH=VALUE; the value is YAML, null removes the key. Can be repeated.")
	f.StringArrayVarP(&e.pg, "pg", "p", nil, "Set a parameter of PostgreSQL, NAME=VALUE. Can be repeated.")
	f.StringVar(&e.apply, "apply", "", "Merge a YAML file into the configuration; - is the input.")
	f.StringVar(&e.replace, "replace", "", "Replace the configuration by a YAML file; - is the input.")
	f.BoolVar(&e.force, "force", false, "Do not ask for confirmation.")
	e.dry = a.dryRunFlag(c)
	c.RunE = e.run
	return c
}

// configEditor is one run of edit-config.
type configEditor struct {
	*app
	group          group
	quiet, force   bool
	dry            *bool
	set, pg        []string
	apply, replace string
}

func (e *configEditor) run(cmd *cobra.Command, args []string) error {
	if err := e.load(cmd); err != nil {
		return err
	}
	if err := e.group.refuse(); err != nil {
		return err
	}
	scope, err := e.scope(args)
	if err != nil {
		return err
	}
	store, err := e.open(scope)
	if err != nil {
		return err
	}
	defer store.Close()
	view, err := e.read(cmd.Context(), store, scope)
	if err != nil {
		return err
	}
	if view.Config == nil {
		return refuse("The config key does not exist in the cluster %s", scope)
	}
	changed, err := e.change(cmd.Context(), view.Config.Doc, scope)
	if err != nil {
		return err
	}
	if sameTyped(view.Config.Doc, changed) {
		if !e.quiet {
			e.print("Not changed")
		}
		return nil
	}
	if err := e.sensible(view, changed); err != nil {
		return err
	}
	if yes, err := e.agreed(cmd.Context(), view.Config.Doc, changed); err != nil || !yes {
		return err
	}
	return e.write(cmd.Context(), store, view.Config.Version, changed)
}

// change makes the new document from the options, or lets the user edit it.
func (e *configEditor) change(ctx context.Context, doc *cluster.Object, scope string) (*cluster.Object, error) {
	if e.replace == "" && e.apply == "" && len(e.set) == 0 && len(e.pg) == 0 {
		return e.edit(ctx, doc, scope)
	}
	changed := doc.Clone()
	for _, step := range []struct {
		file string
		base *cluster.Object
	}{{e.replace, &cluster.Object{}}, {e.apply, changed}} {
		if step.file == "" {
			continue
		}
		if step.file == e.replace && step.base != changed {
			changed = step.base
		}
		patch, err := e.yamlFile(step.file)
		if err != nil {
			return nil, err
		}
		cluster.Patch(changed, patch)
	}
	for _, s := range e.set {
		if err := setPath(changed, s, ""); err != nil {
			return nil, err
		}
	}
	for _, s := range e.pg {
		if err := setPath(changed, s, "postgresql.parameters."); err != nil {
			return nil, err
		}
	}
	return changed, nil
}

// yamlFile reads a mapping from a file, or from the input.
func (e *configEditor) yamlFile(name string) (*cluster.Object, error) {
	var data []byte
	var err error
	if name == "-" {
		data, err = io.ReadAll(e.Stdin)
	} else {
		data, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, err
	}
	return mapping(name, data)
}

func mapping(source string, data []byte) (*cluster.Object, error) {
	v, err := config.ParseYAML(source, data)
	if err != nil {
		return nil, err
	}
	o, ok := v.(*cluster.Object)
	if !ok {
		return nil, fmt.Errorf("%s does not contain a mapping of keys to values", source)
	}
	return o, nil
}

// setPath carries out PATH=VALUE. Below postgresql.parameters the rest of the
// path is one name, because names of parameters may contain dots.
func setPath(doc *cluster.Object, setting, prefix string) error {
	path, text, ok := strings.Cut(setting, "=")
	if !ok {
		return refuse("Invalid parameter setting %s", setting)
	}
	value, err := config.ParseYAML("value of "+strings.TrimSpace(path), []byte(text))
	if err != nil {
		return err
	}
	names := strings.Split(prefix+strings.TrimSpace(path), ".")
	if len(names) > 2 && names[0] == "postgresql" && names[1] == "parameters" {
		names = append(names[:2:2], strings.Join(names[2:], "."))
	}
	setValue(doc, names, value)
	return nil
}

// setValue sets or, with nil, removes a value; objects that become empty by a
// removal go as well.
func setValue(o *cluster.Object, names []string, value any) {
	name := names[0]
	if len(names) == 1 {
		if value == nil {
			o.Delete(name)
		} else {
			o.Set(name, value)
		}
		return
	}
	next := o.Object(name)
	if next == nil {
		next = &cluster.Object{}
		o.Set(name, next)
	}
	setValue(next, names[1:], value)
	if next.Len() == 0 {
		o.Delete(name)
	}
}

// sameTyped compares documents by value and type: 30 and "30" differ.
func sameTyped(x, y any) bool {
	switch x := x.(type) {
	case *cluster.Object:
		y, ok := y.(*cluster.Object)
		if !ok || x.Len() != y.Len() {
			return false
		}
		for k, v := range x.All() {
			if w, there := y.Get(k); !there || !sameTyped(v, w) {
				return false
			}
		}
		return true
	case []any:
		y, ok := y.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !sameTyped(x[i], y[i]) {
				return false
			}
		}
		return true
	}
	_, list := y.([]any)
	return !list && x == y
}

// sensible refuses times that do not fit, which agents would silently change,
// and what is not supported yet, for which they would refuse the whole document.
// It warns of other new values that they would not use. The reference's tool writes
// anything.
func (e *configEditor) sensible(view *cluster.Cluster, doc *cluster.Object) error {
	if e.Program != "tamada" {
		return nil
	}
	before := config.Unsupported(view.Config.Doc)
	for _, text := range config.Unsupported(doc) {
		if !slices.Contains(before, text) {
			return refuse("The configuration was not changed: %s", text)
		}
	}
	floors := cluster.FloorsFor(view)
	if p := config.CheckTimes(doc, floors); len(p) > 0 {
		text := p[0].Path + ": " + p[0].Text
		if p[0].Hint != "" {
			text += " (" + p[0].Hint + ")"
		}
		return refuse("The configuration was not changed: %s", text)
	}
	known := config.CheckDynamic(view.Config.Doc, floors)
	for _, p := range config.CheckDynamic(doc, floors) {
		if slices.Contains(known, p) {
			continue
		}
		if p.Hint != "" {
			p.Text += " (" + p.Hint + ")"
		}
		e.warn("%s: %s", p.Path, p.Text)
	}
	return nil
}

// agreed shows the changes and asks.
func (e *configEditor) agreed(ctx context.Context, before, after *cluster.Object) (bool, error) {
	if !e.quiet {
		if err := e.show(unifiedDiff(config.DumpYAML(before), config.DumpYAML(after))); err != nil {
			return false, err
		}
	}
	switch {
	case *e.dry:
		return false, e.dryRun(after)
	case e.force:
		return true, nil
	case e.apply == "-" || e.replace == "-":
		e.print("Use --force option to apply changes")
		return false, nil
	}
	return e.confirm(ctx, "Apply these changes?")
}

// write stores the document if it is still at the version that was read.
func (e *configEditor) write(ctx context.Context, store dcs.Store, version cluster.Version, doc *cluster.Object) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	_, err := store.Put(ctx, cluster.KeyConfig, cluster.Compact(doc), dcs.IfVersion(version))
	switch {
	case errors.Is(err, dcs.ErrConflict):
		return refuse("Config modification aborted due to concurrent changes")
	case err != nil:
		return fmt.Errorf("write the dynamic configuration (it may have been written all the same, see show-config): %w", err)
	}
	e.print("Configuration changed")
	return nil
}

// edit lets the user change the document in an editor.
func (e *configEditor) edit(ctx context.Context, doc *cluster.Object, scope string) (*cluster.Object, error) {
	editor := firstCommand(e.env("EDITOR"), "editor", "vi")
	if editor == nil {
		return nil, refuse("EDITOR environment variable is not set. editor or vi are not available")
	}
	dir, err := os.MkdirTemp("", "tamada") // private to us, as the document may hold secrets
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	f, err := os.CreateTemp(dir, strings.ReplaceAll(scope, "/", "_")+"-config-*.yaml")
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteString(config.DumpYAML(doc)); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, editor[0], append(editor[1:], f.Name())...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.Stdin, e.Stdout, e.Stderr
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return nil, refuse("Editor exited with return code %d", exit.ExitCode())
		}
		return nil, fmt.Errorf("run the editor %s: %w", editor[0], err)
	}
	data, err := os.ReadFile(f.Name())
	if err != nil {
		return nil, err
	}
	return mapping(filepath.Base(f.Name()), data)
}

// firstCommand is the first of several commands that can be run.
func firstCommand(commands ...string) []string {
	for _, c := range commands {
		words := strings.Fields(c)
		if len(words) == 0 {
			continue
		}
		if path, err := exec.LookPath(words[0]); err == nil {
			return append([]string{path}, words[1:]...)
		}
	}
	return nil
}

// show prints a diff; on a terminal in colours and page by page.
func (e *configEditor) show(diff []string) error {
	if !e.Terminal {
		for _, l := range diff {
			e.print(l)
		}
		return nil
	}
	pager := firstCommand(e.env("PAGER"), "less", "more")
	if pager == nil {
		return refuse("No pager could be found. Either set PAGER environment variable with your pager or install either \"less\" or \"more\" in the host.")
	}
	if filepath.Base(pager[0]) == "less" && len(pager) == 1 {
		pager = append(pager, "-FRX")
	}
	var text bytes.Buffer
	for _, l := range diff {
		switch l[0] {
		case '+':
			l = "\033[32m" + l + "\033[0m"
		case '-':
			l = "\033[31m" + l + "\033[0m"
		case '@':
			l = "\033[36m" + l + "\033[0m"
		}
		text.WriteString(l + "\n")
	}
	cmd := exec.Command(pager[0], pager[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &text, e.Stdout, e.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run the pager %s: %w", pager[0], err)
	}
	return nil
}
