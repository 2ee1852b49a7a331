package peer

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
)

func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func member(url string) *cluster.Member {
	return &cluster.Member{Name: "pg-b", APIURL: url + "/patroni"}
}

// serve answers every request with a document.
func serve(t *testing.T, code int, body string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return s
}

// recorded is the body of a recorded status document.
func recorded(t *testing.T, situation, file string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", "rest", situation, file))
	if err != nil {
		t.Fatal(err)
	}
	_, response, _ := strings.Cut(string(data), "<<< response\n")
	_, body, _ := strings.Cut(response, "\r\n\r\n")
	return body
}

func TestRecordedPeers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		situation, file string
		want            Answer
		limitation      string
	}{
		"primary":          {"healthy-primary", "GET_patroni.http", Answer{Primary: true, Timeline: 1}, ""},
		"replica":          {"healthy-replica", "GET_patroni.http", Answer{LSN: 67108864, Timeline: 1}, ""},
		"tagged":           {"healthy-replica-tagged", "GET_patroni.http", Answer{LSN: 67108864, Timeline: 1}, "not allowed to promote"},
		"standby leader":   {"standby-cluster", "standby-leader_GET_patroni.http", Answer{LSN: 134217728, Timeline: 7}, ""},
		"stopped":          {"paused-postgres-stopped", "replica_GET_patroni.http", Answer{}, "not reachable"},
		"creating replica": {"creating-replica", "GET_patroni.http", Answer{}, "not reachable"},
		"another page":     {"healthy-primary", "GET_failsafe.http", Answer{}, "not reachable"},
		"metrics":          {"healthy-primary", "GET_metrics.http", Answer{}, "not reachable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, 200, recorded(t, test.situation, test.file))
			got := newClient(t, Options{}).Poll(t.Context(), member(s.URL))
			if got.Limitation() != test.limitation {
				t.Errorf("limitation %q (%v), want %q", got.Limitation(), got.Err, test.limitation)
			}
			if got.Name != "pg-b" || got.Primary != test.want.Primary || got.LSN != test.want.LSN || got.Timeline != test.want.Timeline {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]struct {
		reachable, primary bool
		lsn                cluster.LSN
		tli                cluster.Timeline
		limitation         string
	}{
		`{"xlog": {"received_location": 5, "replayed_location": 7}, "timeline": null}`: {true, false, 7, 0, ""},
		`{"wal": {"received_location": 9, "replayed_location": 7}, "timeline": 3}`:     {true, false, 9, 3, ""},
		`{"xlog": {"replayed_location": 7}}`:                                           {true, false, 7, 0, ""},
		`{"xlog": {"location": 5}, "role": "replica"}`:                                 {true, true, 0, 0, ""},
		`{"xlog": {"location": 0}, "role": "master"}`:                                  {true, true, 0, 0, ""},
		`{"xlog": {}, "role": "primary"}`:                                              {true, true, 0, 0, ""},
		`{"xlog": {"location": 0}, "role": "replica"}`:                                 {true, false, 0, 0, ""},
		`{"xlog": {}, "watchdog_failed": true}`:                                        {true, false, 0, 0, "not watchdog capable"},
		`{"xlog": {}, "tags": {"failover_priority": 0}}`:                               {true, false, 0, 0, "not allowed to promote"},
		`{"xlog": {"received_location": null, "replayed_location": 7}}`:                {limitation: "not reachable"},
		`{"xlog": {"received_location": "5", "replayed_location": 7}}`:                 {limitation: "not reachable"},
		`{"xlog": {"received_location": -5}}`:                                          {limitation: "not reachable"},
		`{"xlog": {"received_location": 5.5}}`:                                         {limitation: "not reachable"},
		`{"xlog": [5]}`:                                                                {limitation: "not reachable"},
		`{"xlog": {"replayed_location": 7}, "timeline": "3"}`:                          {limitation: "not reachable"},
		`{"xlog": {"replayed_location": 7}, "tags": "x"}`:                              {limitation: "not reachable"},
		`{"role": "replica"}`:                                                          {limitation: "not reachable"},
		`[]`:                                                                           {limitation: "not reachable"},
		``:                                                                             {limitation: "not reachable"},
		`{"xlog": {"replayed_location": 7}} {}`:                                        {limitation: "not reachable"},
		`{"xlog": {"replayed_location": 7}, "x": "` + strings.Repeat("x", maxAnswer) + `"}`: {limitation: "not reachable"},
	} {
		s := serve(t, 503, body)
		a := newClient(t, Options{}).Poll(t.Context(), member(s.URL))
		if (a.Err == nil) != want.reachable || a.Primary != want.primary || a.LSN != want.lsn || a.Timeline != want.tli || a.Limitation() != want.limitation {
			t.Errorf("%.80s: %+v %q", body, a, a.Limitation())
		}
	}
}

func TestPollAsksOnceAndShowsWhoAsks(t *testing.T) {
	t.Parallel()
	var got []*http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r)
		panic(http.ErrAbortHandler)
	}))
	a := newClient(t, Options{Username: "u", Password: "p", Version: "4.1.4"}).Poll(t.Context(), member(s.URL))
	s.Close() // waits for the handler
	if a.Err == nil || len(got) != 1 {
		t.Fatalf("asked %d times, %v", len(got), a.Err)
	}
	user, password, _ := got[0].BasicAuth()
	if got[0].Method != "GET" || got[0].URL.Path != "/patroni" || got[0].UserAgent() != "Patroni/4.1.4" || user != "u" || password != "p" {
		t.Errorf("asked %s %s as %q %q:%q", got[0].Method, got[0].URL, got[0].UserAgent(), user, password)
	}
	if strings.Contains(a.Err.Error(), "dTpw") {
		t.Error("the error shows the credentials")
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := serve(t, 200, `{"xlog": {"replayed_location": 7}}`)
	s := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer s.Close()
	if a := newClient(t, Options{}).Poll(t.Context(), member(s.URL)); a.Err == nil {
		t.Error("the answer of another host was taken")
	}
}

// silent accepts connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return "http://" + l.Addr().String()
}

func TestSlowPeerIsNotReachableAfterTwoSeconds(t *testing.T) {
	t.Parallel()
	good := serve(t, 200, `{"xlog": {"replayed_location": 7}}`)
	members := []cluster.Member{*member(silent(t)), *member(good.URL), *member(silent(t)), {Name: "no-url"}}
	begun := time.Now()
	answers := newClient(t, Options{}).PollAll(t.Context(), members)
	if took := time.Since(begun); took < pollTimeout-50*time.Millisecond || took > pollTimeout+time.Second {
		t.Errorf("took %v", took)
	}
	if !errors.Is(answers[0].Err, context.DeadlineExceeded) || answers[1].Err != nil || answers[2].Err == nil || answers[3].Err == nil {
		t.Errorf("answers %+v", answers)
	}
}

func TestLives(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		w.WriteHeader(503)
	}))
	c := newClient(t, Options{})
	if !c.Lives(t.Context(), member(s.URL)) {
		t.Error("an answer of 503 is an answer")
	}
	if path := <-asked; path != "/liveness" {
		t.Errorf("asked for %s", path)
	}
	s.Close()
	if c.Lives(t.Context(), member(s.URL)) || c.Lives(t.Context(), &cluster.Member{}) {
		t.Error("nobody is there")
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"xlog": {"received_location": 5, "replayed_location": 7}, "timeline": 2, "tags": {}, "role": "replica"}`))
	f.Add([]byte(`{"wal": {"location": "x"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var a Answer
		if a.read(body) == nil && a.Primary && a.LSN != 0 {
			t.Error("a primary with a position of a standby")
		}
	})
}
