package rest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// An answer is one request on its way to its reply.
type answer struct {
	w http.ResponseWriter
	r *http.Request
	o *settled
	// ctx does not end when the client closes its side: net/http cannot tell a
	// client that is gone from one that has only said all it had to say, and the
	// latter must not get another answer than everybody else. What waits bounds
	// itself.
	ctx  context.Context
	long bool // the usual deadline for writing was lifted
}

// longWrite is how long sending an answer may take that was waited for.
const longWrite = 30 * time.Second

// statusOnly answers with a code and nothing else (section 1, status-only
// response).
func (a *answer) statusOnly(code int) {
	a.w.Header().Set("Content-Length", "0")
	a.w.WriteHeader(code)
}

func (a *answer) json(code int, body []byte) { a.write(code, contentJSON, body) }

// text answers with one line; it has no newline at its end.
func (a *answer) text(code int, message string) { a.write(code, contentText, []byte(message)) }

var (
	contentJSON    = []string{"application/json"}
	contentText    = []string{"text/html"}
	contentMetrics = []string{"text/plain"}
)

// takesLong lets the work for a request take longer than usual answers may; the
// time for sending it begins anew with the answer.
func (a *answer) takesLong() {
	_ = http.NewResponseController(a.w).SetWriteDeadline(time.Time{})
	a.long = true
}

// write sends a normal response: the configured headers, a length, never
// chunks.
func (a *answer) write(code int, contentType []string, body []byte) {
	if a.long {
		_ = http.NewResponseController(a.w).SetWriteDeadline(time.Now().Add(longWrite))
	}
	h := a.w.Header()
	for k, v := range a.o.headers {
		h[k] = v
	}
	h["Content-Type"] = contentType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	a.w.WriteHeader(code)
	_, _ = a.w.Write(body) // the client may be gone; nobody is left to tell
}

// What the generic pages say about their codes.
var explanations = map[int]string{
	400: "Bad request syntax or unsupported method",
	409: "Request conflict",
	411: "Client must specify Content-Length",
	413: "Entity is too large",
	501: "Server does not support this operation",
	502: "Invalid responses from another server/proxy",
	503: "The server cannot process the request due to a high load",
}

// page answers with the generic error page (section 1). message is "" for the
// code's own name. The command line finds unsupported operations by the
// explanation of 501.
func (a *answer) page(code int, message string) {
	body := a.preparePage(code, message)
	a.w.WriteHeader(code)
	_, _ = a.w.Write([]byte(body))
}

// preparePage sets the headers of a page and returns its text.
func (a *answer) preparePage(code int, message string) string {
	if message == "" {
		message = http.StatusText(code)
	}
	message = escape(message)
	body := fmt.Sprintf(`<!DOCTYPE HTML>
<html lang="en">
    <head>
        <meta charset="utf-8">
        <title>Error response</title>
    </head>
    <body>
        <h1>Error response</h1>
        <p>Error code: %d</p>
        <p>Message: %s.</p>
        <p>Error code explanation: %d - %s.</p>
    </body>
</html>
`, code, message, code, explanations[code])
	h := a.w.Header()
	h.Set("Connection", "close")
	h.Set("Content-Type", "text/html;charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	return body
}

// unsupported answers to a method that there is no handler for. Its status line
// says the same as the page, as people see it in logs of proxies; net/http knows
// only the code's own name there, so the answer goes around it.
func (a *answer) unsupported() {
	message := "Unsupported method ('" + a.r.Method + "')"
	// Closing with something unread would reset the connection before the client
	// reads the answer.
	if a.r.Header.Get("Expect") == "" && a.r.Header.Get(badLength) == "" { // else it has not sent a body, or none comes through
		_, _ = io.CopyN(io.Discard, a.r.Body, 16*maxBody)
	}
	c, _, err := http.NewResponseController(a.w).Hijack()
	if err != nil {
		a.page(501, message)
		return
	}
	defer func() { _ = c.Close() }()
	var b bytes.Buffer
	body := a.preparePage(501, message)
	a.w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	fmt.Fprintf(&b, "HTTP/1.%d 501 %s\r\n", min(a.r.ProtoMinor, 1), message)
	_ = a.w.Header().Write(&b)
	b.WriteString("\r\n" + body)
	_ = c.SetWriteDeadline(time.Now().Add(longWrite))
	_, _ = c.Write(b.Bytes()) // the client may be gone; nobody is left to tell
}

// escape makes text harmless that came with a request: one-line messages are
// text/html too.
func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// noStore answers when the store could not be read or written. Patroni closes
// the connection without a byte here; a text tells more.
func (a *answer) noStore() { a.text(503, "DCS is not accessible, try again later") }
