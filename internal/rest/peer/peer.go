package peer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/rest/tlsfile"
)

const (
	// pollTimeout is how long a peer may take in all.
	pollTimeout = 2 * time.Second
	// livenessTimeout is the same for the check of the own name at start.
	livenessTimeout = 3 * time.Second
	// maxAnswer is far above a document with hundreds of walsenders.
	maxAnswer = 1 << 20
)

// Options are the settings of a client, from `ctl` in the configuration, where
// that is absent from `restapi`.
type Options struct {
	Username, Password string // both "": no authentication
	// Version is the level of compatibility that we show, 4.1.4.
	Version string
	TLS     tlsfile.Client
}

// Client asks peers. It may be used by many goroutines.
type Client struct {
	http          *http.Client
	agent         string
	authorization string
}

// New makes a client. Errors are about the certificate's files.
func New(o Options) (*Client, error) {
	config, err := o.TLS.Config()
	if err != nil {
		return nil, fmt.Errorf("ctl: %w", err)
	}
	c := &Client{agent: "Patroni/" + o.Version}
	if o.Username != "" {
		c.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(o.Username+":"+o.Password))
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			// No proxy from the environment: peers are asked directly.
			DialContext:            (&net.Dialer{Timeout: livenessTimeout}).DialContext,
			TLSClientConfig:        config,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
		},
		// A peer answers by itself; credentials go nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Answer is what is known of one member after it was asked.
type Answer struct {
	Name string
	// Err is why the member counts as not reachable, nil when it is.
	Err error

	// Primary means that it runs, or says that it runs, out of recovery.
	Primary bool
	// LSN is the greater of what it received and what it replayed, 0 for a primary.
	LSN            cluster.LSN
	Timeline       cluster.Timeline // 0: not known
	Tags           *cluster.Tags
	WatchdogFailed bool
	Body           []byte // what it said
}

// Limitation is why the member cannot be promoted, "" when it can.
func (a *Answer) Limitation() string {
	switch {
	case a.Err != nil:
		return "not reachable"
	case cluster.NoFailover(a.Tags):
		return "not allowed to promote"
	case a.WatchdogFailed:
		return "not watchdog capable"
	}
	return ""
}

// Poll asks one member for its status document.
func (c *Client) Poll(ctx context.Context, m *cluster.Member) Answer {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	a := Answer{Name: m.Name}
	body, err := c.get(ctx, m.APIURL)
	if err == nil {
		err = a.read(body)
	}
	if err != nil {
		return Answer{Name: m.Name, Err: fmt.Errorf("ask %s at %s: %w", m.Name, m.APIURL, err)}
	}
	a.Body = body
	return a
}

// Read is what a member's status document says, however it was got.
func Read(name string, body []byte) Answer {
	a := Answer{Name: name}
	if err := a.read(body); err != nil {
		return Answer{Name: name, Err: err}
	}
	return a
}

// PollAll asks members at the same time; the answers are in their order.
func (c *Client) PollAll(ctx context.Context, members []cluster.Member) []Answer {
	answers := make([]Answer, len(members))
	var wg sync.WaitGroup
	for i := range members {
		wg.Go(func() { answers[i] = c.Poll(ctx, &members[i]) })
	}
	wg.Wait()
	return answers
}

// Lives tells whether anything answers HTTP at a member's address; a node that
// starts asks so whether its name is taken.
func (c *Client) Lives(ctx context.Context, m *cluster.Member) bool {
	ctx, cancel := context.WithTimeout(ctx, livenessTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, m.APIURL, nil)
	if err != nil {
		return false
	}
	r.URL.Path, r.URL.RawQuery = "/liveness", ""
	resp, err := c.do(r)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return true
}

func (c *Client) get(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	// The code says nothing that the document does not: the same document comes
	// with 200 and with 503.
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errors.New("the answer is too long")
	}
	return body, err
}

func (c *Client) do(r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", c.agent)
	if c.authorization != "" {
		r.Header.Set("Authorization", c.authorization)
	}
	return c.http.Do(r)
}

var errMalformed = errors.New("the answer is not a status document")

// read takes the facts out of a document. A field of the wrong type makes the
// whole answer void.
func (a *Answer) read(body []byte) error {
	d, err := cluster.ParseObject(body)
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	x := d.Object("xlog")
	if x == nil {
		x = d.Object("wal")
	}
	if x == nil {
		return fmt.Errorf("%w: it has no xlog (is PostgreSQL up there?)", errMalformed)
	}
	role, _ := d.String("role")
	a.Primary = cluster.Truthy(x.Value("location")) || cluster.ParseRole(role) == cluster.RolePrimary
	if !a.Primary {
		received, err := position(x, "received_location")
		if err != nil {
			return err
		}
		replayed, err := position(x, "replayed_location")
		if err != nil {
			return err
		}
		a.LSN = max(received, replayed)
	}
	tli, err := number(d.Value("timeline"), 32)
	if err != nil {
		return fmt.Errorf("%w: timeline", errMalformed)
	}
	a.Timeline = cluster.Timeline(tli)
	if v, there := d.Get("tags"); there && v != nil {
		if a.Tags = d.Object("tags"); a.Tags == nil {
			return fmt.Errorf("%w: tags", errMalformed)
		}
	}
	a.WatchdogFailed = cluster.Truthy(d.Value("watchdog_failed"))
	return nil
}

// position reads a WAL position; an absent one is 0, null is not a position.
func position(x *cluster.Object, key string) (cluster.LSN, error) {
	v, there := x.Get(key)
	if !there {
		return 0, nil
	}
	if v == nil {
		return 0, fmt.Errorf("%w: %s", errMalformed, key)
	}
	n, err := number(v, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %s", errMalformed, key)
	}
	return cluster.LSN(n), nil
}

// number reads an integer that is not negative; null is 0.
func number(v any, bits int) (uint64, error) {
	if v == nil {
		return 0, nil
	}
	n, ok := v.(json.Number)
	if !ok {
		return 0, errMalformed
	}
	return strconv.ParseUint(string(n), 10, bits)
}
