package ctl

import (
	"fmt"
	"slices"
	"strings"
)

// contextLines stand around each change in a diff.
const contextLines = 3

// unifiedDiff compares two texts line by line; it is empty when they are the
// same. Equal parts are found as the reference's tool finds them, longest
// first, so that the hunks are the same.
func unifiedDiff(before, after string) []string {
	a, b := lines(before), lines(after)
	var out []string
	for _, h := range hunks(edits(a, b)) {
		if out == nil {
			out = []string{"--- ", "+++ "}
		}
		first, last := h[0], h[len(h)-1]
		out = append(out, fmt.Sprintf("@@ -%s +%s @@", span(first.a, last.aEnd), span(first.b, last.bEnd)))
		for _, e := range h {
			for _, l := range a[e.a:e.aEnd] {
				out = append(out, map[bool]string{true: " ", false: "-"}[e.equal]+l)
			}
			if !e.equal {
				for _, l := range b[e.b:e.bEnd] {
					out = append(out, "+"+l)
				}
			}
		}
	}
	return out
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// span is a range of lines as a hunk's header has it.
func span(from, to int) string {
	switch to - from {
	case 1:
		return fmt.Sprint(from + 1)
	case 0:
		return fmt.Sprintf("%d,0", from)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}

// edit is a[a:aEnd] becoming b[b:bEnd].
type edit struct {
	equal            bool
	a, aEnd, b, bEnd int
}

func edits(a, b []string) []edit {
	var list []edit
	i, j := 0, 0
	for _, m := range append(matches(a, b, 0, 0), edit{true, len(a), len(a), len(b), len(b)}) {
		if i < m.a || j < m.b {
			list = append(list, edit{false, i, m.a, j, m.b})
		}
		if m.a < m.aEnd {
			if n := len(list); n > 0 && list[n-1].equal && list[n-1].aEnd == m.a && list[n-1].bEnd == m.b {
				list[n-1].aEnd, list[n-1].bEnd = m.aEnd, m.bEnd
			} else {
				list = append(list, m)
			}
		}
		i, j = m.aEnd, m.bEnd
	}
	return list
}

// matches are the equal parts: the longest one, then what is left and right of
// it. Of several that are as long, the one that begins first counts.
func matches(a, b []string, atA, atB int) []edit {
	best := edit{equal: true}
	ending := make([]int, len(b)+1) // length of the common end of a[:i] and b[:j]
	for i := range a {
		before := 0
		for j := range b {
			was := ending[j+1]
			ending[j+1] = 0
			if a[i] == b[j] {
				ending[j+1] = before + 1
				if n := before + 1; n > best.aEnd-best.a {
					best = edit{true, i + 1 - n, i + 1, j + 1 - n, j + 1}
				}
			}
			before = was
		}
	}
	if best.a == best.aEnd {
		return nil
	}
	moved := edit{true, best.a + atA, best.aEnd + atA, best.b + atB, best.bEnd + atB}
	return slices.Concat(matches(a[:best.a], b[:best.b], atA, atB), []edit{moved},
		matches(a[best.aEnd:], b[best.bEnd:], atA+best.aEnd, atB+best.bEnd))
}

// hunks groups edits that are near each other and cuts the equal parts around
// them to the context.
func hunks(list []edit) [][]edit {
	if len(list) == 0 || len(list) == 1 && list[0].equal {
		return nil
	}
	list = slices.Clone(list)
	if e := &list[0]; e.equal {
		e.a, e.b = max(e.a, e.aEnd-contextLines), max(e.b, e.bEnd-contextLines)
	}
	if e := &list[len(list)-1]; e.equal {
		e.aEnd, e.bEnd = min(e.aEnd, e.a+contextLines), min(e.bEnd, e.b+contextLines)
	}
	var groups [][]edit
	var group []edit
	for _, e := range list {
		if e.equal && e.aEnd-e.a > 2*contextLines {
			groups = append(groups, append(group, edit{true, e.a, e.a + contextLines, e.b, e.b + contextLines}))
			e.a, e.b = e.aEnd-contextLines, e.bEnd-contextLines
			group = nil
		}
		group = append(group, e)
	}
	return append(groups, group)
}
