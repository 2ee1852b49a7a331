//go:build linux

package node

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/rest/peer"
)

func TestSilenceOfAMemberIsLoggedOnceAndItsReturnToo(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	var h heard
	m := cluster.Member{Name: "n1", APIURL: "http://127.0.0.1:8008/patroni"}
	for _, a := range []peer.Answer{
		{Err: errors.New("read tcp 127.0.0.1:1001->127.0.0.1:8008: reset")},
		{Err: errors.New("read tcp 127.0.0.1:1002->127.0.0.1:8008: reset")},
		{Err: errors.New("connection refused")},
		{Err: errors.New("connection refused")},
		{Body: []byte("{1}")}, {Body: []byte("{2}")},
		{Err: errors.New("connection refused")},
	} {
		h.log(log, &m, &a)
	}
	want := `level=WARN msg="Request failed to n1: GET http://127.0.0.1:8008/patroni (read tcp 127.0.0.1:1001->127.0.0.1:8008: reset)"
level=WARN msg="Request failed to n1: GET http://127.0.0.1:8008/patroni (connection refused)"
level=INFO msg="Got response from n1 http://127.0.0.1:8008/patroni: {1}"
level=WARN msg="Request failed to n1: GET http://127.0.0.1:8008/patroni (connection refused)"
`
	if out.String() != want {
		t.Errorf("logged\n%swant\n%s", out.String(), want)
	}
	now := time.Now()
	if h.news(now, "n2", ""); h.news(now.Add(heardFor-1), "n2", "") || !h.news(now.Add(3*heardFor), "n2", "") {
		t.Error("a row of answers does not end with time")
	}
}
