package rest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
)

// tryReload posts to a protected endpoint that needs no body, from an address.
func tryReload(s *Server, from string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/reload", nil)
	r.RemoteAddr = from
	for _, h := range header {
		r.Header.Set("Authorization", h)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestBasicAuthentication(t *testing.T) {
	t.Parallel()
	agent := healthyPrimary(t)
	s := newTestServer(t, agent, captureOptions("pg-a"))
	good := base64.StdEncoding.EncodeToString([]byte("patroni:rest-secret"))
	for name, test := range map[string]struct {
		header []string
		code   int
		text   string
	}{
		"none":                   {nil, 401, "no auth header received"},
		"right":                  {[]string{"Basic " + good}, 202, "reload scheduled"},
		"wrong password":         {[]string{"Basic " + base64.StdEncoding.EncodeToString([]byte("patroni:no"))}, 401, "not authenticated"},
		"scheme in lower case":   {[]string{"basic " + good}, 401, "not authenticated"},
		"other scheme":           {[]string{"Bearer " + good}, 401, "not authenticated"},
		"a prefix is not enough": {[]string{"Basic " + good[:8]}, 401, "not authenticated"},
	} {
		w := tryReload(s, "10.0.0.1:1", test.header...)
		if w.Code != test.code || w.Body.String() != test.text {
			t.Errorf("%s: %d %q", name, w.Code, w.Body)
		}
		//lint:ignore SA1008 this spelling is on the wire
		if got := w.Header()["WWW-Authenticate"]; (w.Code == 401) != (len(got) == 1) {
			t.Errorf("%s: WWW-Authenticate %q", name, got)
		}
	}
	if agent.reloads != 1 {
		t.Errorf("reloaded %d times", agent.reloads)
	}
}

func TestHalfCredentialsAreRefused(t *testing.T) {
	t.Parallel()
	_, err := New(healthyPrimary(t), Options{Name: "a", Password: "s3cret"}, quiet())
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error is %v", err)
	}
}

func TestAllowlist(t *testing.T) {
	t.Parallel()
	agent := healthyPrimary(t)
	agent.change(func(s *Snapshot) {
		c := *s.Cluster
		c.Members = []cluster.Member{{Name: "a", APIURL: "http://192.0.2.7:8008/patroni"}, {Name: "b", APIURL: "https://[2001:db8::7]:8008/patroni"},
			{Name: "c", APIURL: "http://localhost:8008/patroni"}, {Name: "d"}, {Name: "e", APIURL: "://"}}
		s.Cluster = &c
	})
	for name, test := range map[string]struct {
		list    []string
		members bool
		from    string
		code    int
	}{
		"no list":                       {nil, false, "10.1.2.3:1", 202},
		"network":                       {[]string{"10.0.0.0/8"}, false, "10.1.2.3:1", 202},
		"network with host bits":        {[]string{"10.1.2.9/24"}, false, "10.1.2.3:1", 202},
		"outside":                       {[]string{"10.0.0.0/8"}, false, "11.1.2.3:1", 403},
		"address":                       {[]string{"10.1.2.3"}, false, "10.1.2.3:1", 202},
		"IPv4 on a dual-stack listener": {[]string{"10.1.2.3"}, false, "[::ffff:10.1.2.3]:1", 202},
		"IPv6":                          {[]string{"2001:db8::/32"}, false, "[2001:db8::1]:1", 202},
		"mapped network":                {[]string{"::ffff:10.0.0.0/104"}, false, "10.1.2.3:1", 202},
		"name":                          {[]string{"localhost"}, false, "127.0.0.1:1", 202},
		"nothing resolves: nobody":      {[]string{"no such name"}, false, "127.0.0.1:1", 403},
		"one of two resolves":           {[]string{"no such name", "127.0.0.1"}, false, "127.0.0.1:1", 202},
		"member":                        {nil, true, "192.0.2.7:1", 202},
		"member by IPv6":                {nil, true, "[2001:db8::7]:1", 202},
		"member by name":                {nil, true, "127.0.0.1:1", 202},
		"not a member":                  {nil, true, "192.0.2.8:1", 403},
		"member or in the list":         {[]string{"10.0.0.0/8"}, true, "10.1.2.3:1", 202},
		"in neither":                    {[]string{"10.0.0.0/8"}, true, "192.0.2.8:1", 403},
		"something that is no address":  {[]string{"10.0.0.0/8"}, false, "@", 403},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTestServer(t, agent, Options{Name: "a", Scope: "x", Allowlist: test.list, AllowlistIncludeMembers: test.members})
			w := tryReload(s, test.from)
			if w.Code != test.code || w.Code == 403 && w.Body.String() != "Access is denied" {
				t.Errorf("%d %s, want %d", w.Code, w.Body, test.code)
			}
			if w := call(s, "GET", "/primary"); w.Code != 200 {
				t.Errorf("a health check is denied: %d", w.Code)
			}
		})
	}
}

func TestMembersAreNotAdmittedWithoutAView(t *testing.T) {
	t.Parallel()
	agent := healthyPrimary(t)
	agent.change(func(s *Snapshot) { s.Cluster = nil })
	s := newTestServer(t, agent, Options{Name: "a", AllowlistIncludeMembers: true})
	if w := tryReload(s, "127.0.0.1:1"); w.Code != 403 {
		t.Errorf("answered %d", w.Code)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	o := captureOptions("pg-a")
	o.HTTPExtraHeaders = map[string]string{"X-Frame-Options": "DENY", "x-one": "http"}
	o.HTTPSExtraHeaders = map[string]string{"X-One": "https"}
	s := newTestServer(t, healthyPrimary(t), o)
	if h := call(s, "GET", "/primary").Header(); h.Get("X-Frame-Options") != "DENY" || h.Get("X-One") != "http" {
		t.Errorf("normal response: %v", h)
	}
	if h := tryReload(s, "1.1.1.1:1").Header(); h.Get("X-One") != "http" {
		t.Errorf("text response: %v", h)
	}
	for _, path := range []string{"/liveness", "/readiness", "/failsafe"} {
		if h := call(s, "GET", path).Header(); h.Get("X-One") != "" {
			t.Errorf("%s: %v", path, h)
		}
	}
	if h := call(s, "HEAD", "/primary").Header(); h.Get("X-One") != "" || h.Get("Content-Type") != "" {
		t.Errorf("status-only response: %v", h)
	}
}

func TestServerTokens(t *testing.T) {
	t.Parallel()
	for tokens, want := range map[string]string{"": "Tamada", "Original": "Tamada", "PRODUCTONLY": "Patroni", "minimal": "Patroni/4.1.4", "x": "Tamada"} {
		var logged bytes.Buffer
		o := captureOptions("pg-a")
		o.ServerTokens = tokens
		s, err := New(healthyPrimary(t), o, slog.New(slog.NewTextHandler(&logged, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if got := call(s, "GET", "/primary").Header().Get("Server"); got != want {
			t.Errorf("%q gives %q", tokens, got)
		}
		if warned := strings.Contains(logged.String(), "server_tokens"); warned != (tokens == "x") {
			t.Errorf("%q logged %q", tokens, logged.String())
		}
	}
}

func TestReloadOfOptions(t *testing.T) {
	t.Parallel()
	s, addr := start(t, healthyPrimary(t), captureOptions("pg-a"))
	before := bodyOf(t, addr, get("/patroni"))
	o := captureOptions("pg-a")
	o.Scope, o.Username, o.Password = "other", "", ""
	if err := s.Reload(o); err != nil {
		t.Fatal(err)
	}
	if after := bodyOf(t, addr, get("/patroni")); after != strings.Replace(before, "batman", "other", 1) {
		t.Errorf("after the reload: %s", after)
	}
	if code := codeOf(t, addr, "POST /reload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); code != 202 {
		t.Errorf("authentication is still asked for: %d", code)
	}
	o.TLS.CertFile = "/nonexistent"
	if err := s.Reload(o); err == nil || !strings.Contains(err.Error(), "certfile") {
		t.Errorf("error is %v", err)
	}
	if code := codeOf(t, addr, get("/primary")); code != 200 {
		t.Errorf("after a failed reload: %d", code)
	}
}

func FuzzAllowlist(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "::ffff:1.2.3.4/100", "::/0", "1.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		p, err := netip.ParsePrefix(entry)
		if err != nil {
			return
		}
		if q := unmapPrefix(p).Masked(); !q.IsValid() || !q.Contains(p.Addr().Unmap().WithZone("")) && p.Addr().Zone() == "" && !p.Addr().Is4In6() {
			t.Errorf("%s became %s", p, q)
		}
	})
}

func TestTimestamps(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 2*3600)
	for _, test := range []struct {
		t    time.Time
		want string
	}{
		{time.Date(2031, 5, 6, 7, 8, 9, 123456000, time.UTC), "2031-05-06 07:08:09.123456+00:00"},
		{time.Date(2031, 5, 6, 7, 8, 9, 120000000, zone), "2031-05-06 07:08:09.120000+02:00"},
		{time.Date(2031, 5, 6, 7, 8, 9, 0, zone), "2031-05-06 07:08:09+02:00"},
	} {
		if got := timestamp(test.t); got != test.want {
			t.Errorf("%v is shown as %s, want %s", test.t, got, test.want)
		}
	}
	if got := fmt.Sprint(epoch(time.UnixMicro(1795387232145550))); got != "1795387232.14555" {
		t.Errorf("epoch is %s", got)
	}
}
