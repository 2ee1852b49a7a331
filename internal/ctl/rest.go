package ctl

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/rest/tlsfile"
)

// maxAnswer bounds what is read of a member's answer.
const maxAnswer = 1 << 20

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
	return &members{http: http.Client{Transport: &http.Transport{TLSClientConfig: t, DisableKeepAlives: true}}, ctl: ctl}, nil
}

// answer is a member's answer; every status is one.
type answer struct {
	status int
	body   []byte
}

// do sends one request to a member. The path takes the place of that in its
// api_url; body may be nil.
func (m *members) do(ctx context.Context, to *cluster.Member, method, path string, body []byte) (*answer, error) {
	u, err := url.Parse(to.APIURL)
	if err != nil || u.Host == "" {
		return nil, errors.New("it has no usable api_url")
	}
	u.Path, u.RawQuery = path, ""
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
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
