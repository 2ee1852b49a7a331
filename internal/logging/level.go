package logging

import (
	"log/slog"
	"strings"

	"tamada/internal/cluster"
	"tamada/internal/config"
)

// LevelCritical is above ERROR: the process ends.
const LevelCritical = slog.LevelError + 4

func parseLevel(s string) slog.Level {
	switch strings.ToUpper(s) {
	case "NOTSET", "DEBUG":
		return slog.LevelDebug
	case "WARN", "WARNING":
		return slog.LevelWarn
	case "ERROR":
		return slog.LevelError
	case "FATAL", "CRITICAL":
		return LevelCritical
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
	case l < LevelCritical:
		return "ERROR"
	}
	return "CRITICAL"
}

// levelNumber is the level in the numbers of the reference's language.
func levelNumber(l slog.Level) int {
	return map[string]int{"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}[levelName(l)]
}

// levels are the root level and those of named parts.
type levels struct {
	root  slog.Level
	named map[string]slog.Level
}

func levelsOf(c config.Log) levels {
	l := levels{root: parseLevel(c.Level), named: map[string]slog.Level{}}
	for name, v := range c.Loggers.All() {
		l.named[name] = parseLevel(cluster.Text(v))
	}
	return l
}

// of is the level of a name: its own, else that of the longest part of it before
// a dot, else the root's.
func (l levels) of(name string) slog.Level {
	for name != "" {
		if at, ok := l.named[name]; ok {
			return at
		}
		name = name[:max(0, strings.LastIndexByte(name, '.'))]
	}
	return l.root
}
