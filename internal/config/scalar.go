package config

import (
	"encoding/json"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// ResolveScalar is the value of an unquoted scalar in YAML 1.1: nil, bool,
// [json.Number] or string (reference configuration.md 0.1). Dates and times
// stay as they were written, and so do infinities, for which JSON has no
// number.
func ResolveScalar(text string) any {
	if text == "" {
		return nil
	}
	switch text {
	case "~", "null", "Null", "NULL":
		return nil
	case "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON":
		return true
	case "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF":
		return false
	}
	if !strings.ContainsRune("+-.0123456789", rune(text[0])) {
		return text
	}
	p := numberPatterns()
	switch {
	case p.integer.MatchString(text):
		if n, ok := yamlInt(text); ok {
			return n
		}
	case p.float.MatchString(text):
		if n, ok := yamlFloat(text); ok {
			return n
		}
	}
	return text
}

type patterns struct{ integer, float *regexp.Regexp }

// numberPatterns are the forms of numbers in YAML 1.1, which differ from
// those of 1.2: octal with a plain 0, base 60, and a float needs its point and
// the sign of its exponent. Compiled on first use, for the sake of short
// commands.
var numberPatterns = sync.OnceValue(func() patterns {
	return patterns{
		integer: regexp.MustCompile(`^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*(?::[0-5]?[0-9])+)$`),
		float:   regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)$`),
	}
})

// maxNumber bounds the length of a number, so that converting it stays cheap;
// what is longer is text.
const maxNumber = 100

func yamlInt(text string) (json.Number, bool) {
	digits := strings.ReplaceAll(text, "_", "")
	negative := digits[0] == '-'
	digits = strings.TrimLeft(digits, "+-")
	if len(digits) > maxNumber {
		return "", false
	}
	n := new(big.Int)
	ok := true
	switch {
	case digits == "0":
	case strings.HasPrefix(digits, "0b"):
		_, ok = n.SetString(digits[2:], 2)
	case strings.HasPrefix(digits, "0x"):
		_, ok = n.SetString(digits[2:], 16)
	case strings.HasPrefix(digits, "0"):
		_, ok = n.SetString(digits[1:], 8)
	case strings.Contains(digits, ":"):
		for part := range strings.SplitSeq(digits, ":") {
			d, err := strconv.Atoi(part)
			if err != nil {
				return "", false
			}
			n.Add(n.Mul(n, big.NewInt(60)), big.NewInt(int64(d)))
		}
	default:
		_, ok = n.SetString(digits, 10)
	}
	if negative {
		n.Neg(n)
	}
	return json.Number(n.String()), ok
}

func yamlFloat(text string) (json.Number, bool) {
	digits := strings.ReplaceAll(text, "_", "")
	if len(digits) > maxNumber {
		return "", false
	}
	sign := 1.0
	if digits[0] == '-' {
		sign = -1
	}
	f := 0.0
	for part := range strings.SplitSeq(strings.TrimLeft(digits, "+-"), ":") {
		d, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return "", false
		}
		f = f*60 + d
	}
	return floatText(sign * f), true
}

// floatText is the shortest text that reads back as f, with a point or an
// exponent, in the form that the agents write into the store.
func floatText(f float64) json.Number {
	exp := strconv.FormatFloat(f, 'e', -1, 64)
	power, _ := strconv.Atoi(exp[strings.IndexByte(exp, 'e')+1:])
	if power < -4 || power >= 16 {
		return json.Number(exp)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return json.Number(s)
}
