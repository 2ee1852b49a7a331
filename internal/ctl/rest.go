package ctl

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/rest/tlsfile"
)

const (
	// maxAnswer bounds what is read of a member's answer.
	maxAnswer = 1 << 20
	// quick is how long a member may take to answer what it answers at once: it
	// may have to wait for the store, for retry_timeout.
	quick = 15 * time.Second
	// patient is the same for what is answered when it is done: a restart waits
	// for the old PostgreSQL's shutdown and the new one's recovery. The reference
	// waits for ever. A host that vanishes is noticed by TCP long before.
	patient = time.Hour
	// connecting is how long one attempt to connect may take, and attempts how
	// often it is made when the member refuses or breaks it: its agent may just be
	// starting.
	connecting = 5 * time.Second
	attempts   = 3
)

// members is the client of the members' REST API, with the credentials and
// certificates of the section ctl.
type members struct {
	http http.Client
	ctl  config.Ctl
}

func newMembers(ctl config.Ctl) (*members, error) {
	c := tlsfile.Client{CertFile: ctl.CertFile, KeyFile: ctl.KeyFile, KeyPassword: string(ctl.KeyFilePassword), CAFile: ctl.CACert}
	t, err := c.Config()
	if err != nil {
		return nil, fmt.Errorf("section ctl: %w", err)
	}
	if !ctl.Insecure {
		// What the file client leaves to agents among themselves is verified here:
		// the chain and the host's name.
		t.InsecureSkipVerify, t.VerifyConnection = false, nil
		if ctl.CACert != "" {
			pem, err := os.ReadFile(ctl.CACert)
			if err != nil {
				return nil, fmt.Errorf("ctl.cacert: %w", err)
			}
			t.RootCAs = x509.NewCertPool()
			if !t.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("ctl.cacert: there is no certificate in %s", ctl.CACert)
			}
		}
	}
	return &members{ctl: ctl, http: http.Client{
		Transport: &http.Transport{TLSClientConfig: t, DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: connecting}).DialContext},
		// A member answers by itself; credentials go nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// answer is a member's answer; every status is one.
type answer struct {
	status int
	body   []byte
}

func (a *answer) text() string { return string(a.body) }

// do sends one request to a member. The path, a query included, takes the place
// of that in its api_url; body may be nil. An attempt that did not come as far as a connection
// is repeated.
func (m *members) do(ctx context.Context, limit time.Duration, to *cluster.Member, method, path string, body *cluster.Object) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for try := 1; ; try++ {
		got, err := m.once(ctx, to, method, path, body)
		var dial *net.OpError
		if err == nil || try == attempts || !errors.As(err, &dial) || dial.Op != "dial" || dial.Timeout() {
			return got, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (m *members) once(ctx context.Context, to *cluster.Member, method, path string, body *cluster.Object) (*answer, error) {
	u, err := url.Parse(to.APIURL)
	if err != nil || u.Host == "" {
		return nil, errors.New("it has no usable api_url")
	}
	u.Path, u.RawQuery, _ = strings.Cut(path, "?")
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(cluster.Spaced(body))
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		return nil, err
	}
	if m.ctl.Username != "" {
		req.SetBasicAuth(m.ctl.Username, string(m.ctl.Password))
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := m.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	return &answer{resp.StatusCode, data}, nil
}

// status asks a member for its status document. Its code says nothing that the
// document does not.
func (m *members) status(ctx context.Context, to *cluster.Member) (*cluster.Object, error) {
	got, err := m.do(ctx, statusTimeout, to, http.MethodGet, "/patroni", nil)
	if err != nil {
		return nil, err
	}
	doc, err := cluster.ParseObject(got.body)
	if err != nil {
		return nil, fmt.Errorf("the answer with status %d is not a status document: %w", got.status, err)
	}
	return doc, nil
}

// statusTimeout is how long a member may take to tell its state.
const statusTimeout = 5 * time.Second
