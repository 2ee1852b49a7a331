package rest

import (
	"strings"
	"testing"

	"tamada/internal/cluster"
)

const primaryAsks = `{"name": "pg-a", "conn_url": "postgres://10.0.0.1:5432/postgres", "api_url": "http://10.0.0.1:8008/patroni", "slots": {"pg_b": 83886080}}`

func failsafeReplica(a *fakeAgent) {
	a.change(func(s *Snapshot) {
		s.Settings.FailsafeMode, s.Role, s.LockUntil = true, cluster.RoleReplica, 0
	})
}

// The caller accepts nothing but 200 and exactly this body; the header is the
// member's position.
func TestPromiseInFailsafeMode(t *testing.T) {
	t.Parallel()
	a := healthyReplica(t)
	failsafeReplica(a)
	_, addr := start(t, a, captureOptions("pg-b"))
	answer := raw(t, addr, request("POST", "/failsafe", authorized, primaryAsks))
	if code, _, _, body := parseResponse(answer); code != 200 || body != "Accepted" || !strings.Contains(string(answer), "\r\nlsn: 83886408\r\n") {
		t.Errorf("got %s", answer)
	}
	if a.promised != "pg-a" || len(a.promisedSlots) != 1 || a.promisedSlots[0] != (cluster.Slot{Name: "pg_b", LSN: 83886080}) {
		t.Errorf("promised to %q with %v", a.promised, a.promisedSlots)
	}
}

func TestMalformedQuestionsInFailsafeModeAreRefused(t *testing.T) {
	t.Parallel()
	a := healthyReplica(t)
	failsafeReplica(a)
	_, addr := start(t, a, captureOptions("pg-b"))
	for _, body := range []string{`{}`, `{"name": "x"}`, `{"name": "x", "conn_url": "a", "api_url": 1}`,
		`{"name": "x", "conn_url": "a", "api_url": "b", "slots": []}`, `{"name": "x", "conn_url": "a", "api_url": "b", "slots": {"s": -1}}`,
		`{"name": "", "conn_url": "a", "api_url": "b"}`} {
		if code, _, _, _ := parseResponse(raw(t, addr, request("POST", "/failsafe", authorized, body))); code != 400 || a.promised != "" {
			t.Errorf("%s: got %d, promised to %q", body, code, a.promised)
		}
	}
}
