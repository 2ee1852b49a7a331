//go:build linux

package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"
	"unicode"

	"tamada/internal/cluster"
	"tamada/internal/rest/peer"
)

// heardFor is for how long an answer of the same kind as the one before is no
// news. While the primary is suspected each member is asked every second, and a
// stopping primary asks every 30 ms whether its shutdown checkpoint has arrived.
const heardFor = 30 * time.Second

// heard remembers what the members answered last, to log what is new: the first
// answer of a row, and each change from silence to an answer or to another error.
type heard struct {
	mu   sync.Mutex // guards last
	last map[string]lastHeard
}

type lastHeard struct {
	what string
	at   time.Time // of the last one, logged or not
}

// ports are those of our own side: another one each time.
var ports = regexp.MustCompile(`:\d+->`)

// news tells whether an answer is worth a line at the usual level.
func (h *heard) news(now time.Time, name, what string) bool {
	what = ports.ReplaceAllString(what, "->")
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last == nil {
		h.last = map[string]lastHeard{}
	}
	before, ok := h.last[name]
	h.last[name] = lastHeard{what, now}
	return !ok || before.what != what || now.Sub(before.at) > heardFor
}

// log writes the texts that tools match on (reference ha.md 23).
func (h *heard) log(to *slog.Logger, m *cluster.Member, a *peer.Answer) {
	what := ""
	if a.Err != nil {
		what = a.Err.Error()
	}
	news := h.news(time.Now(), m.Name, what)
	switch {
	case a.Err != nil && news:
		to.Warn(fmt.Sprintf("Request failed to %s: GET %s (%v)", m.Name, m.APIURL, a.Err))
	case a.Err != nil:
		to.Debug(fmt.Sprintf("Request failed to %s: GET %s (%v)", m.Name, m.APIURL, a.Err))
	case news:
		to.Info(fmt.Sprintf("Got response from %s %s: %s", m.Name, m.APIURL, oneLine(a.Body)))
	default:
		to.Debug(fmt.Sprintf("Got response from %s %s: %s", m.Name, m.APIURL, oneLine(a.Body)))
	}
}

// oneLine is an answer fit for the log, whoever it came from.
func oneLine(b []byte) []byte {
	const most = 4 << 10
	if len(b) > most {
		b = append(b[:most:most], "..."...)
	}
	return bytes.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, b)
}
