package rest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/ha"
)

// restart is POST /restart (section 10). Now: the answer comes when it is done.
// Later: the agent remembers it, and only the agent.
func (s *Server) restart(a *answer) {
	body, ok := readBody(a, false)
	if !ok {
		return
	}
	if _, later := body.Get("schedule"); later {
		c, err := s.load(a.ctx)
		if err != nil || c == nil {
			a.noStore()
			return
		}
		if s.settingsOf(c).Pause {
			a.text(500, "Can't schedule restart in the paused state")
			return
		}
	}
	request, r := parseRestart(body, time.Now())
	if r.is() {
		a.text(r.code, r.text)
		return
	}
	s.askAgent(a, "restart", func() (int, string, error) { return s.source.Restart(s.leaving, request, false) })
}

// dropRestart is DELETE /restart: it forgets the scheduled one.
func (s *Server) dropRestart(a *answer) {
	s.askAgent(a, "restart", func() (int, string, error) { return s.source.Restart(s.leaving, ha.RestartRequest{}, true) })
}

// reinitialize is POST /reinitialize (section 11). It goes on in the background.
func (s *Server) reinitialize(a *answer) {
	body, ok := readBody(a, false)
	if !ok {
		return
	}
	force, _ := cluster.ParseBool(body.Value("force"))
	fromLeader, _ := cluster.ParseBool(body.Value("from_leader"))
	s.askAgent(a, "reinitialize", func() (int, string, error) { return s.source.Reinitialize(s.leaving, force, fromLeader) })
}

// askAgent answers with what the agent says to a request. A client that goes
// away does not make a half-done restart of it.
func (s *Server) askAgent(a *answer, action string, ask func() (code int, text string, err error)) {
	if !s.patience.enter() {
		a.text(503, "too many requests wait already, try again later")
		return
	}
	defer s.patience.leave()
	a.takesLong()
	code, text, err := ask()
	if err != nil { // the agent ends
		s.log.WarnContext(a.ctx, "a request got no answer from the agent", "action", action, "error", err)
		a.text(503, action+" failed")
		return
	}
	s.log.InfoContext(a.ctx, "request of an operator", "method", a.r.Method, "action", action, "from", a.r.RemoteAddr,
		"code", code, "answer", text)
	a.text(code, text)
}

// parseRestart reads the filters of a restart in the order of the body; the
// first one that makes no sense is the answer.
func parseRestart(body *cluster.Object, now time.Time) (r ha.RestartRequest, no refusal) {
	r.Published = body.Clone()
	for k, v := range body.All() {
		switch k {
		case "schedule":
			var iso string
			r.At, iso, no = parseSchedule(v, "restart", now)
			r.Published.Set(k, iso)
		case "role":
			r.Role, no = restartRole(v)
		case "postgres_version":
			r.Below, no = versionNumberOf(cluster.Text(v))
		case "timeout":
			seconds, ok := cluster.ParseInt(v, "s")
			if !ok || seconds <= 0 || seconds > maxTimeout {
				no = refusal{400, "Timeout should be a positive number of seconds"}
			}
			r.Timeout = time.Duration(seconds) * time.Second
			r.Published.Set(k, seconds)
		case "restart_pending":
			r.Pending = true // whatever its value
		default:
			no = refusal{400, "Unknown filter for the scheduled restart: " + escape(k)}
		}
		if no.is() {
			return r, no
		}
	}
	return r, refusal{}
}

// maxTimeout, in seconds, keeps durations far from overflow.
const maxTimeout = 1 << 31

func restartRole(v any) (cluster.Role, refusal) {
	text, _ := v.(string)
	switch role := cluster.Role(text); role {
	case cluster.RolePrimary, cluster.RoleStandbyLeader, cluster.RoleReplica:
		return role, refusal{}
	}
	return "", refusal{400, "PostgreSQL role should be either primary, standby_leader, or replica"}
}

// versionNumberOf is 160004 for 16.4 and 90603 for 9.6.3.
func versionNumberOf(text string) (int, refusal) {
	var parts []int
	for part := range strings.SplitSeq(text, ".") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 0 || n > 99 {
			return 0, refusal{400, "Invalid PostgreSQL version: " + escape(text)}
		}
		parts = append(parts, n)
	}
	if len(parts) < 2 || len(parts) > 3 || len(parts) == 2 && parts[0] < 10 {
		return 0, refusal{400, fmt.Sprintf("Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: %s", escape(text))}
	}
	if len(parts) == 2 {
		parts = []int{parts[0], 0, parts[1]}
	}
	return parts[0]*10000 + parts[1]*100 + parts[2], refusal{}
}
