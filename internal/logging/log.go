package logging

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tamada/internal/config"
)

// ErrQueueFull: at the end not everything could be written.
var ErrQueueFull = errors.New("the log could not be written to its end")

// closeTimeout is how long the end of the process waits for its log.
const closeTimeout = 2 * time.Second

// Log is the log of a process.
type Log struct {
	*slog.Logger

	fallback io.Writer // where there is no folder
	follows  bool
	settings atomic.Pointer[settings]
	lost     atomic.Int64

	mu    sync.Mutex // guards what follows, and that nothing is queued after Close
	queue chan entry
	ended bool
	beats map[string]*beat // by name

	done chan struct{}
}

// settings are the section `log`, ready for use.
type settings struct {
	levels
	formatter
	deduplicate bool
	file        *file // nil: the fallback
}

// entry is a line that waits to be written, where it goes included: a reload
// must not let lines before it appear elsewhere.
type entry struct {
	line string
	file *file
}

// Open starts a log. fallback, usually standard error, is written to when no
// folder is configured. follows: another process of the node rotates the file.
func Open(c config.Log, fallback io.Writer, follows bool) *Log {
	l := &Log{fallback: fallback, follows: follows, queue: make(chan entry, max(1, c.MaxQueueSize)), beats: map[string]*beat{}, done: make(chan struct{})}
	l.Logger = slog.New(&handler{log: l})
	l.Reload(c)
	go l.write()
	return l
}

// Reload puts a changed section in force; the size of the queue stays.
func (l *Log) Reload(c config.Log) {
	f, problem := newFormatter(c)
	s := &settings{levels: levelsOf(c), formatter: f, deduplicate: c.Deduplicate}
	if c.Dir != "" {
		s.file = &file{path: filepath.Join(c.Dir, FileName), mode: c.Mode, limit: c.FileSize, keep: c.FileNum, follows: l.follows}
		if old := l.settings.Load(); old != nil && old.file != nil && same(old.file, s.file) {
			s.file = old.file
		}
	}
	l.settings.Store(s)
	if problem != "" {
		l.Warn(problem)
	}
}

func same(a, b *file) bool {
	return a.path == b.path && a.mode == b.mode && a.limit == b.limit && a.keep == b.keep
}

// Named is a logger for a part of the program, such as patroni.postmaster.
func Named(log *slog.Logger, name string) *slog.Logger { return log.With(nameKey, name) }

// nameKey is the attribute that becomes the name of a logger.
const nameKey = "\x00logger"

// Close writes what waits; afterwards nothing is logged any more.
func (l *Log) Close() error {
	l.mu.Lock()
	for _, b := range l.beats {
		l.emitHeld(b)
	}
	if !l.ended {
		l.ended = true
		close(l.queue)
	}
	l.mu.Unlock()
	select {
	case <-l.done:
		return nil
	case <-time.After(closeTimeout):
		return ErrQueueFull
	}
}

// write is the one goroutine that writes.
func (l *Log) write() {
	defer close(l.done)
	var last *file
	for e := range l.queue {
		if last != nil && last != e.file {
			last.close()
		}
		last = e.file
		l.writeLine(e)
		if n := l.lost.Swap(0); n > 0 {
			r := record{time: time.Now(), level: slog.LevelWarn, name: "patroni.log", message: fmt.Sprintf("QueueHandler has lost %d log records", n)}
			l.writeLine(entry{l.settings.Load().line(&r), e.file})
		}
	}
	if last != nil {
		last.close()
	}
}

// writeLine never gives up a line because of its file.
func (l *Log) writeLine(e entry) {
	if e.file != nil {
		if _, err := e.file.Write([]byte(e.line)); err == nil {
			return
		}
	}
	if l.fallback != nil {
		_, _ = io.WriteString(l.fallback, e.line)
	}
}

// put queues a line; the caller holds mu.
func (l *Log) put(s *settings, r *record) {
	if l.ended {
		return
	}
	select {
	case l.queue <- entry{s.line(r), s.file}:
	default:
		l.lost.Add(1)
	}
}

// handler is the slog.Handler of a logger: name and attributes.
type handler struct {
	log   *Log
	name  string
	attrs []slog.Attr
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.log.settings.Load().of(h.name)
}

// Handle implements slog.Handler.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	rec := &record{time: r.Time, level: r.Level, name: h.name, message: r.Message, attrs: h.attrs, pc: r.PC}
	if rec.time.IsZero() {
		rec.time = time.Now()
	}
	r.Attrs(func(a slog.Attr) bool {
		rec.attrs = append(rec.attrs[:len(rec.attrs):len(rec.attrs)], a)
		return true
	})
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	h.log.heartbeat(rec)
	return nil
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = append([]slog.Attr(nil), h.attrs...)
	for _, a := range attrs {
		if a.Key == nameKey {
			c.name = a.Value.String()
		} else {
			c.attrs = append(c.attrs, a)
		}
	}
	return &c
}

// WithGroup implements slog.Handler; groups are not shown.
func (h *handler) WithGroup(string) slog.Handler { return h }

// beat is what is known of the heartbeats of one logger.
type beat struct {
	held *record // "Lock owner: …", until it is known what follows
	last string  // the last heartbeat, "" after another line
}

func isHeartbeat(message string) bool {
	return strings.HasPrefix(message, "no action. ") || strings.HasPrefix(message, "PAUSE: no action")
}

// heartbeat holds a lock owner's line back at level INFO, drops it before a
// heartbeat, and leaves repeated heartbeats out. The caller holds mu.
func (l *Log) heartbeat(r *record) {
	s := l.settings.Load()
	b := l.beats[r.name]
	if b == nil {
		b = &beat{}
		l.beats[r.name] = b
	}
	beats := isHeartbeat(r.message)
	if beats {
		b.held = nil
		repeated := b.last == r.message
		b.last = r.message
		if s.deduplicate && repeated {
			return
		}
		l.put(s, r)
		return
	}
	l.emitHeld(b)
	if s.root == slog.LevelInfo && strings.HasPrefix(r.message, "Lock owner: ") {
		b.held = r
		return
	}
	b.last = ""
	l.put(s, r)
}

func (l *Log) emitHeld(b *beat) {
	if b.held != nil {
		b.last = ""
		l.put(l.settings.Load(), b.held)
		b.held = nil
	}
}
