package ctl

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tamada/internal/dcs/memory"
)

// exchange is one request that a member's API gets, and its answer.
type exchange struct {
	request string // like "POST pg-b /restart", with the body after it if there is one
	code    int
	answer  string
	then    string // the situation that the store is in afterwards; "" for no change
}

// fakes are the APIs of a cluster's members and the store that leads to them.
type fakes struct {
	t      *testing.T
	store  *memory.Server
	urls   map[string]string // member -> URL of its API
	mu     sync.Mutex        // guards what follows
	script []exchange
	keys   map[string]string
	extra  map[string]string // keys that are put over every situation
}

// fake makes the APIs; all requests must come as the script has them, or in any
// number if it ends with one whose request is "any". down are members whose API
// cannot be reached.
func fake(t *testing.T, now string, extra map[string]string, down []string, script ...exchange) *fakes {
	t.Helper()
	f := &fakes{t: t, store: memory.New(func() time.Duration { return 0 }), urls: map[string]string{}, script: slices.Clone(script), extra: extra, keys: map[string]string{}}
	for _, name := range []string{"pg-a", "pg-b", "pg-c", "pg-d", "pg-e"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(name, w, r) }))
		t.Cleanup(s.Close)
		f.urls[name] = s.URL + "/patroni"
	}
	for _, name := range down {
		s := httptest.NewServer(http.NotFoundHandler())
		s.Close()
		f.urls[name] = s.URL + "/patroni"
	}
	f.become(now)
	t.Cleanup(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, e := range f.script {
			if e.request != "any" {
				t.Errorf("not sent: %s", e.request)
			}
		}
	})
	return f
}

var apiURL = regexp.MustCompile(`"api_url":"[^"]*"`)

// become puts a situation, or what was in the store at a revision, into the
// store. The members' addresses are those of the fakes.
func (f *fakes) become(now string) {
	f.t.Helper()
	var keys map[string]string
	if revision, err := strconv.ParseInt(now, 10, 64); err == nil {
		keys = keysAt(f.t, revision)
	} else {
		keys = keysIn(f.t, now)
	}
	maps.Copy(keys, f.extra)
	maps.DeleteFunc(keys, func(key, value string) bool { return key == "leader" && value == "" })
	for key := range f.keys {
		if _, there := keys[key]; !there {
			f.store.Set(key, nil)
		}
	}
	for key, value := range keys {
		if name, ok := strings.CutPrefix(key, "members/"); ok {
			value = apiURL.ReplaceAllString(value, `"api_url":"`+f.urls[name]+`"`)
		}
		if f.keys[key] != value {
			f.store.Set(key, []byte(value))
		}
		keys[key] = value
	}
	f.keys = keys
}

func (f *fakes) serve(name string, w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	got := strings.TrimSpace(r.Method + " " + name + " " + r.URL.Path + " " + string(body))
	f.mu.Lock()
	defer f.mu.Unlock()
	user, password, _ := r.BasicAuth()
	switch {
	case user != "patroni" || password != "rest-secret":
		f.t.Errorf("%s came as user %q", got, user)
	case len(f.script) > 0 && f.script[0].request == "any":
		w.WriteHeader(f.script[0].code)
		_, _ = io.WriteString(w, f.script[0].answer)
		return
	case f.next(got) < 0:
		next := "nothing"
		if len(f.script) > 0 {
			next = f.script[0].request
		}
		f.t.Errorf("sent %s, want %s", got, next)
		w.WriteHeader(http.StatusTeapot)
		return
	}
	i := f.next(got)
	e := f.script[i]
	f.script = slices.Delete(f.script, i, i+1)
	if e.then != "" {
		b, ok := between[e.then]
		if !ok {
			b.base = e.then
		}
		f.extra = b.extra
		f.become(b.base)
	}
	w.WriteHeader(e.code)
	_, _ = io.WriteString(w, e.answer)
}

// next is the place of a request in the script, -1 if it is not expected now.
// Several members may be asked for their status at the same time.
func (f *fakes) next(request string) int {
	for i, e := range f.script {
		if e.request == request {
			return i
		}
		if !strings.HasPrefix(e.request, "GET ") {
			break
		}
	}
	return -1
}

// bench is a bench on the fakes.
func (f *fakes) bench() *bench {
	return &bench{stores: map[string]*memory.Server{"batman": f.store},
		config: "scope: batman\netcd3: {host: '127.0.0.1:1'}\nrestapi: {authentication: {username: patroni, password: rest-secret}}\n"}
}

var (
	eventStamp   = regexp.MustCompile(`(?m)^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?)[\t ]`)
	exampleStamp = regexp.MustCompile(`\(e\.g\. (\d{4}-\d\d-\d\dT\d\d:\d\d) ?\)`)
)

// clockOf is the moment at which a recording was made.
func clockOf(t *testing.T, c capture) func() time.Time {
	t.Helper()
	if m := eventStamp.FindStringSubmatch(c.stdout); m != nil {
		when, err := time.Parse("2006-01-02 15:04:05.999999", m[1])
		if err != nil {
			t.Fatal(err)
		}
		return at(when)
	}
	if m := exampleStamp.FindStringSubmatch(c.stdout); m != nil {
		when, err := time.Parse("2006-01-02T15:04", m[1])
		if err != nil {
			t.Fatal(err)
		}
		return at(when.Add(-time.Hour))
	}
	return nil
}

// replay runs a recording on fakes.
func (f *fakes) replay(t *testing.T, c capture) result {
	t.Helper()
	b := f.bench()
	b.stdin, b.now = c.stdin, clockOf(t, c)
	return b.run(t, c.args...)
}
