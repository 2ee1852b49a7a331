//go:build linux

package node

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"tamada/internal/config"
)

// levelCritical is above ERROR: the process ends.
const levelCritical = slog.LevelError + 4

// NewLogger makes the logger that the configuration asks for, writing to w: one
// line for each record, in the layout that tools for Patroni's log know.
func NewLogger(c config.Log, w io.Writer) *slog.Logger {
	return slog.New(&plainHandler{w: w, mu: &sync.Mutex{}, level: parseLevel(c.Level)})
}

func parseLevel(s string) slog.Level {
	switch s {
	case "DEBUG":
		return slog.LevelDebug
	case "WARN", "WARNING":
		return slog.LevelWarn
	case "ERROR":
		return slog.LevelError
	case "FATAL", "CRITICAL":
		return levelCritical
	}
	return slog.LevelInfo
}

func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "DEBUG"
	case l < slog.LevelWarn:
		return "INFO"
	case l < slog.LevelError:
		return "WARNING"
	case l < levelCritical:
		return "ERROR"
	}
	return "CRITICAL"
}

// plainHandler writes `2031-05-06 07:08:09,123 INFO: text key=value`.
type plainHandler struct {
	w     io.Writer
	mu    *sync.Mutex // guards w
	level slog.Level
	attrs string
}

// Enabled implements slog.Handler.
func (h *plainHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

// Handle implements slog.Handler.
func (h *plainHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(strings.Replace(r.Time.Local().Format("2006-01-02 15:04:05.000"), ".", ",", 1))
	b.WriteByte(' ')
	b.WriteString(levelName(r.Level))
	b.WriteString(": ")
	b.WriteString(oneLine(r.Message))
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		appendAttr(&b, a)
		return true
	})
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, b.String())
	return err
}

// WithAttrs implements slog.Handler.
func (h *plainHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	b.WriteString(h.attrs)
	for _, a := range attrs {
		appendAttr(&b, a)
	}
	c := *h
	c.attrs = b.String()
	return &c
}

// WithGroup implements slog.Handler; groups are not shown.
func (h *plainHandler) WithGroup(string) slog.Handler { return h }

func appendAttr(b *strings.Builder, a slog.Attr) {
	v := a.Value.Resolve()
	if a.Key == "" {
		return
	}
	b.WriteByte(' ')
	b.WriteString(a.Key)
	b.WriteByte('=')
	text := v.String()
	if v.Kind() == slog.KindTime {
		text = v.Time().Format(time.RFC3339Nano)
	}
	if text == "" || strings.ContainsAny(text, " \t\n\"=") {
		text = strconv.Quote(text)
	}
	b.WriteString(text)
}

// oneLine keeps a record on one line, whatever a server or a program said.
func oneLine(s string) string {
	return strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", " | ")
}
