package rest

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

const authorized = "Authorization: Basic cGF0cm9uaTpyZXN0LXNlY3JldA==\r\n"

// request is a complete request with a body.
func request(method, path, headers, body string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s",
		method, path, headers, len(body), body)
}

func get(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
}

// healthyPrimary is pg-a in the recorded healthy cluster.
func healthyPrimary(t *testing.T) *fakeAgent {
	t.Helper()
	c := readCapture(t, filepath.Join("testdata", "rest", "healthy-primary", "GET_patroni.http"))
	return agentOf(t, c, scenes["healthy-primary"], statusDocument(t, c))
}

// healthyReplica is pg-b in the recorded healthy cluster.
func healthyReplica(t *testing.T) *fakeAgent {
	t.Helper()
	c := readCapture(t, filepath.Join("testdata", "rest", "healthy-replica", "GET_patroni.http"))
	return agentOf(t, c, scenes["healthy-replica"], statusDocument(t, c))
}

func TestConfigReadsWhatWasJustWritten(t *testing.T) {
	t.Parallel()
	agent := healthyPrimary(t)
	_, addr := start(t, agent, captureOptions("pg-a"))
	put := readCapture(t, filepath.Join("testdata", "rest", "config", "put-changed.http"))
	after := readCapture(t, filepath.Join("testdata", "rest", "config", "get-right-after-put.http"))
	if code, _, _, body := parseResponse(raw(t, addr, put.request)); code != 200 || body != put.body {
		t.Fatalf("PUT: %d %s", code, body)
	}
	if _, _, _, body := parseResponse(raw(t, addr, after.request)); body != after.body {
		t.Errorf("GET right after PUT shows\n%s\nwant\n%s", body, after.body)
	}
	// Once the view holds something newer, that is shown.
	newer := cluster.NewObject("ttl", 42)
	agent.change(func(s *Snapshot) {
		c := *s.Cluster
		c.Config = &cluster.DynamicConfig{Doc: newer, Version: c.Config.Version + 100}
		s.Cluster = &c
	})
	if _, _, _, body := parseResponse(raw(t, addr, after.request)); body != `{"ttl": 42}` {
		t.Errorf("a newer view is not shown: %s", body)
	}
}

func TestWrittenConfigIsForgottenAfterTTL(t *testing.T) {
	t.Parallel()
	agent := healthyPrimary(t)
	_, addr := start(t, agent, captureOptions("pg-a"))
	before := bodyOf(t, addr, get("/config"))
	raw(t, addr, request("PATCH", "/config", authorized, `{"x": 1}`))
	if got := bodyOf(t, addr, get("/config")); got == before {
		t.Fatal("the patch is not shown")
	}
	agent.advance(31 * time.Second)
	agent.change(func(s *Snapshot) { s.ClusterReadAt = agent.Now() })
	if got := bodyOf(t, addr, get("/config")); got != before {
		t.Errorf("a write that the store does not confirm is shown for ever: %s", got)
	}
}

func bodyOf(t *testing.T, addr, req string) string {
	t.Helper()
	_, _, _, body := parseResponse(raw(t, addr, req))
	return body
}

func codeOf(t *testing.T, addr, req string) int {
	t.Helper()
	code, _, _, _ := parseResponse(raw(t, addr, req))
	return code
}

func TestPatchWritesOnlyOnTheVersionItRead(t *testing.T) {
	t.Parallel()
	agent := healthyPrimary(t)
	read := agent.store.Config.Version
	_, addr := start(t, agent, captureOptions("pg-a"))
	if code := codeOf(t, addr, request("PATCH", "/config", authorized, `{"ttl": 31}`)); code != 200 {
		t.Fatalf("PATCH: %d", code)
	}
	if len(agent.conds) != 1 {
		t.Fatalf("%d writes", len(agent.conds))
	}
	if anything, absent, version := agent.conds[0].Want(); anything || absent || version != read {
		t.Errorf("wrote on condition any=%v absent=%v version=%d, want version %d", anything, absent, version, read)
	}
	if agent.wakes.Load() != 1 {
		t.Errorf("the loop was woken %d times", agent.wakes.Load())
	}
	if agent.snap.Load().Cluster.Config.Doc.Value("ttl") == agent.puts[0].Value("ttl") {
		t.Error("the patch changed the shared view in place")
	}
}

func TestPatchThatChangesNothingWritesNothing(t *testing.T) {
	t.Parallel()
	agent := healthyPrimary(t)
	_, addr := start(t, agent, captureOptions("pg-a"))
	if code := codeOf(t, addr, request("PATCH", "/config", authorized, `{"ttl": "30", "gone": null}`)); code != 200 {
		t.Fatalf("PATCH: %d", code)
	}
	if len(agent.puts) != 0 || agent.wakes.Load() != 1 {
		t.Errorf("%d writes, %d wakes", len(agent.puts), agent.wakes.Load())
	}
}

func TestConfigFailures(t *testing.T) {
	t.Parallel()
	outage := errors.New("no quorum")
	noConfig := func(a *fakeAgent) { c := *a.store; c.Config = nil; a.store = &c }
	for name, test := range map[string]struct {
		method string
		spoil  func(*fakeAgent)
		code   int
		text   string
	}{
		"patch loses the race":          {"PATCH", func(a *fakeAgent) { a.putErr = fmt.Errorf("write: %w", dcs.ErrConflict) }, 409, "Error code: 409"},
		"patch cannot write":            {"PATCH", func(a *fakeAgent) { a.putErr = outage }, 503, "DCS is not accessible, try again later"},
		"patch cannot read":             {"PATCH", func(a *fakeAgent) { a.loadErr = outage }, 503, "DCS is not accessible, try again later"},
		"patch without a configuration": {"PATCH", noConfig, 503, "Error code: 503"},
		"put cannot write":              {"PUT", func(a *fakeAgent) { a.putErr = outage }, 502, "Error code: 502"},
		"put cannot read":               {"PUT", func(a *fakeAgent) { a.loadErr = outage }, 503, "DCS is not accessible, try again later"},
		"put without a configuration":   {"PUT", noConfig, 200, `{"ttl": 31}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			agent := healthyPrimary(t)
			test.spoil(agent)
			_, addr := start(t, agent, captureOptions("pg-a"))
			code, _, _, body := parseResponse(raw(t, addr, request(test.method, "/config", authorized, `{"ttl": 31}`)))
			if code != test.code || !strings.Contains(body, test.text) {
				t.Errorf("answered %d %s", code, body)
			}
			if strings.Contains(body, "quorum") {
				t.Error("the answer tells an inner error")
			}
		})
	}
}

func TestBodyRules(t *testing.T) {
	t.Parallel()
	_, addr := start(t, healthyPrimary(t), captureOptions("pg-a"))
	head := "PATCH /config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + authorized
	for name, test := range map[string]struct {
		request string
		code    int
	}{
		"no length":                  {head + "\r\n", 411},
		"chunks instead of length":   {head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 411},
		"length 0":                   {head + "Content-Length: 0\r\n\r\n", 400},
		"length is not a number":     {head + "Content-Length: x\r\n\r\n", 400},
		"not UTF-8":                  {request("PATCH", "/config", authorized, "{\"a\": \"\xff\"}"), 400},
		"a list":                     {request("PATCH", "/config", authorized, "[1]"), 400},
		"something after":            {request("PATCH", "/config", authorized, "{\"a\": 1} {}"), 400},
		"nested too deep":            {request("PATCH", "/config", authorized, strings.Repeat(`{"a":`, 5000)+"1"+strings.Repeat("}", 5000)), 400},
		"more than 64 KiB":           {request("PATCH", "/config", authorized, `{"a": "`+strings.Repeat("x", 64<<10)+`"}`), 413},
		"shorter than it promised":   {head + "Content-Length: 100\r\n\r\n{\"a\": 1}", 400},
		"no credentials comes first": {request("PATCH", "/config", "", "nonsense"), 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := codeOf(t, addr, test.request); got != test.code {
				t.Errorf("answered %d, want %d", got, test.code)
			}
		})
	}
}
