//go:build linux

package node

import (
	"testing"
	"time"
)

func TestRequestsInThousandsDoNotFillTheLedger(t *testing.T) {
	t.Parallel()
	var g requestGate
	kept, left := 0, 0
	for i := range 10_000 { // within ten seconds
		n, ok := g.pass(time.Duration(i) * time.Millisecond)
		if ok {
			kept++
		}
		left += n
	}
	if kept != 10*requestsKept || left+g.left != 10_000-kept {
		t.Errorf("%d kept, %d counted", kept, left+g.left)
	}
}
