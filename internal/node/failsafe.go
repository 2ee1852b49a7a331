//go:build linux

package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/guardian"
	"tamada/internal/ha"
)

// askFailsafe asks every member for its promise. The moment counts at which the
// first question was sent.
func (n *node) askFailsafe(e agent.AskFailsafe) {
	end := agent.FailsafeAnswered{ID: e.ID, Sent: guardian.Now(), OK: true}
	body := cluster.Compact(e.Body)
	var mu sync.Mutex
	var refused []string
	var wg sync.WaitGroup
	for name, v := range e.Members.All() {
		url, _ := v.(string)
		wg.Go(func() {
			if err := n.askMember(url, body, e.Timeout); err != nil {
				mu.Lock()
				defer mu.Unlock()
				refused = append(refused, fmt.Sprintf("%s: %v", name, err))
			}
		})
	}
	wg.Wait()
	if len(refused) > 0 {
		end.OK, end.Why = false, strings.Join(refused, "; ")
	}
	n.send(end)
}

// askMember asks twice: a lost packet must not cost the primary.
func (n *node) askMember(url string, body []byte, timeout time.Duration) (err error) {
	for range 2 {
		ctx, cancel := context.WithTimeout(n.ctx, timeout)
		err = n.peers.Load().Failsafe(ctx, url, body)
		cancel()
		if err == nil || n.ctx.Err() != nil {
			return err
		}
	}
	return err
}

// promiseFile holds the promise that this node gave. Its end is counted from
// boot, because the wall clock may be set meanwhile; after a reboot, when that
// means nothing, by the wall clock.
const promiseFile = "failsafe.json"

type promiseRecord struct {
	Name    string     `json:"name"`
	ConnURL string     `json:"conn_url"`
	APIURL  string     `json:"api_url"`
	Until   time.Time  `json:"until"`
	Boot    string     `json:"boot"` // boot_id of the kernel
	End     ha.Instant `json:"end"`  // the same moment on that boot's CLOCK_BOOTTIME
}

// keepPromise writes the promise down before it is given: an agent that forgot it
// could race against the primary that relies on it.
func (n *node) keepPromise(e agent.KeepPromise) {
	n.promise.Lock()
	defer n.promise.Unlock()
	if e.ID < n.promise.newest { // one that ends later is written down already
		n.requests.end(agent.Answer{ID: e.ID, Code: 200, Text: "Accepted"})
		return
	}
	r := promiseRecord{Name: e.Promise.Name, ConnURL: e.Promise.ConnURL, APIURL: e.Promise.APIURL, Until: time.Now().Add(guardian.Until(e.Promise.Until)),
		Boot: bootID(), End: e.Promise.Until}
	end := agent.Answer{ID: e.ID, Code: 200, Text: "Accepted"}
	if err := writePromise(n.cfg.Load().StateDir, r); err != nil {
		n.log.Error("could not write down a promise in failsafe mode, so it is not given", "error", err)
		end.Code, end.Text = 503, "the promise could not be written down"
	} else {
		n.promise.newest = e.ID
	}
	n.requests.end(end)
}

func writePromise(stateDir string, r promiseRecord) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := filepath.Join(stateDir, promiseFile)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// promised is the promise of an earlier agent of this node that still holds. One
// that cannot be read is taken for none, with a warning: it ends by itself within
// one time to live.
func (n *node) promised(stateDir string) *ha.Promise {
	b, err := os.ReadFile(filepath.Join(stateDir, promiseFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var r promiseRecord
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		n.log.Warn("could not read the last promise of failsafe mode", "error", err)
		return nil
	}
	left := time.Until(r.Until)
	if r.Boot != "" && r.Boot == bootID() {
		left = guardian.Until(r.End)
	}
	left = min(left, n.settings().TTL)
	if left <= 0 || r.Name == "" {
		return nil
	}
	n.log.Info("keeping the promise that the previous agent gave to "+r.Name, "for", left.Round(time.Millisecond).String())
	return &ha.Promise{Name: r.Name, ConnURL: r.ConnURL, APIURL: r.APIURL, Until: guardian.Now() + left}
}

// Failsafe asks the agent for its promise to a primary that has lost the store.
// lsn is this node's position, for the answer.
func (s source) Failsafe(ctx context.Context, name, connURL, apiURL string, slots []cluster.Slot) (code int, text string, lsn cluster.LSN, err error) {
	code, text, err = s.await(ctx, func(id uint64) agent.Event {
		return agent.FailsafeAsked{ID: id, Name: name, ConnURL: connURL, APIURL: apiURL, Slots: slots}
	})
	return code, text, cluster.LSN(s.position.Load()), err
}
