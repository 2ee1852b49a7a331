package ctl

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"tamada/internal/cluster"
)

// elements are the arrays that are shown as lists, by their type, with the type
// of what they hold.
var elements = map[uint32]uint32{
	pgtype.BoolArrayOID: pgtype.BoolOID, pgtype.Int2ArrayOID: pgtype.Int2OID, pgtype.Int4ArrayOID: pgtype.Int4OID,
	pgtype.Int8ArrayOID: pgtype.Int8OID, pgtype.OIDArrayOID: pgtype.OIDOID, pgtype.Float4ArrayOID: pgtype.Float4OID,
	pgtype.Float8ArrayOID: pgtype.Float8OID, pgtype.NumericArrayOID: pgtype.NumericOID, pgtype.TextArrayOID: pgtype.TextOID,
	pgtype.VarcharArrayOID: pgtype.VarcharOID, pgtype.BPCharArrayOID: pgtype.BPCharOID, pgtype.NameArrayOID: pgtype.NameOID,
	pgtype.TimestampArrayOID: pgtype.TimestampOID, pgtype.TimestamptzArrayOID: pgtype.TimestamptzOID, pgtype.DateArrayOID: pgtype.DateOID,
	pgtype.JSONArrayOID: pgtype.JSONOID, pgtype.JSONBArrayOID: pgtype.JSONBOID,
}

// value is a value of PostgreSQL, in its text form, as a value of the tables:
// numbers, booleans, lists and JSON as what they are, moments in the reference's
// spelling, everything else as PostgreSQL writes it.
func value(oid uint32, s string) any {
	switch oid {
	case pgtype.BoolOID:
		return s == "t"
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID:
		return json.Number(s)
	case pgtype.NumericOID:
		if strings.ContainsAny(s, "ny") { // NaN, Infinity
			return s
		}
		return json.Number(s)
	case pgtype.Float4OID, pgtype.Float8OID:
		return real(s)
	case pgtype.TimestampOID, pgtype.TimestamptzOID, pgtype.TimeOID, pgtype.TimetzOID:
		return moment(s)
	case pgtype.JSONOID, pgtype.JSONBOID:
		if v, err := cluster.ParseJSON([]byte(s)); err == nil {
			return v
		}
	}
	if of, ok := elements[oid]; ok && strings.HasPrefix(s, "{") {
		if list, rest := array(of, s); rest == "" {
			return list
		}
	}
	return s
}

// real is a float as the reference spells it: with a point or an exponent.
func real(s string) any {
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil:
		return s
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	text := strconv.FormatFloat(f, 'g', -1, 64)
	if e := math.Abs(f); e >= 1e-4 && e < 1e16 {
		text = strconv.FormatFloat(f, 'f', -1, 64)
	}
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return json.Number(text)
}

// moment spells fractions of a second with six digits or not at all, and zones
// with their minutes.
func moment(s string) string {
	if strings.HasSuffix(s, " BC") || !strings.Contains(s, ":") {
		return s // nothing that the reference could spell, or infinity
	}
	clock, zone := s, ""
	if i := strings.LastIndexAny(s, "+-"); i > strings.IndexByte(s, ':') {
		clock, zone = s[:i], s[i:]
		if !strings.Contains(zone, ":") {
			zone += ":00"
		}
	}
	if dot := strings.IndexByte(clock, '.'); dot > 0 {
		clock += strings.Repeat("0", max(0, dot+7-len(clock)))
	}
	return clock + zone
}

// array reads {1,2,{"a b",NULL}} and returns what follows it; rest is not empty
// when it cannot be read.
func array(of uint32, s string) (list []any, rest string) {
	list = []any{}
	s = s[1:]
	for s != "" && s[0] != '}' {
		switch {
		case s[0] == ',':
			s = s[1:]
		case s[0] == '{':
			var inner []any
			inner, s = array(of, s)
			list = append(list, inner)
		case s[0] == '"':
			text, after, ok := quotedElement(s[1:])
			if !ok {
				return nil, s
			}
			list, s = append(list, value(of, text)), after
		default:
			end := strings.IndexAny(s, ",}")
			if end < 0 {
				return nil, s
			}
			if text := s[:end]; text == "NULL" {
				list = append(list, nil)
			} else {
				list = append(list, value(of, text))
			}
			s = s[end:]
		}
	}
	if s == "" {
		return nil, "}"
	}
	return list, s[1:]
}

// quotedElement reads up to the quote that ends an element.
func quotedElement(s string) (text, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", s, false
}
