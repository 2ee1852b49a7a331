package rest

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tamada/internal/ledger"
)

// ledgerTimeout is how long the ledger's files may take to be read, and those
// who read it before.
const ledgerTimeout = 5 * time.Second

// ours are the endpoints below /tamada, which the reference does not have.
func (s *Server) ours(a *answer) {
	if strings.TrimSuffix(a.r.URL.Path, "/") != "/tamada/ledger" {
		a.page(http.StatusNotFound, "")
		return
	}
	s.showLedger(a)
}

// showLedger is GET /tamada/ledger: the newest entries of a span of time, at most
// limit and at most half a megabyte of them. It tells what this node decided and
// why, and no secrets, so it is as open as GET /patroni.
func (s *Server) showLedger(a *answer) {
	q, err := readLedgerQuery(parseQuery(a.r.URL.RawQuery))
	if err != nil {
		a.text(http.StatusBadRequest, escape(err.Error()))
		return
	}
	ctx, cancel := context.WithTimeout(a.ctx, ledgerTimeout)
	defer cancel()
	page, err := s.source.Ledger(ctx, q)
	var body []byte
	if err == nil {
		body, err = ledger.Document(a.o.Name, page)
	}
	if err != nil {
		s.log.WarnContext(ctx, "cannot read the ledger for a request", "error", err)
		a.text(http.StatusServiceUnavailable, "the ledger cannot be read, see the log")
		return
	}
	a.json(http.StatusOK, body)
}

func readLedgerQuery(q query) (l ledger.Query, err error) {
	for _, end := range []struct {
		name string
		to   *time.Time
	}{{"since", &l.Since}, {"until", &l.Until}} {
		if v := q[end.name]; v != "" {
			if *end.to, err = time.Parse(time.RFC3339Nano, v); err != nil {
				return l, errors.New(end.name + " should be a time like 2031-02-03T04:05:06Z")
			}
		}
	}
	if v := q["limit"]; v != "" {
		if l.Limit, err = strconv.Atoi(v); err != nil || l.Limit < 1 {
			return l, errors.New("limit should be a positive number")
		}
	}
	return l, nil
}
