package rest

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
)

// A route is one specific handler. Every route that changes something is
// protected, and nothing else is.
type route struct {
	protected bool
	open      bool // the members' part of the allowlist does not count
	handle    func(*Server, *answer)
}

// routes are the specific handlers by method and first segment of the path
// (1.1). What is not here and not GET, HEAD or OPTIONS gets the page of 501:
// today that includes POST citus and mpp.
var routes = map[string]route{
	"GET liveness":  {handle: (*Server).liveness},
	"GET readiness": {handle: (*Server).readiness},
	"GET patroni":   {handle: (*Server).showStatus},
	"GET cluster":   {handle: (*Server).showCluster},
	"GET history":   {handle: (*Server).showHistory},
	"GET failsafe":  {handle: (*Server).showFailsafe},
	"GET config":    {handle: (*Server).showConfig},
	"GET metrics":   {handle: (*Server).showMetrics},
	"GET tamada":    {handle: (*Server).ours},
	"PATCH config":  {protected: true, handle: (*Server).patchConfig},
	"PUT config":    {protected: true, handle: (*Server).putConfig},
	"POST reload":   {protected: true, handle: (*Server).reload},
	"POST sigterm":  {protected: true, handle: (*Server).sigterm},

	"POST switchover":   {protected: true, handle: (*Server).switchover},
	"DELETE switchover": {protected: true, handle: (*Server).dropSwitchover},
	"POST failover":     {protected: true, handle: (*Server).failover},
	"POST restart":      {protected: true, handle: (*Server).restart},
	"DELETE restart":    {protected: true, handle: (*Server).dropRestart},
	"POST failsafe":     {protected: true, open: true, handle: (*Server).postFailsafe},
	"POST reinitialize": {protected: true, handle: (*Server).reinitialize},
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	o := s.opts.Load()
	old, done := busy(r, o.tls)
	defer done()
	defer func() {
		if p := recover(); p != nil {
			s.log.WarnContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path,
				"error", p, "stack", string(debug.Stack()))
			panic(http.ErrAbortHandler) // closes the connection without a byte
		}
	}()
	if r.ContentLength != 0 {
		// Also for bodies that no handler reads: net/http takes them before it
		// answers, and would wait for ever for one that does not come.
		_ = http.NewResponseController(w).SetReadDeadline(begun.Add(s.limits.body))
	}
	w.Header()["Server"] = o.server
	if _, bad := r.Header[badLength]; bad || old { // nobody knows where such a request ends
		w.Header()["Connection"] = []string{"close"}
	}
	s.route(&answer{w: w, r: r, o: o, ctx: context.WithoutCancel(r.Context())})
	if s.log.Enabled(r.Context(), slog.LevelDebug) {
		s.log.DebugContext(r.Context(), "request", "from", r.RemoteAddr, "method", r.Method, "path", r.URL.Path,
			"took", time.Since(begun))
	}
}

func (s *Server) route(a *answer) {
	path := a.r.URL.EscapedPath()
	_, rest, _ := strings.Cut(path, "/")
	segment, _, _ := strings.Cut(rest, "/")
	h, ok := routes[a.r.Method+" "+segment]
	switch {
	case ok && h.protected && !s.admit(a, h.open):
	case ok:
		h.handle(s, a)
	case a.r.Method == "GET" || a.r.Method == "HEAD" || a.r.Method == "OPTIONS":
		s.health(a, path)
	default:
		a.unsupported()
	}
}

// A query holds the parameters of a request by the rules of 1.1 item 5: of
// repeated ones the first counts, those without a value are absent.
type query map[string]string

func parseQuery(raw string) query {
	if raw == "" {
		return nil
	}
	q := query{}
	for pair := range strings.SplitSeq(raw, "&") {
		k, v, _ := strings.Cut(pair, "=")
		k, v = unescape(k), unescape(v)
		if _, there := q[k]; v != "" && !there {
			q[k] = v
		}
	}
	return q
}

// unescape leaves alone what is not a valid escape.
func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// reload is POST /reload: always accepted, done at the loop's next turn.
func (s *Server) reload(a *answer) {
	s.source.Reload()
	a.text(202, "reload scheduled")
}

// sigterm is POST /sigterm, which does nothing outside of Windows.
func (s *Server) sigterm(a *answer) { a.text(202, "shutdown scheduled") }
