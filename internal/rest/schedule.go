package rest

import (
	"strings"
	"time"
)

// A refusal is the code and the text of an answer to a request that cannot be
// taken up; the zero value is none.
type refusal struct {
	code int
	text string
}

func (r refusal) is() bool { return r.code != 0 }

// layouts are the forms of a moment that are accepted (9.1), without zone: with
// T or a blank, with or without seconds. A fraction is read by package time.
var layouts = []string{"2006-01-02T15:04:05", "2006-01-02T15:04"}

// zones are the forms of a zone, as package time spells them.
var zones = []string{"Z07:00", "-0700", "-07"}

// parseSchedule reads when something shall be done (9.1). action is switchover
// or restart. What was given is returned in the one form that is stored and
// published: ISO 8601 with a numeric zone.
func parseSchedule(v any, action string, now time.Time) (at time.Time, iso string, r refusal) {
	text, isText := v.(string)
	at, zoned, ok := parseMoment(text)
	switch {
	case !isText || !ok:
		return at, "", refusal{422, "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601"}
	case !zoned:
		return at, "", refusal{400, "Timezone information is mandatory for the scheduled " + action}
	case at.Before(now):
		return at, "", refusal{422, "Cannot schedule " + action + " in the past"}
	}
	return at, isoFormat(at), refusal{}
}

// parseMoment reads a moment; zoned is false when it names no zone.
func parseMoment(text string) (at time.Time, zoned, ok bool) {
	text = strings.TrimSpace(text)
	if i := strings.IndexByte(text, ' '); i == len("2006-01-02") {
		text = text[:i] + "T" + text[i+1:]
	}
	for _, name := range []string{"UTC", "GMT"} {
		if t, cut := strings.CutSuffix(text, name); cut {
			text = strings.TrimSpace(t) + "Z"
		}
	}
	text = strings.ReplaceAll(text, " ", "") // before a numeric zone
	for _, layout := range layouts {
		for _, zone := range zones {
			if at, err := time.Parse(layout+zone, text); err == nil {
				return at, true, true
			}
		}
		if at, err := time.Parse(layout, text); err == nil {
			return at, false, true
		}
	}
	return time.Time{}, false, false
}

// isoFormat spells a moment with six digits of a second, or none when it is a
// whole one.
func isoFormat(t time.Time) string {
	if t.Nanosecond()/1000 == 0 {
		return t.Format("2006-01-02T15:04:05-07:00")
	}
	return t.Format("2006-01-02T15:04:05.000000-07:00")
}
