package rest

import (
	"errors"
	"io"
	"net/http"
	"time"
	"unicode/utf8"

	"tamada/internal/cluster"
)

// maxBody is far above every request there is, and what is stored must fit into
// one key of the store anyway.
const maxBody = 64 << 10

// readBody reads the JSON object in a request by the rules of 1.2; ok is false
// when the error was answered already.
func readBody(a *answer, mandatory bool) (body *cluster.Object, ok bool) {
	if _, bad := a.r.Header[badLength]; bad {
		a.page(400, "")
		return nil, false
	}
	if a.r.Header.Get("Content-Length") == "" || a.r.ContentLength == 0 {
		switch {
		case !mandatory:
			return &cluster.Object{}, true
		case a.r.Header.Get("Content-Length") == "":
			a.page(411, "")
		default:
			a.page(400, "")
		}
		return nil, false
	}
	data, err := io.ReadAll(io.LimitReader(a.r.Body, maxBody+1))
	if len(data) > maxBody {
		// Closing while the client still sends would reset the connection before it
		// reads the answer; so take some more.
		_, _ = io.CopyN(io.Discard, a.r.Body, 16*maxBody)
		a.page(413, "")
		return nil, false
	}
	if err == nil {
		// The deadline of a body that came is not one of the work that follows; for
		// one that did not come it stays, or net/http would wait for the rest.
		_ = http.NewResponseController(a.w).SetReadDeadline(time.Time{})
		body, err = parseBody(data)
	}
	if err != nil || mandatory && body.Len() == 0 {
		a.page(400, "")
		return nil, false
	}
	return body, true
}

var errNotUTF8 = errors.New("the body is not UTF-8")

// parseBody reads one JSON object. The codec would replace invalid UTF-8 inside
// of strings; what nobody sent must not be stored.
func parseBody(data []byte) (*cluster.Object, error) {
	if !utf8.Valid(data) {
		return nil, errNotUTF8
	}
	return cluster.ParseObject(data)
}
