package cluster

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// ParseBool reads on/true/yes/1 and off/false/no/0 in any case, from a string,
// number or boolean; ok is false for anything else (reference
// configuration.md 0.2).
func ParseBool(v any) (value, ok bool) {
	if v == nil {
		return false, false
	}
	switch strings.ToLower(Text(v)) {
	case "on", "true", "yes", "1":
		return true, true
	case "off", "false", "no", "0":
		return false, true
	}
	return false, false
}

// units of the two families, largest first, each with how many of the next
// smaller one it holds.
var (
	memoryUnits = []unit{{"TB", 1024}, {"GB", 1024}, {"MB", 1024}, {"kB", 1024}, {"B", 1}}
	timeUnits   = []unit{{"d", 24}, {"h", 60}, {"min", 60}, {"s", 1000}, {"ms", 1000}, {"us", 1}}
)

type unit struct {
	name   string
	factor float64 // how many of the next smaller unit
}

// ParseInt reads an integer with an optional unit and converts it to base
// ("kB", "8kB", "s", …; "" when the caller knows no unit): reference
// configuration.md 0.2. A number without a unit is taken as it is. Booleans,
// and units without a base or of another family, are not ok.
func ParseInt(v any, base string) (n int64, ok bool) {
	f, ok := parseNumber(v, base)
	if !ok || math.IsInf(f, 0) || math.IsNaN(f) {
		return 0, false
	}
	r := math.RoundToEven(f)
	if r < -(1<<63) || r >= 1<<63 {
		return 0, false
	}
	return int64(r), true
}

// ParseReal is [ParseInt] for real numbers, without the final rounding.
func ParseReal(v any, base string) (f float64, ok bool) {
	f, ok = parseNumber(v, base)
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return 0, false
	}
	return f, ok
}

func parseNumber(v any, base string) (float64, bool) {
	var text string
	switch v := normal(v).(type) {
	case string:
		text = v
	case json.Number:
		text = string(v)
	default:
		return 0, false
	}
	text = strings.TrimSpace(text)
	f, rest, ok := leadingNumber(text)
	if !ok {
		return 0, false
	}
	rest = strings.TrimSpace(rest)
	if rest == "" {
		return f, true
	}
	return convert(f, rest, base)
}

// leadingNumber reads an integer as C's strtol does with base 0, or a float
// when a point or an exponent follows.
func leadingNumber(s string) (f float64, rest string, ok bool) {
	i := 0
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		i++
	}
	digits, radix := i, 10
	switch {
	case strings.HasPrefix(s[i:], "0x") || strings.HasPrefix(s[i:], "0X"):
		digits, radix = i+2, 16
	case strings.HasPrefix(s[i:], "0") && len(s) > i+1:
		radix = 8
	}
	end := digits
	for end < len(s) && digitBelow(s[end], radix) {
		end++
	}
	if radix != 16 && end < len(s) && (s[end] == '.' || s[end] == 'e' || s[end] == 'E') {
		return leadingFloat(s)
	}
	if end == digits {
		return 0, "", false
	}
	u, err := strconv.ParseUint(s[digits:end], radix, 64)
	if err != nil {
		return 0, "", false
	}
	f = float64(u)
	if s[0] == '-' {
		f = -f
	}
	return f, s[end:], true
}

func digitBelow(c byte, radix int) bool {
	switch {
	case c >= '0' && c <= '9':
		return int(c-'0') < radix
	case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		return radix == 16
	}
	return false
}

// leadingFloat takes the longest prefix that is a float.
func leadingFloat(s string) (f float64, rest string, ok bool) {
	end, seenDigit, seenPoint := 0, false, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			seenDigit = true
		case (c == '+' || c == '-') && (i == 0 || s[i-1] == 'e' || s[i-1] == 'E'):
			continue
		case c == '.' && !seenPoint:
			seenPoint = true
		case (c == 'e' || c == 'E') && seenDigit && !strings.ContainsAny(s[:i], "eE"):
			continue
		default:
			i = len(s)
			continue
		}
		if seenDigit {
			end = i + 1
		}
	}
	if end == 0 {
		return 0, "", false
	}
	f, err := strconv.ParseFloat(s[:end], 64)
	return f, s[end:], err == nil
}

// convert changes f from a unit to the base, rounding to a multiple of the
// next smaller unit of the family.
func convert(f float64, from, base string) (float64, bool) {
	multiplier, baseUnit := 1.0, base
	if i := strings.IndexFunc(base, func(r rune) bool { return r < '0' || r > '9' }); i > 0 {
		m, err := strconv.ParseFloat(base[:i], 64)
		if err != nil {
			return 0, false
		}
		multiplier, baseUnit = m, base[i:]
	}
	for _, family := range [][]unit{memoryUnits, timeUnits} {
		at, to := indexOf(family, from), indexOf(family, baseUnit)
		if at < 0 || to < 0 {
			continue
		}
		v := f
		for i := at; i < to; i++ {
			v *= family[i].factor
		}
		for i := to; i < at; i++ {
			v /= family[i].factor
		}
		v /= multiplier
		if at < len(family)-1 {
			step := family[at+1]
			// what one of the next smaller unit is in the base
			s := 1.0 / multiplier
			for i := indexOf(family, step.name); i < to; i++ {
				s *= family[i].factor
			}
			for i := to; i < indexOf(family, step.name); i++ {
				s /= family[i].factor
			}
			v = math.RoundToEven(v/s) * s
		}
		return v, true
	}
	return 0, false
}

func indexOf(family []unit, name string) int {
	for i, u := range family {
		if u.name == name {
			return i
		}
	}
	return -1
}
