package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ledger"
)

// Ledger has one entry, whose reason is the question.
func (f *fakeAgent) Ledger(_ context.Context, q ledger.Query) (ledger.Page, error) {
	if q.Limit == 7 {
		return ledger.Page{}, context.DeadlineExceeded
	}
	line := fmt.Sprintf(`{"at":"2031-05-06T07:08:09Z","boot":1,"node":"n1","kind":"task","what":"x","why":"%s|%s|%d"}`,
		q.Since.Format(time.RFC3339), q.Until.Format(time.RFC3339), q.Limit)
	return ledger.Page{Lines: []json.RawMessage{json.RawMessage(line)}, More: true}, nil
}

func (f *fakeAgent) RequestTaken(action, _, what string) { f.keep("taken " + action + ": " + what) }

func (f *fakeAgent) RequestRefused(action, _ string, code int, why string) {
	f.keep(fmt.Sprintf("refused %s: %d %s", action, code, why))
}

func (f *fakeAgent) keep(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = append(f.kept, line)
}

func TestLedgerIsShownWithinTheSpanAskedFor(t *testing.T) {
	t.Parallel()
	f := newFakeAgent(&Snapshot{Cluster: &cluster.Cluster{}}, nil)
	s, err := New(f, Options{Name: "n1"}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		code int
		want string // the question, or the answer's text
	}{
		{"/tamada/ledger", 200, "0001-01-01T00:00:00Z|0001-01-01T00:00:00Z|0"},
		{"/tamada/ledger?since=2031-05-06T00:00:00Z&until=2031-05-07T00:00:00%2B02:00&limit=5", 200, "2031-05-06T00:00:00Z|2031-05-07T00:00:00+02:00|5"},
		{"/tamada/ledger?since=yesterday", 400, "since should be a time like 2031-02-03T04:05:06Z"},
		{"/tamada/ledger?limit=0", 400, "limit should be a positive number"},
		{"/tamada/ledger?limit=7", 503, "the ledger cannot be read, see the log"},
	} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
		got := w.Body.String()
		if c.code == 200 {
			p, err := ledger.ParseDocument(w.Body.Bytes())
			if err != nil || !p.More || len(p.Lines) != 1 {
				t.Fatalf("%s: %s %v", c.path, w.Body, err)
			}
			got = ledger.Decode(p.Lines)[0].Why
		}
		if w.Code != c.code || got != c.want {
			t.Errorf("%s: %d %q, want %d %q", c.path, w.Code, got, c.code, c.want)
		}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/tamada/other", nil))
	if w.Code != 404 {
		t.Errorf("/tamada/other: %d", w.Code)
	}
}

func TestRequestsToMoveTheLeaderAreKeptForTheLedger(t *testing.T) {
	t.Parallel()
	agent := healthyPrimary(t)
	s := newTestServer(t, agent, captureOptions("pg-a"))
	post(s, "POST", "/switchover", now2)
	post(s, "POST", "/switchover", `{"leader": "pg-x"}`)
	post(s, "POST", "/failover", `{"leader": "pg-a"}`)
	agent.mu.Lock()
	defer agent.mu.Unlock()
	want := []string{"taken switchover: from pg-a to pg-b", "refused switchover: 412 leader name does not match",
		"refused failover: 400 Failover could be performed only to a specific candidate"}
	if !slices.Equal(agent.kept, want) {
		t.Errorf("kept %q, want %q", agent.kept, want)
	}
}
