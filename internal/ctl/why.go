package ctl

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"tamada/internal/cluster"
	"tamada/internal/ha/candidate"
	"tamada/internal/ledger"
	"tamada/internal/rest/peer"
	"tamada/internal/why"
)

// asker is one run of `why`.
type asker struct {
	*app
	format    choice
	at        string
	candidate string
}

// whyCommand is the command `why` with its questions. The reference has nothing
// like it.
func (a *app) whyCommand() *cobra.Command {
	c := a.command("why", "[OPTIONS] QUESTION [ARGS]...", "Tell why the cluster is as it is, and what would happen if a member died.")
	c.Long = `  What a node decides, refuses and meets with it writes down, with the facts that it
  was taken on: 16 MB in its state folder. This command reads these ledgers, the one
  of this node from the file and the others' by the REST API, and what the members
  say of themselves now.`
	c.Args = cobra.ArbitraryArgs // RunE has its own words for them
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return usage(cmd, "No such question '%s'.", args[0])
	}
	c.AddCommand(a.whyLeader(), a.whyMember(), a.whySwitchover(), a.whyIfDies())
	return c
}

// question makes the command of one question. about is what stands before the
// cluster's name, "" for nothing.
func (a *app) question(name, about, short, examples string, answer func(k *asker, ctx context.Context, w *work, about string) (*why.Story, error)) (*cobra.Command, *asker) {
	k := &asker{app: a, format: choice{"pretty", []string{"pretty", "json"}}}
	args := strings.TrimSpace("[OPTIONS] " + about)
	c := a.command(name, args+" [CLUSTER_NAME]", short)
	c.Flags().VarP(&k.format, "format", "f", "Format of the output.")
	_ = c.RegisterFlagCompletionFunc("format", words(k.format.words...))
	c.ValidArgsFunction = a.clusterOnly
	if about != "" {
		c.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.memberNames(cmd, nil), cobra.ShellCompDirectiveNoFileComp
		}
	}
	c.Example = "  " + strings.ReplaceAll(strings.ReplaceAll(examples, "PROGRAM", a.Program), "\n", "\n  ")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var subject string
		if about != "" {
			subject, args = args[0], args[1:]
		}
		w, err := k.begin(cmd, args, &group{})
		if err != nil {
			return err
		}
		defer w.close()
		s, err := answer(k, cmd.Context(), w, subject)
		if err != nil {
			return err
		}
		k.show(s)
		return nil
	}
	return c, k
}

func (a *app) whyLeader() *cobra.Command {
	c, k := a.question("leader", "", "Why did the leader change?", `PROGRAM why leader                       the last change
PROGRAM why leader --at 2031-02-03T04:05 the last one before that time
PROGRAM why leader -f json`,
		func(k *asker, ctx context.Context, w *work, _ string) (*why.Story, error) {
			at, err := k.moment()
			if err != nil {
				return nil, err
			}
			return w.whoLed(ctx, at), nil
		})
	c.Flags().StringVar(&k.at, "at", "", "The last change before this time (in this machine's zone unless it has one).")
	return c
}

func (a *app) whyMember() *cobra.Command {
	c, _ := a.question("member", "MEMBER_NAME", "Why was a member not promoted, why is it not streaming?", `PROGRAM why member pg-b
PROGRAM why member pg-b orders           of another cluster than the configured one`,
		func(_ *asker, ctx context.Context, w *work, name string) (*why.Story, error) {
			ledgers := w.ledgers(ctx, time.Time{}, nil)
			known := slices.ContainsFunc(ledgers.Entries, func(e ledger.Entry) bool { return e.Node == name || e.Member == name })
			if w.view.Member(name) == nil && w.view.LeaderName() != name && !known {
				return nil, refuse("There is no member %s in cluster %s, and no ledger knows one", name, w.scope)
			}
			world, err := w.world(ctx)
			if err != nil {
				return nil, err
			}
			return why.Member(world, ledgers, name), nil
		})
	return c
}

func (a *app) whySwitchover() *cobra.Command {
	c, k := a.question("switchover", "", "What keeps the cluster from switching over now?", `PROGRAM why switchover
PROGRAM why switchover --candidate pg-b`,
		func(k *asker, ctx context.Context, w *work, _ string) (*why.Story, error) {
			world, err := w.world(ctx)
			if err != nil {
				return nil, err
			}
			return why.Switchover(world, k.candidate), nil
		})
	c.Flags().StringVar(&k.candidate, "candidate", "", "The member that shall lead.")
	_ = c.RegisterFlagCompletionFunc("candidate", a.memberOption)
	return c
}

func (a *app) whyIfDies() *cobra.Command {
	c, _ := a.question("if-dies", "MEMBER_NAME", "What would happen if a member died this second?", `PROGRAM why if-dies pg-a                 who would take over, when, and what would be lost
PROGRAM why if-dies pg-a -f json`,
		func(_ *asker, ctx context.Context, w *work, name string) (*why.Story, error) {
			if w.view.Member(name) == nil && w.view.LeaderName() != name {
				return nil, refuse("There is no member %s in cluster %s", name, w.scope)
			}
			world, err := w.world(ctx)
			if err != nil {
				return nil, err
			}
			return why.IfDies(world, w.ledgers(ctx, time.Time{}, nil), name), nil
		})
	return c
}

// moment is --at, zero without it.
func (k *asker) moment() (time.Time, error) {
	at, err := parseSchedule(k.at, k.Now())
	if err != nil {
		return at, refuse("Unable to parse the time %s. It should be in an unambiguous format (e.g. ISO 8601)", k.at)
	}
	return at, nil
}

// show prints a story: sentences, then the facts.
func (k *asker) show(s *why.Story) {
	columns := make([]column, len(s.Facts.Columns))
	for i, name := range s.Facts.Columns {
		columns[i] = column{name: name, right: name == "LSN" || name == "TL" || name == "Behind" || name == "Priority"}
	}
	cells := make(rows, len(s.Facts.Rows))
	for i, r := range s.Facts.Rows {
		for _, text := range r {
			cells[i] = append(cells[i], text)
		}
	}
	if k.format.value == "json" {
		doc := cluster.NewObject("question", s.Question, "answer", anys(s.Answer))
		for name, v := range s.Values.All() {
			doc.Set(name, v)
		}
		doc.Set("facts", objects(columns, cells, true))
		k.printf("%s\n", cluster.Spaced(doc))
		return
	}
	for _, sentence := range s.Answer {
		k.print(sentence)
	}
	if len(cells) > 0 {
		k.print()
		printTable(k.Stdout, "pretty", "", columns, cells, false)
	}
}

// world asks every member for its status. The leader is asked last: what it has
// written by then bounds what the others, who were asked before, may lack.
func (w *work) world(ctx context.Context) (*why.World, error) {
	world := &why.World{Cluster: w.view, Settings: w.settings, Statuses: map[string]*why.Status{}, Wall: w.Now()}
	var mu sync.Mutex // guards world.Statuses
	ask := func(m *cluster.Member) {
		s := w.whyStatus(ctx, m)
		mu.Lock()
		defer mu.Unlock()
		world.Statuses[m.Name] = s
	}
	var wg sync.WaitGroup
	for i := range w.view.Members {
		if m := &w.view.Members[i]; m.Name != w.view.LeaderName() {
			wg.Go(func() { ask(m) })
		}
	}
	wg.Wait()
	if m := w.view.LeaderMember(); m != nil {
		ask(m)
	}
	if ctx.Err() != nil {
		return nil, errAborted
	}
	return world, nil
}

// whyStatus reads one status document as agents do, and what else it holds.
func (w *work) whyStatus(ctx context.Context, m *cluster.Member) *why.Status {
	got, err := w.members.do(ctx, statusTimeout, m, http.MethodGet, "/patroni", nil)
	var doc *cluster.Object
	if err == nil {
		doc, err = cluster.ParseObject(got.body)
	}
	if err != nil {
		return &why.Status{Err: plain(err), Answer: candidate.Answer{Name: m.Name}}
	}
	p := peer.Read(m.Name, got.body)
	return why.ReadStatus(doc, candidate.Answer{Name: m.Name, Reachable: p.Err == nil, Primary: p.Primary, LSN: p.LSN, Timeline: p.Timeline,
		Tags: p.Tags, WatchdogFailed: p.WatchdogFailed})
}

// plain is an error without what the reader knows.
func plain(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return err.Error()
}

// maxPages bounds how far back the ledgers are read: more than a whole ledger.
const maxPages = 40

// whoLed reads the ledgers backwards until they tell of a change of the leader
// before a moment and of its beginning.
func (w *work) whoLed(ctx context.Context, at time.Time) *why.Story {
	until := time.Time{}
	if !at.IsZero() {
		until = at.Add(time.Minute) // what followed belongs to the story
	}
	return why.Leader(w.ledgers(ctx, until, func(l why.Ledgers) (time.Time, bool) { return why.Reach(l, at) }), at)
}

// ledgers reads the newest entries of every ledger that can be reached, and older
// ones until reach, when it is not nil, says how far back is far enough and all
// of them reach so far.
func (w *work) ledgers(ctx context.Context, until time.Time, reach func(why.Ledgers) (time.Time, bool)) why.Ledgers {
	sources := w.sources()
	untils, done, entries := map[string]time.Time{}, map[string]bool{}, map[string][]ledger.Entry{}
	l := why.Ledgers{Missing: map[string]string{}, Zone: w.Now().Location()}
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		untils[name] = until
	}
	for range maxPages {
		w.readPages(ctx, sources, untils, done, entries, l.Missing)
		l.Entries = ledger.Merge(slices.Collect(maps.Values(entries))...)
		if reach == nil || ctx.Err() != nil {
			break
		}
		far, known := reach(l)
		left := 0
		for name := range sources {
			done[name] = done[name] || known && !untils[name].IsZero() && untils[name].Before(far)
			if !done[name] {
				left++
			}
		}
		if left == 0 {
			break
		}
	}
	return l
}

// source reads one page of one node's ledger.
type source func(context.Context, ledger.Query) (ledger.Page, error)

// sources are the ledgers there are: this node's own file, if the configuration
// is a node's, and the others' by their API.
func (w *work) sources() map[string]source {
	sources := map[string]source{}
	for i := range w.view.Members {
		m := &w.view.Members[i]
		sources[m.Name] = func(ctx context.Context, q ledger.Query) (ledger.Page, error) { return w.ledgerOf(ctx, m, q) }
	}
	name, state := w.cfg.Name, w.cfg.StateDir
	if name == "" || state == "" || w.scope != w.cfg.Scope {
		return sources
	}
	remote := sources[name]
	sources[name] = func(ctx context.Context, q ledger.Query) (ledger.Page, error) {
		p, err := ledger.Read(ledger.Dir(state), q)
		if remote != nil && (err != nil || len(p.Lines) == 0) {
			return remote(ctx, q) // no right to read it, or it is not here
		}
		return p, err
	}
	return sources
}

// readPages reads the next older page of every ledger that has one.
func (w *work) readPages(ctx context.Context, sources map[string]source, untils map[string]time.Time, done map[string]bool,
	entries map[string][]ledger.Entry, missing map[string]string) {
	var mu sync.Mutex // guards all the maps
	var wg sync.WaitGroup
	for name, read := range sources {
		mu.Lock()
		skip, q := done[name], ledger.Query{Until: untils[name]}
		mu.Unlock()
		if skip {
			continue
		}
		wg.Go(func() {
			p, err := read(ctx, q)
			mu.Lock()
			defer mu.Unlock()
			page := ledger.Decode(p.Lines)
			if err != nil {
				missing[name] = plain(err)
			}
			if done[name] = err != nil || !p.More || len(page) == 0; len(page) > 0 {
				untils[name] = page[0].At.Add(-time.Nanosecond)
				entries[name] = append(page, entries[name]...)
			}
		})
	}
	wg.Wait()
}

// ledgerOf asks a member for a page of its ledger.
func (w *work) ledgerOf(ctx context.Context, m *cluster.Member, q ledger.Query) (ledger.Page, error) {
	values := url.Values{}
	if !q.Until.IsZero() {
		values.Set("until", q.Until.UTC().Format(time.RFC3339Nano))
	}
	if q.Limit > 0 {
		values.Set("limit", strconv.Itoa(q.Limit))
	}
	got, err := w.members.do(ctx, quick, m, http.MethodGet, "/tamada/ledger?"+values.Encode(), nil)
	switch {
	case err != nil:
		return ledger.Page{}, err
	case got.status == http.StatusNotFound || got.status == http.StatusServiceUnavailable && m.Agent == nil:
		return ledger.Page{}, errors.New("its agent keeps none")
	case got.status != http.StatusOK:
		return ledger.Page{}, fmt.Errorf("it answered %d: %.100s", got.status, got.body)
	}
	return ledger.ParseDocument(got.body)
}
