package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

// askPeers is how long the others may take to tell who is a member.
const askPeers = 2 * time.Second

// Reasons not to start, for errors.Is.
var (
	// ErrForeignData: the data folder belongs to another cluster or member.
	ErrForeignData = errors.New("the data folder belongs to something else")
	// ErrDataLost: the cluster knows us as a member with data, and we have none.
	ErrDataLost = errors.New("the data of this etcd member is lost")
	// ErrNotMember: the cluster exists and does not list us.
	ErrNotMember = errors.New("this node is not a member of the etcd cluster")
)

// start is how the server is to begin.
type start struct {
	state          string // "new" or "existing"
	initialCluster string // NAME=URL,...
	how            string // for the log
}

// peerMember is a member as the others' peer port lists it.
type peerMember struct {
	ID         uint64   `json:"id"`
	Name       string   `json:"name"` // empty until it has started once after being added
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"` // empty until it has started
}

// marker is our file in the data folder; it says whose it is.
type marker struct {
	Cluster string `json:"cluster"`
	Name    string `json:"name"`
}

func (c Config) markerPath() string { return filepath.Join(c.DataDir, "tamada-etcd.json") }
func (c Config) dataPath() string   { return filepath.Join(c.DataDir, "member") }

// prepare looks at the data folder and at the other members and decides how to
// begin.
//
// What if we are wrong? A member that comes back without its data and votes
// under its old identity could help elect a leader that lacks what was already
// agreed. So an empty folder begins a new cluster only when no other member
// knows of one.
func (c Config) prepare(ctx context.Context) (start, error) {
	if err := c.claim(); err != nil {
		return start{}, err
	}
	_, err := os.Stat(c.dataPath())
	have := err == nil
	members, answered := c.members(ctx)
	ours, others := c.find(members)
	everybody := c.joined(c.InitialCluster)
	switch {
	case have && answered && ours != nil && ours.Name == "":
		// We were replaced: the cluster waits for a member without a past. What we
		// have belongs to an identity that it has removed.
		if err := c.setAside(); err != nil {
			return start{}, err
		}
		return start{embed.ClusterStateFlagExisting, c.joined(others), "joins as a new member; the data of the replaced one was moved aside"}, nil
	case have:
		return start{embed.ClusterStateFlagNew, everybody, "goes on with its data"}, nil // etcd takes all from its data
	case !answered:
		return start{embed.ClusterStateFlagNew, everybody, "begins a new cluster"}, nil
	case ours == nil:
		return start{}, fmt.Errorf("%w: add it on another node with `tamada etcd replace %s`", ErrNotMember, c.Name)
	case ours.Name == "":
		return start{embed.ClusterStateFlagExisting, c.joined(others), "joins the cluster"}, nil
	case len(ours.ClientURLs) > 0:
		return start{}, fmt.Errorf("%w: %s is empty; run `tamada etcd replace %s` on another node, then this one joins anew", ErrDataLost, c.DataDir, c.Name)
	}
	return start{embed.ClusterStateFlagNew, everybody, "begins a new cluster with the others"}, nil
}

// claim makes the data folder ours, or finds that it is somebody else's.
func (c Config) claim() error {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("embedded etcd: data folder: %w", err)
	}
	if err := os.Chmod(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("embedded etcd: data folder: %w", err)
	}
	want := marker{c.Cluster, c.Name}
	data, err := os.ReadFile(c.markerPath())
	if err == nil {
		var have marker
		if err := json.Unmarshal(data, &have); err != nil || have != want {
			return fmt.Errorf("%w: %s is of member %q of cluster %q, and this is %q of %q", ErrForeignData, c.DataDir, have.Name, have.Cluster, c.Name, c.Cluster)
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("embedded etcd: %w", err)
	}
	entries, err := os.ReadDir(c.DataDir)
	if err != nil {
		return fmt.Errorf("embedded etcd: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%w: %s is not empty and was not made by Tamada; give an empty folder", ErrForeignData, c.DataDir)
	}
	return c.mark()
}

func (c Config) mark() error {
	data, err := json.Marshal(marker{c.Cluster, c.Name})
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.markerPath(), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("embedded etcd: %w", err)
	}
	return nil
}

// setAside moves the data out of the way. It is not deleted: should the
// replacement have been a mistake, this is the only copy.
func (c Config) setAside() error {
	aside := c.dataPath() + ".replaced-" + time.Now().UTC().Format("20060102T150405")
	if c.Logger != nil {
		c.Logger.Warn("this etcd member was replaced: moving its former data aside", "from", c.dataPath(), "to", aside)
	}
	if err := os.Rename(c.dataPath(), aside); err != nil {
		return fmt.Errorf("embedded etcd: move replaced data aside: %w", err)
	}
	return nil
}

// members asks the others, all at once, who is a member. The list of the first
// that answers counts.
func (c Config) members(ctx context.Context) (list []peerMember, answered bool) {
	ctx, cancel := context.WithTimeout(ctx, askPeers)
	defer cancel()
	info := c.TLS.info()
	rt, err := transport.NewTransport(info, askPeers)
	if err != nil {
		return nil, false
	}
	defer rt.CloseIdleConnections()
	client := &http.Client{Transport: rt}
	results := make(chan []peerMember)
	asked := 0
	for name, addr := range c.InitialCluster {
		if name == c.Name {
			continue
		}
		asked++
		go func() {
			l := membersOf(ctx, client, c.TLS.scheme()+"://"+addr)
			select {
			case results <- l:
			case <-ctx.Done():
			}
		}()
	}
	for range asked {
		select {
		case l := <-results:
			if len(l) > 0 {
				return l, true
			}
		case <-ctx.Done():
			return nil, false
		}
	}
	return nil, false
}

func membersOf(ctx context.Context, client *http.Client, base string) []peerMember {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/members", nil)
	if err != nil {
		return nil
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var list []peerMember
	if json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<20)).Decode(&list) != nil {
		return nil
	}
	return list
}

// find is our entry in a list of members, and all members' names and addresses
// with ours filled in.
func (c Config) find(list []peerMember) (ours *peerMember, all map[string]string) {
	all = map[string]string{}
	for i, m := range list {
		addr := ""
		for _, text := range m.PeerURLs {
			if u, err := url.Parse(text); err == nil {
				addr = u.Host
			}
		}
		name := m.Name
		if addr == c.Peer {
			ours, name = &list[i], c.Name
		}
		if name == "" {
			name = fmt.Sprintf("unstarted-%x", m.ID)
		}
		all[name] = addr
	}
	return ours, all
}

// joined is the form NAME=URL,... .
func (c Config) joined(members map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		u := c.url(members[name])
		list = append(list, name+"="+u.String())
	}
	return strings.Join(list, ",")
}
