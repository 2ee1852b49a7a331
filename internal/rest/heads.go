package rest

import (
	"bytes"
	"crypto/tls"
	"net"
	"strconv"
	"time"
)

// maxLine is how long a line of a head may be that is looked at.
const maxLine = 8 << 10

// badLength is the name under which the handlers find a Content-Length that is
// no number.
const badLength = "Unreadable-Content-Length"

// heads reads what a client sends and hands it on in a form that net/http takes.
// net/http answers two kinds of requests by itself, before any handler sees them,
// that section 1 wants answered like others:
//
//   - HTTP/1.1 without the header Host, as HAProxy's `http-check send` asks: it
//     gets an empty one.
//   - A Content-Length that is no number: it gets the name [badLength]. Nobody
//     knows where such a request ends, so what follows is thrown away.
//
// Everything else passes as it came. From the first head on that is not plain (a
// transfer encoding, an upgrade, a line without an end) all that follows does.
type heads struct {
	net.Conn
	out []byte // handed on next

	part headsPart
	line []byte // the line that has not come as a whole
	body int64  // what is still to come of the present body

	// What the present head has said: sized tells that length is known, unsized that
	// it is none, last that what comes after this head is beyond us.
	needsHost, sized, unsized, last bool
	length                          int64
}

type headsPart uint8

const (
	requestLine headsPart = iota
	headerLines
	passing  // not looked at any more
	dropping // thrown away
)

// Read hands on what is ready. While there is only the beginning of a header's
// line it goes on waiting; deadlines are the connection's.
func (h *heads) Read(p []byte) (int, error) {
	for len(h.out) == 0 {
		if h.part == passing {
			return h.Conn.Read(p)
		}
		n, err := h.Conn.Read(p)
		if n == 0 {
			return 0, err
		}
		h.out = h.out[:0]
		h.take(p[:n])
	}
	n := copy(p, h.out)
	// What is left moves to the front, so that the buffer does not grow with the
	// connection's age; mostly nothing is.
	h.out = h.out[:copy(h.out, h.out[n:])]
	return n, nil
}

// take puts what came into out.
func (h *heads) take(in []byte) {
	for len(in) > 0 {
		switch {
		case h.body > 0:
			n := min(h.body, int64(len(in)))
			h.out = append(h.out, in[:n]...)
			h.body -= n
			in = in[n:]
		case h.part == passing:
			h.out = append(h.out, in...)
			return
		case h.part == dropping:
			return
		default:
			in = h.takeLine(in)
		}
	}
}

// takeLine takes a line of the head, or as much of it as there is, and returns
// the rest. The request line is not held back until it is whole: net/http's
// deadline for the head begins with its first bytes.
func (h *heads) takeLine(in []byte) []byte {
	end := bytes.IndexByte(in, '\n') + 1
	n := end
	if end == 0 {
		n = len(in)
	}
	if h.part == requestLine {
		h.out = append(h.out, in[:n]...)
	}
	h.line = append(h.line, in[:n]...)
	switch {
	case len(h.line) <= maxLine && end == 0:
		return nil
	case len(h.line) > maxLine:
		if h.part == headerLines {
			h.out = append(h.out, h.line...)
		}
		h.part = passing
	case h.part == requestLine:
		h.requestLine(trimEOL(h.line))
	default:
		h.headerLine(trimEOL(h.line))
	}
	h.line = h.line[:0]
	return in[n:]
}

// trimEOL takes off what net/http takes for the end of a line.
func trimEOL(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}

func (h *heads) requestLine(line []byte) {
	if len(line) == 0 {
		return // net/http forgives empty lines after the body of a POST
	}
	h.part = headerLines
	h.needsHost = bytes.HasSuffix(line, []byte(" HTTP/1.1")) && !bytes.HasPrefix(line, []byte("CONNECT "))
	h.sized, h.unsized, h.last, h.length = false, false, false, 0
}

func (h *heads) headerLine(line []byte) {
	if len(line) == 0 {
		h.headEnds()
		return
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch {
	case len(name) == len("Host") && bytes.EqualFold(name, []byte("Host")):
		h.needsHost = false
	case len(name) == len("Content-Length") && bytes.EqualFold(name, []byte("Content-Length")):
		n, err := strconv.ParseUint(string(bytes.Trim(value, " \t")), 10, 63)
		if err != nil || h.unsized {
			h.unsized = true
			h.out = append(h.out, badLength+":"...)
			h.out = append(h.out, h.line[len(name)+1:]...)
			return
		}
		h.last = h.last || h.sized // said twice: net/http judges
		h.sized, h.length = true, int64(n)
	case bytes.EqualFold(name, []byte("Transfer-Encoding")), bytes.EqualFold(name, []byte("Upgrade")):
		h.last = true
	}
	h.out = append(h.out, h.line...)
}

// headEnds adds what the head lacks and goes on to what follows it.
func (h *heads) headEnds() {
	if h.needsHost {
		h.out = append(h.out, "Host:\r\n"...)
	}
	h.out = append(h.out, h.line...)
	h.body, h.part = h.length, requestLine
	switch {
	case h.unsized:
		h.part = dropping
	case h.last:
		h.part = passing
	}
}

// A secureConn is a connection with TLS whose heads are looked at.
type secureConn struct {
	*heads
	tls       *tls.Conn
	handshake time.Duration // how long it may take
}

// ConnectionState makes the handshake. net/http calls it first, and in the
// connection's own goroutine (trap 18); an error comes again with the first read.
func (c secureConn) ConnectionState() tls.ConnectionState {
	_ = c.SetDeadline(time.Now().Add(c.handshake))
	_ = c.tls.Handshake()
	_ = c.SetDeadline(time.Time{})
	return c.tls.ConnectionState()
}
