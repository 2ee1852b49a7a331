package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"tamada/internal/cluster"
)

// A description is docs/openapi.yaml.
type description struct {
	root map[string]any
	// seen are the answers that the server gave, as METHOD PATH CODE.
	seen map[string]bool
}

func readDescription(t *testing.T) *description {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	d := &description{seen: map[string]bool{}}
	if err := yaml.Unmarshal(data, &d.root); err != nil {
		t.Fatal(err)
	}
	return d
}

// at follows a path of keys, and references on it; nil when it leads nowhere.
func (d *description) at(from any, keys ...string) any {
	for _, k := range keys {
		m, _ := d.deref(from).(map[string]any)
		from = m[k]
	}
	return d.deref(from)
}

func (d *description) deref(v any) any {
	m, _ := v.(map[string]any)
	ref, ok := m["$ref"].(string)
	if !ok {
		return v
	}
	return d.at(d.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
}

// operations calls f for each documented operation.
func (d *description) operations(f func(path, method string)) {
	for path, item := range d.root["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			f(path, strings.ToUpper(method))
		}
	}
}

// check holds one answer to the description.
func (d *description) check(t *testing.T, method, path string, w *httptest.ResponseRecorder) {
	t.Helper()
	what := fmt.Sprintf("%s %s %d", method, path, w.Code)
	response, ok := d.at(d.root, "paths", path, strings.ToLower(method), "responses", strconv.Itoa(w.Code)).(map[string]any)
	if !ok {
		t.Errorf("%s is not described", what)
		return
	}
	d.seen[what] = true
	content, _ := response["content"].(map[string]any)
	got := w.Header().Get("Content-Type")
	if content == nil {
		if got != "" || w.Body.Len() > 0 {
			t.Errorf("%s has a body of type %q, which is not described", what, got)
		}
		return
	}
	media, ok := content[got]
	if !ok {
		t.Errorf("%s has content type %q, described are %v", what, got, slices.Sorted(maps.Keys(content)))
		return
	}
	if got == "application/json" {
		var v any
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		if err := d.fits(d.at(media, "schema"), v, "$"); err != nil {
			t.Errorf("%s: %v in %s", what, err, w.Body)
		}
	}
}

// fits tells what of a value is not as a schema says.
func (d *description) fits(schema, v any, where string) error {
	s, _ := d.deref(schema).(map[string]any)
	if types, ok := s["type"]; ok && !slices.ContainsFunc(list(types), func(x any) bool { return isOfType(v, x.(string)) }) {
		return fmt.Errorf("%s is %T and not %v", where, v, types)
	}
	if enum, ok := s["enum"]; ok && !slices.Contains(list(enum), v) {
		return fmt.Errorf("%s is %v and not one of %v", where, v, enum)
	}
	if least, ok := s["minimum"].(int); ok && v.(float64) < float64(least) {
		return fmt.Errorf("%s is %v", where, v)
	}
	switch v := v.(type) {
	case []any:
		for i, x := range v {
			if err := d.fits(s["items"], x, fmt.Sprintf("%s[%d]", where, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, k := range list(s["required"]) {
			if _, there := v[k.(string)]; !there {
				return fmt.Errorf("%s has no %s", where, k)
			}
		}
		properties, _ := s["properties"].(map[string]any)
		for k, x := range v {
			part, known := properties[k]
			if !known {
				if s["additionalProperties"] == false {
					return fmt.Errorf("%s.%s is not described", where, k)
				}
				part = s["additionalProperties"]
			}
			if err := d.fits(part, x, where+"."+k); err != nil {
				return err
			}
		}
	}
	return nil
}

func list(v any) []any {
	if l, ok := v.([]any); ok {
		return l
	}
	if v == nil {
		return nil
	}
	return []any{v}
}

func isOfType(v any, name string) bool {
	switch v := v.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case float64:
		return name == "number" || name == "integer" && v == math.Trunc(v)
	case string:
		return name == "string"
	case []any:
		return name == "array"
	}
	return name == "object"
}

// TestServerIsAsDescribed: every route is described and the other way round;
// every answer fits its description; and every code that is described is given
// by the server in some situation.
func TestServerIsAsDescribed(t *testing.T) {
	t.Parallel()
	d := readDescription(t)
	described := map[string]bool{}
	d.operations(func(path, method string) {
		described[method+" "+path] = true
		segment := strings.TrimPrefix(path, "/")
		_, special := routes[method+" "+segment]
		if isRead(method) || special {
			return
		}
		t.Errorf("%s %s is described and does not exist", method, path)
	})
	for r, route := range routes {
		method, segment, _ := strings.Cut(r, " ")
		if !described[method+" /"+segment] {
			t.Errorf("%s is not described", r)
		}
		secured := d.at(d.root, "paths", "/"+segment, strings.ToLower(method), "security") != nil
		if secured != route.protected {
			t.Errorf("%s: described as protected: %v, it is: %v", r, secured, route.protected)
		}
	}
	d.readEverywhere(t)
	d.control(t)
	d.operations(func(path, method string) {
		responses, _ := d.at(d.root, "paths", path, strings.ToLower(method), "responses").(map[string]any)
		for code := range responses {
			if what := method + " " + path + " " + code; !d.seen[what] {
				t.Errorf("%s is described and was never given", what)
			}
		}
	})
}

func isRead(method string) bool { return method == "GET" || method == "HEAD" || method == "OPTIONS" }

// readEverywhere asks everything of nodes in every recorded situation.
func (d *description) readEverywhere(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join("testdata", "rest", "*", "*GET_patroni*.http"))
	if len(files) < 20 {
		t.Fatalf("%d situations", len(files))
	}
	for _, file := range files {
		c := readCapture(t, file)
		sc, _ := sceneOf(file)
		agent := agentOf(t, c, sc, statusDocument(t, c))
		d.readAll(t, newTestServer(t, agent, captureOptions(c.node)))
	}
	down := healthyReplica(t)
	down.loadErr = errors.New("no quorum")
	down.change(func(s *Snapshot) { s.Cluster, s.State, s.NextRun = nil, cluster.StateStopped, -1<<50 })
	d.readAll(t, newTestServer(t, down, captureOptions("pg-b")))
	synchronous, _ := filepath.Glob(filepath.Join("testdata", "rest", "synchronous-mode", "*GET_patroni*.http"))
	if len(synchronous) == 0 {
		t.Error("no recording of the synchronous mode")
	}
}

func (d *description) readAll(t *testing.T, s *Server) {
	d.operations(func(path, method string) {
		if isRead(method) {
			d.check(t, method, path, call(s, method, path))
		}
	})
}

// control makes every request that changes something, well and badly.
func (d *description) control(t *testing.T) {
	away := errors.New("no quorum")
	const later = `"2101-01-01T00:00:00Z"`
	scheduledFailover := func(a *fakeAgent) {
		a.showKey(cluster.Failover{Leader: "pg-a", ScheduledAt: "2101-01-01T00:00:00+00:00"})
	}
	paused := func(a *fakeAgent) {
		a.see(func(c *cluster.Cluster) {
			c.Config = &cluster.DynamicConfig{Doc: cluster.NewObject("pause", true), Version: 9}
		})
	}
	noConfig := func(a *fakeAgent) { c := *a.store; c.Config = nil; a.store = &c }
	big := `{"x": "` + strings.Repeat("x", maxBody) + `"}`
	for _, x := range []struct {
		method, path, body string
		code               int
		spoil              func(*fakeAgent)
	}{
		{"PATCH", "/config", `{"ttl": 31}`, 200, nil},
		{"PATCH", "/config", `{`, 400, nil},
		{"PATCH", "/config", `{"ttl": 31}`, 409, func(a *fakeAgent) { a.putErr = errConflict }},
		{"PATCH", "/config", "", 411, nil},
		{"PATCH", "/config", big, 413, nil},
		{"PATCH", "/config", `{"ttl": 31}`, 503, func(a *fakeAgent) { a.loadErr = away }},
		{"PATCH", "/config", `{"ttl": 31}`, 503, noConfig},
		{"PUT", "/config", `{"ttl": 31}`, 200, nil},
		{"PUT", "/config", `[]`, 400, nil},
		{"PUT", "/config", "", 411, nil},
		{"PUT", "/config", big, 413, nil},
		{"PUT", "/config", `{"ttl": 31}`, 502, func(a *fakeAgent) { a.putErr = away }},
		{"PUT", "/config", `{"ttl": 31}`, 503, func(a *fakeAgent) { a.loadErr = away }},
		{"POST", "/switchover", `{"leader": "pg-a"}`, 200, nil},
		{"POST", "/switchover", `{"leader": "pg-a", "scheduled_at": ` + later + `}`, 202, nil},
		{"POST", "/switchover", `{`, 400, nil},
		{"POST", "/switchover", `{"candidate": "pg-b"}`, 400, nil},
		{"POST", "/switchover", "", 411, nil},
		{"POST", "/switchover", `{"leader": "pg-b"}`, 412, nil},
		{"POST", "/switchover", big, 413, nil},
		{"POST", "/switchover", `{"leader": "pg-a", "scheduled_at": "soon"}`, 422, nil},
		{"POST", "/switchover", `{"leader": "pg-a"}`, 503, func(a *fakeAgent) { a.putErr = away }},
		{"DELETE", "/switchover", "", 200, scheduledFailover},
		{"DELETE", "/switchover", "", 404, nil},
		{"DELETE", "/switchover", "", 409, func(a *fakeAgent) { scheduledFailover(a); a.putErr = errConflict }},
		{"DELETE", "/switchover", "", 503, func(a *fakeAgent) { a.loadErr = away }},
		{"POST", "/failover", `{"candidate": "pg-b"}`, 200, nil},
		{"POST", "/failover", `{`, 400, nil},
		{"POST", "/failover", `{"leader": "pg-a"}`, 400, nil},
		{"POST", "/failover", "", 411, nil},
		{"POST", "/failover", `{"candidate": "pg-x"}`, 412, nil},
		{"POST", "/failover", big, 413, nil},
		{"POST", "/failover", `{"candidate": "pg-a"}`, 503, nil},
		{"POST", "/restart", "", 200, nil},
		{"POST", "/restart", `{"schedule": ` + later + `}`, 202, nil},
		{"POST", "/restart", `{`, 400, nil},
		{"POST", "/restart", `{"x": 1}`, 400, nil},
		{"POST", "/restart", `{"schedule": ` + later + `}`, 409, func(a *fakeAgent) { _, _, _ = a.Restart(t.Context(), future, false) }},
		{"POST", "/restart", big, 413, nil},
		{"POST", "/restart", `{"schedule": "soon"}`, 422, nil},
		{"POST", "/restart", `{"schedule": ` + later + `}`, 500, paused},
		{"POST", "/restart", `{"role": "replica"}`, 503, nil},
		{"DELETE", "/restart", "", 200, func(a *fakeAgent) { _, _, _ = a.Restart(t.Context(), future, false) }},
		{"DELETE", "/restart", "", 404, nil},
		{"DELETE", "/restart", "", 503, func(a *fakeAgent) { a.ended = away }},
		{"POST", "/failsafe", primaryAsks, 200, failsafeReplica},
		{"POST", "/failsafe", `{"name": 1}`, 400, nil},
		{"POST", "/failsafe", "", 411, nil},
		{"POST", "/failsafe", big, 413, nil},
		{"POST", "/failsafe", primaryAsks, 500, func(a *fakeAgent) { a.change(func(s *Snapshot) { s.Settings.FailsafeMode = true }) }},
		{"POST", "/failsafe", primaryAsks, 502, nil},
		{"POST", "/failsafe", primaryAsks, 503, func(a *fakeAgent) { a.ended = away }},
		{"POST", "/reinitialize", "{}", 200, func(a *fakeAgent) { a.change(func(s *Snapshot) { s.LockUntil = 0 }) }},
		{"POST", "/reinitialize", "{", 400, nil},
		{"POST", "/reinitialize", big, 413, nil},
		{"POST", "/reinitialize", "", 503, nil},
		{"POST", "/reload", "", 202, nil},
		{"POST", "/sigterm", "", 202, nil},
	} {
		agent := healthyPrimary(t)
		if x.spoil != nil {
			x.spoil(agent)
		}
		w := post(newTestServer(t, agent, captureOptions("pg-a")), x.method, x.path, x.body)
		if w.Code != x.code {
			t.Errorf("%s %s %.80s: %d %s, want %d", x.method, x.path, x.body, w.Code, w.Body, x.code)
		}
		d.check(t, x.method, x.path, w)
	}
	d.keptOut(t)
}

// keptOut makes every protected request without a password, and from an address
// that may not.
func (d *description) keptOut(t *testing.T) {
	open, closed := captureOptions("pg-a"), captureOptions("pg-a")
	closed.Allowlist = []string{"203.0.113.1"}
	for code, o := range map[int]Options{401: open, 403: closed} {
		agent := healthyPrimary(t)
		s := newTestServer(t, agent, o)
		d.operations(func(path, method string) {
			if isRead(method) {
				return
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(method, path, http.NoBody))
			if w.Code != code {
				t.Errorf("%s %s: %d, want %d", method, path, w.Code, code)
			}
			d.check(t, method, path, w)
		})
		if agent.reloads > 0 || len(agent.puts)+len(agent.failovers)+len(agent.restarts)+len(agent.reinits) > 0 {
			t.Errorf("who was answered %d changed something", code)
		}
	}
}
