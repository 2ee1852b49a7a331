package dcstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

func (s *suite) want(err, want error, what string) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Fatalf("%s: got error %v, want %v", what, err, want)
	}
}

func acquireRace(s *suite) {
	const members = 8
	stores := make([]dcs.Store, members)
	grants := make([]dcs.Grant, members)
	errs := make([]error, members)
	for i := range stores {
		stores[i] = s.open(fmt.Sprintf("n%d", i))
	}
	var wg sync.WaitGroup
	ctx := s.call()
	for i := range stores {
		wg.Go(func() { grants[i], errs[i] = stores[i].Acquire(ctx) })
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			s.Fatalf("both n%d and n%d acquired", winner, i)
		case err == nil:
			winner = i
		default:
			s.want(err, dcs.ErrHeld, "the others")
		}
	}
	if winner < 0 {
		s.Fatal("nobody acquired")
	}
	g := grants[winner]
	l := s.load(stores[0]).Leader
	if l == nil || l.Name != fmt.Sprintf("n%d", winner) || l.Session != g.Session || l.Created != g.Created || g.Created == 0 || g.Session == "" {
		s.Fatalf("leader %+v does not fit grant %+v of n%d", l, g, winner)
	}
	if g.TTL < s.TTL() {
		s.Fatalf("granted %v, want at least %v", g.TTL, s.TTL())
	}
	_, err := stores[winner].Acquire(s.call())
	s.want(err, dcs.ErrHeld, "acquire what we hold already")
}

func renewal(s *suite) {
	a, b := s.open("a"), s.open("b")
	g := s.acquire(a)
	r, err := a.Renew(s.call(), g.Hold)
	if err != nil {
		s.Fatalf("renew: %v", err)
	}
	if r != g {
		s.Fatalf("renewal granted %+v, acquisition %+v", r, g)
	}
	_, err = b.Renew(s.call(), g.Hold)
	s.want(err, dcs.ErrHeld, "another member renews with our hold")
	if errors.Is(err, dcs.ErrOtherTenure) {
		s.Fatalf("to another member the key is its own: %v", err)
	}
	other := g.Hold
	other.Created++
	_, err = a.Renew(s.call(), other)
	s.want(err, dcs.ErrOtherTenure, "renew another creation")

	// a second process of the same name has a session of its own
	twin := s.open("a")
	s.touch(twin, `{}`)
	var session string
	for _, m := range s.load(a).Members {
		session = m.Session
	}
	if session == "" || session == g.Session {
		s.Fatalf("the twin's session is %q, ours %q", session, g.Session)
	}
	_, err = a.Renew(s.call(), dcs.Hold{Session: session, Created: g.Created})
	s.want(err, dcs.ErrOtherTenure, "renew with another session")

	if err := a.Release(s.call(), g.Hold); err != nil {
		s.Fatalf("release: %v", err)
	}
	_, err = a.Renew(s.call(), g.Hold)
	s.want(err, dcs.ErrAbsent, "renew what was released")
	if l := s.load(a).Leader; l != nil {
		s.Fatalf("the renewal made a leader key: %+v", l)
	}
	s.acquire(b)
	_, err = a.Renew(s.call(), g.Hold)
	s.want(err, dcs.ErrHeld, "renew what another holds now")
}

func release(s *suite) {
	a, b := s.open("a"), s.open("b")
	s.touch(a, `{"state":"running"}`)
	g := s.acquire(a)
	s.want(b.Release(s.call(), g.Hold), dcs.ErrHeld, "another member releases our hold")
	s.want(a.Release(s.call(), dcs.Hold{Session: g.Session, Created: g.Created + 1}), dcs.ErrHeld, "release another creation")
	s.touch(b, `{}`)
	s.want(a.Release(s.call(), dcs.Hold{Session: s.load(b).Member("b").Session, Created: g.Created}), dcs.ErrHeld, "release with another session")
	if s.load(b).LeaderName() != "a" {
		s.Fatal("a refused release removed the key")
	}
	if err := a.Release(s.call(), g.Hold); err != nil {
		s.Fatalf("release: %v", err)
	}
	s.want(a.Release(s.call(), g.Hold), dcs.ErrAbsent, "release again")
	if c := s.load(b); c.Leader != nil || c.Member("a") == nil {
		s.Fatalf("after the release: leader %v, member %v", c.Leader, c.Member("a"))
	}
	again := s.acquire(a)
	if again.Created == g.Created {
		s.Fatal("a second tenure has the creation of the first")
	}
	s.want(a.Release(s.call(), g.Hold), dcs.ErrHeld, "release a former tenure")
}

func expiry(s *suite) {
	a, b := s.open("a"), s.open("b")
	s.touch(a, `{}`)
	g := s.acquire(a)
	v := s.watch(b)
	c := v.until("first view", 5*time.Second, func(c *cluster.Cluster) bool { return c.LeaderName() == "a" })
	if m := c.Member("a"); m == nil || m.Session != g.Session || c.Leader.Session != g.Session {
		s.Fatalf("leader and member do not share session %q: %+v, %+v", g.Session, c.Leader, m)
	}
	v.until("both keys expire", 4*s.TTL(), func(c *cluster.Cluster) bool { return c.Leader == nil && c.Member("a") == nil })
	_, err := a.Renew(s.call(), g.Hold)
	s.want(err, dcs.ErrAbsent, "renew what expired")
	s.touch(a, `{}`)
	again := s.acquire(a)
	if again.Session == g.Session || again.Created == g.Created {
		s.Fatalf("after the expiry the hold is the same: %+v", again)
	}
	if s.load(b).Member("a") == nil {
		s.Fatal("touch did not write the member key of the new session")
	}
}

func inheritance(s *suite) {
	a := s.open("a")
	s.touch(a, `{}`)
	g := s.acquire(a)
	heir := s.Open(s.T, "a", g.Session)
	s.touch(heir, `{"state":"running"}`)
	r, err := heir.Renew(s.call(), g.Hold)
	if err != nil || r.Hold != g.Hold {
		s.Fatalf("renewal of the inherited hold %+v: %+v, %v", g.Hold, r, err)
	}
	if m := s.load(heir).Member("a"); m.Session != g.Session {
		s.Fatalf("the heir's member key is on session %q, want %q", m.Session, g.Session)
	}
	if err := heir.Release(s.call(), r.Hold); err != nil {
		s.Fatalf("release: %v", err)
	}
}

func ttlChange(s *suite) {
	a, b := s.open("a"), s.open("b")
	s.touch(a, `{}`)
	g := s.acquire(a)
	ttl := 2 * s.TTL()
	a.SetTimes(dcs.Times{TTL: ttl, LoopWait: s.TTL() / 3, RetryTimeout: s.TTL() / 3})
	if r, err := a.Renew(s.call(), g.Hold); err != nil || r.Hold != g.Hold {
		s.Fatalf("before the next touch the hold stays: %+v, %v", r, err)
	}
	s.touch(a, `{}`)
	r, err := a.Renew(s.call(), g.Hold)
	if err != nil {
		s.Fatalf("renew with the hold from before: %v", err)
	}
	if r.Session == g.Session || r.Created != g.Created || r.TTL < ttl {
		s.Fatalf("after the change: %+v, before: %+v", r, g)
	}
	c := s.load(b)
	if c.Leader == nil || c.Leader.Session != r.Session || c.Member("a").Session != r.Session {
		s.Fatalf("keys are not on session %q: %+v, %+v", r.Session, c.Leader, c.Member("a"))
	}
	// the old session ends and takes nothing along
	for range 8 {
		s.Elapse(s.TTL() / 4)
		if r, err = a.Renew(s.call(), r.Hold); err != nil {
			s.Fatalf("renew: %v", err)
		}
	}
	if c := s.load(b); c.LeaderName() != "a" || c.Member("a") == nil {
		s.Fatalf("the end of the old session took keys along: %+v", c)
	}
	if err := a.Release(s.call(), r.Hold); err != nil {
		s.Fatalf("release: %v", err)
	}
}

// tenure is what one member knows of one successful acquisition: the key was
// its from somewhere in [asked, got] to somewhere in [gave, gone].
type tenure struct {
	member                 string
	created                cluster.Version
	asked, got, gave, gone time.Time
}

// refusal is an acquisition that found the key held.
type refusal struct{ asked, got time.Time }

func history(s *suite) {
	const members, rounds = 4, 25
	var mu sync.Mutex
	var tenures []tenure
	var refusals []refusal
	var wg sync.WaitGroup
	ctx := s.within(time.Minute)
	for i := range members {
		name := fmt.Sprintf("n%d", i)
		c := s.open(name)
		wg.Go(func() {
			for range rounds {
				t, r, err := oneTenure(ctx, c)
				if err != nil {
					s.Errorf("%s: %v", name, err)
					return
				}
				t.member = name
				mu.Lock()
				if r != nil {
					refusals = append(refusals, *r)
				} else {
					tenures = append(tenures, *t)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if s.Failed() {
		return
	}
	checkHistory(s, tenures, refusals)
}

// oneTenure acquires, renews and releases once.
func oneTenure(ctx context.Context, c dcs.Store) (*tenure, *refusal, error) {
	t := &tenure{asked: time.Now()}
	g, err := c.Acquire(ctx)
	t.got = time.Now()
	if errors.Is(err, dcs.ErrHeld) {
		return t, &refusal{t.asked, t.got}, nil
	}
	if err != nil {
		return t, nil, err
	}
	t.created = g.Created
	r, err := c.Renew(ctx, g.Hold)
	if err != nil || r.Hold != g.Hold {
		return t, nil, fmt.Errorf("renew of %+v: %+v, %w", g, r, err)
	}
	t.gave = time.Now()
	err = c.Release(ctx, g.Hold)
	t.gone = time.Now()
	return t, nil, err
}

// checkHistory looks for the two ways in which a lock can be wrong: two hold
// it at the same time, or one is refused while nobody can have held it.
func checkHistory(s *suite, tenures []tenure, refusals []refusal) {
	slices.SortFunc(tenures, func(a, b tenure) int { return int(a.created - b.created) })
	for i := 1; i < len(tenures); i++ {
		a, b := tenures[i-1], tenures[i]
		if a.created == b.created || b.got.Before(a.gave) || a.gone.Before(a.asked) {
			s.Errorf("tenures overlap or are out of order:\n%+v\n%+v", a, b)
		}
	}
	for _, r := range refusals {
		if !slices.ContainsFunc(tenures, func(t tenure) bool { return t.asked.Before(r.got) && t.gone.After(r.asked) }) {
			s.Errorf("refused from %v to %v although nobody held the key", r.asked, r.got)
		}
	}
	s.Logf("%d tenures, %d refusals", len(tenures), len(refusals))
	if len(tenures) == 0 {
		s.Error("nobody ever acquired")
	}
}
