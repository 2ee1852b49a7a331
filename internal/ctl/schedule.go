package ctl

import (
	"strings"
	"time"
)

// Forms of a moment that --scheduled takes, besides "now": a date, a time of
// today, or both, with a zone or in the zone of this machine.
var (
	dates      = []string{"2006-01-02", "2006/01/02", "20060102"}
	times      = []string{"15:04:05", "15:04", "1504", "15", "3:04:05pm", "3:04pm", "3pm"}
	timeZones  = []string{"", "Z07:00", "-0700", "-07"}
	separators = []string{"T", " "}
)

// parseSchedule reads the moment at which something shall happen; the zero time
// is at once. Without a zone it is the one of now.
func parseSchedule(text string, now time.Time) (time.Time, error) {
	if text == "" || text == "now" {
		return time.Time{}, nil
	}
	moment := strings.TrimSpace(text)
	for _, name := range []string{"UTC", "GMT", "utc"} {
		if t, cut := strings.CutSuffix(moment, name); cut {
			moment = strings.TrimSpace(t) + "Z"
		}
	}
	moment = strings.Replace(moment, " +", "+", 1)
	for _, zone := range timeZones {
		for _, clock := range times {
			for _, date := range dates {
				for _, sep := range separators {
					if at, err := time.ParseInLocation(date+sep+clock+zone, moment, now.Location()); err == nil {
						return at, nil
					}
				}
			}
			if !strings.Contains(clock, ":") {
				continue // a bare number is not clear enough
			}
			if at, err := time.ParseInLocation(clock+zone, moment, now.Location()); err == nil {
				y, m, d := now.In(at.Location()).Date()
				return time.Date(y, m, d, at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), at.Location()), nil
			}
		}
	}
	for _, date := range dates[:2] {
		if at, err := time.ParseInLocation(date, moment, now.Location()); err == nil {
			return at, nil
		}
	}
	return time.Time{}, refuse("Unable to parse scheduled timestamp (%s). It should be in an unambiguous format (e.g. ISO 8601)", text)
}

// isoTime is a moment as it is sent: ISO 8601 with a numeric zone.
func isoTime(t time.Time) string {
	if t.Nanosecond()/1000 == 0 {
		return t.Format("2006-01-02T15:04:05-07:00")
	}
	return t.Format("2006-01-02T15:04:05.000000-07:00")
}

// eventTime is the present moment as it stands before what has happened.
func (a *app) eventTime() string { return a.Now().Format("2006-01-02 15:04:05.00000") }

// inAnHour is the example in questions about a moment.
func (a *app) inAnHour() string { return a.Now().Add(time.Hour).Format("2006-01-02T15:04") }
