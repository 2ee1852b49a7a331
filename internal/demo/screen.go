//go:build linux

package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// screen is where the story is told. On a terminal the lines of the nodes grow;
// elsewhere each step is a line of its own.
type screen struct {
	mu    sync.Mutex // guards the rest, and keeps lines whole
	w     io.Writer
	tty   bool
	color bool
	width func() int
	drawn int // lines on the terminal that the next drawing replaces
}

// terminalWidth asks a terminal for its columns.
func terminalWidth(fd uintptr) int {
	if s, err := unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ); err == nil && s.Col > 20 {
		return int(s.Col)
	}
	return 80
}

func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drawn = 0
	fmt.Fprintf(s.w, format+"\n", args...)
}

// event is a line with the time of day.
func (s *screen) event(line string) { s.say("%s  %s", time.Now().Format("15:04:05"), line) }

func (s *screen) bold(text string) string  { return s.paint("1", text) }
func (s *screen) green(text string) string { return s.paint("32", text) }

func (s *screen) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// draw replaces what draw drew last.
func (s *screen) draw(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn)
	}
	for _, l := range lines {
		b.WriteString("\r\x1b[2K" + l + "\n")
	}
	s.drawn = len(lines)
	_, _ = io.WriteString(s.w, b.String())
}

// growth are the lines of the nodes while the cluster forms.
type growth struct {
	out   *screen
	began time.Time
	steps [][]string
	names []string
	ready []time.Duration // 0: not yet
}

func newGrowth(out *screen, nodes []node) *growth {
	g := &growth{out: out, began: time.Now(), steps: make([][]string, len(nodes)), ready: make([]time.Duration, len(nodes))}
	nothing := make(picture, len(nodes))
	for i, n := range nodes {
		g.names = append(g.names, n.name())
		nothing[i] = status{name: n.name(), wanted: true}
	}
	g.see(nothing)
	return g
}

// see takes in the next picture.
func (g *growth) see(p picture) {
	l := p.leader()
	for i := range p {
		s := &p[i]
		g.step(i, s.phrase(), s.leader || l != nil && s.follows(l))
	}
	if g.out.tty {
		lines := make([]string, len(p))
		for i := range p {
			lines[i] = g.line(i, g.out.width())
		}
		g.out.draw(lines)
	}
}

// step adds a step to a node's line if it is a new one.
func (g *growth) step(i int, phrase string, ready bool) {
	steps := g.steps[i]
	n := len(steps)
	if n > 0 && (steps[n-1] == phrase || early(phrase) < early(steps[n-1])) {
		return // a pause, or a node that was too busy to answer, is not worth a word
	}
	g.steps[i] = append(steps, phrase)
	g.ready[i] = 0
	if ready {
		g.ready[i] = time.Since(g.began)
	}
	if !g.out.tty {
		g.out.say("%5.1f s  %s: %s", time.Since(g.began).Seconds(), g.names[i], phrase)
	}
}

// early numbers the steps before anything happens; they only
// ever go forward, and none comes after a real one.
func early(phrase string) int {
	switch phrase {
	case starting:
		return 1
	case etcdUp:
		return 2
	case idle:
		return 3
	}
	return 4
}

const arrow = " → "

// line is a node's line in at most width columns; of a line that is too long the
// beginning goes.
func (g *growth) line(i, width int) string {
	head, tail := "  "+g.names[i]+"  ", ""
	if g.ready[i] > 0 {
		tail = fmt.Sprintf("  %.1f s", g.ready[i].Seconds())
	}
	room := width - 1 - utf8.RuneCountInString(head+tail)
	steps := g.steps[i]
	body := strings.Join(steps, arrow)
	for utf8.RuneCountInString(body) > room && len(steps) > 1 {
		steps = steps[1:]
		body = "…" + arrow + strings.Join(steps, arrow)
	}
	if r := []rune(body); len(r) > room {
		body = string(r[:max(room, 0)])
	}
	if g.ready[i] > 0 {
		last := steps[len(steps)-1]
		body = strings.TrimSuffix(body, last) + g.out.green(last)
	}
	return g.out.bold(head) + body + tail
}
