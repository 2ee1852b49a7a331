package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/etcd/client/v3/snapshot"
	offline "go.etcd.io/etcd/etcdutl/v3/snapshot"
)

// Snapshot writes everything the store holds to a new file that only we may
// read, and checks it. The member that has applied most is asked.
func (a Admin) Snapshot(ctx context.Context, path string) error {
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("etcd: snapshot: %s exists; give a new name", path)
	}
	list, err := a.Members(ctx)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(m Member) bool { return m.Err != nil })
	if len(list) == 0 {
		return errors.New("etcd: snapshot: no member answers")
	}
	from := slices.MaxFunc(list, func(x, y Member) int { return int(int64(x.Index) - int64(y.Index)) })
	cfg, err := a.config([]string{from.Client})
	if err != nil {
		return err
	}
	if _, err := snapshot.SaveWithVersion(ctx, silent, cfg, path); err != nil {
		return fmt.Errorf("etcd: snapshot from %s to %s: %w", from.Name, path, err)
	}
	if _, err := offline.NewV3(silent).Status(path); err != nil {
		return fmt.Errorf("etcd: the snapshot %s does not read back: %w", path, err)
	}
	return nil
}

// revisionBump is added to the revision of a restored store, so that no client
// sees the counter of versions go back.
const revisionBump = 1_000_000_000

// Restore makes the data folder of one member of a new cluster from a
// snapshot. It is to be done on every member with the same file and the same
// InitialCluster, while no member runs; the first start then goes on with it.
// A data folder that has data is refused.
func Restore(c Config, path string) error {
	if err := c.validate(); err != nil {
		return err
	}
	if err := c.claim(); err != nil {
		return err
	}
	if _, err := os.Stat(c.dataPath()); err == nil {
		return fmt.Errorf("embedded etcd: %s has data; stop etcd and move %s away first", c.DataDir, c.dataPath())
	}
	peer := c.url(c.Peer)
	// Beside the final place, so that a restore that is cut short leaves nothing
	// that looks whole.
	staging := filepath.Join(c.DataDir, "restoring")
	if err := os.RemoveAll(staging); err != nil { // only ever made here, and never whole
		return fmt.Errorf("embedded etcd: restore: %w", err)
	}
	err := offline.NewV3(silent).Restore(offline.RestoreConfig{
		SnapshotPath: path, Name: c.Name, OutputDataDir: staging, PeerURLs: []string{peer.String()},
		InitialCluster: c.joined(c.InitialCluster), InitialClusterToken: c.token(),
		InitialMmapSize: quota, RevisionBump: revisionBump, MarkCompacted: true,
	})
	if err != nil {
		return fmt.Errorf("embedded etcd: restore %s from %s: %w", c.DataDir, path, err)
	}
	if err := os.Rename(filepath.Join(staging, "member"), c.dataPath()); err != nil {
		return fmt.Errorf("embedded etcd: restore: %w", err)
	}
	if err := os.Remove(staging); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("embedded etcd: restore: %w", err)
	}
	return nil
}
