package embedded_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/dcs/dcstest"
	"tamada/internal/dcs/embedded"
	"tamada/internal/dcs/etcd3"
)

func store(t *testing.T, list []*member) *etcd3.Store {
	t.Helper()
	s, err := etcd3.Open(t.Context(), etcd3.Options{Scope: "batman", Name: "a", Hosts: admin(list).Endpoints,
		Times: dcs.Times{TTL: time.Minute, LoopWait: 10 * time.Second, RetryTimeout: 10 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t *testing.T, s *etcd3.Store, value string) {
	t.Helper()
	if _, err := s.Put(within(t, 10*time.Second), cluster.KeyHistory, []byte(value), dcs.Any()); err != nil {
		t.Fatal(err)
	}
}

func holds(t *testing.T, list []*member, lines int) {
	t.Helper()
	c, err := store(t, list).Load(within(t, 10*time.Second))
	if err != nil || c.History == nil || len(c.History.Lines) != lines {
		t.Fatalf("want %d lines of history, got %+v, %v", lines, c, err)
	}
}

// The whole life of three nodes: first start, restart, a lost disk, a
// replacement that has to be fed a snapshot.
func TestThreeMembersLiveThroughTheLossOfOne(t *testing.T) {
	t.Parallel()
	list := newMembers(t, 3)
	for _, m := range list {
		m.start()
	}
	await(t, list)
	s := store(t, list)
	put(t, s, `[[1,1,"x"]]`)
	if fi, err := os.Stat(list[0].DataDir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("data folder: %v, %v", fi.Mode(), err)
	}

	// a restart after a long time: more has happened than the others keep in memory
	list[2].stop(syscall.SIGTERM)
	for range 1600 {
		put(t, s, `[[1,1,"x"],[2,2,"x"]]`)
	}
	list[2].start()
	await(t, list)
	holds(t, list[2:], 2)

	// the disk is lost, for as long
	list[2].stop(syscall.SIGKILL)
	if err := os.RemoveAll(list[2].DataDir); err != nil {
		t.Fatal(err)
	}
	for range 1600 {
		put(t, s, `[[1,1,"x"],[2,2,"x"],[3,3,"x"]]`)
	}
	list[2].failsWith("tamada etcd replace n2")
	var steps []string
	a := admin(list[:2])
	if err := a.Replace(within(t, 10*time.Second), "n0", func(s string) { steps = append(steps, s) }); err == nil || len(steps) > 0 {
		t.Fatalf("a member that answers was replaced: %v %v", err, steps)
	}
	if err := a.Replace(within(t, 10*time.Second), "n2", func(s string) { steps = append(steps, s) }); err != nil {
		t.Fatal(err)
	}
	t.Log(strings.Join(steps, "\n"))
	list[2].start()
	await(t, list)
	holds(t, list[2:], 3)
	// the new voter counts: with it and one other there is a majority
	list[0].stop(syscall.SIGKILL)
	put(t, store(t, list[1:]), `[[1,1,"x"],[2,2,"x"],[3,3,"x"],[4,4,"x"]]`)
}

func TestReplacedMemberMovesItsFormerDataAside(t *testing.T) {
	t.Parallel()
	list := newMembers(t, 3)
	for _, m := range list {
		m.start()
	}
	await(t, list)
	put(t, store(t, list), `[[1,1,"x"]]`)
	list[1].stop(syscall.SIGKILL)
	a := admin([]*member{list[0], list[2]})
	a.Peers = list[1].InitialCluster
	for range 2 { // a second time changes nothing
		if err := a.Replace(within(t, 20*time.Second), "n1", func(string) {}); err != nil {
			t.Fatal(err)
		}
	}
	list[1].start()
	await(t, list)
	holds(t, list[1:2], 1)
	if aside, _ := filepath.Glob(filepath.Join(list[1].DataDir, "member.replaced-*")); len(aside) != 1 {
		t.Fatalf("the former data is not there: %v", aside)
	}
}

func TestLeadershipMovesAwayFromANode(t *testing.T) {
	t.Parallel()
	list := newMembers(t, 3)
	for _, m := range list {
		m.start()
	}
	for _, m := range await(t, list) {
		if !m.Leader {
			continue
		}
		moved, err := admin(list).MoveLeader(within(t, 10*time.Second), m.Name)
		if err != nil || moved == m.Name || moved == "" {
			t.Fatalf("moved to %q, %v", moved, err)
		}
		for _, now := range await(t, list) {
			if now.Leader && now.Name != moved {
				t.Errorf("%s leads, want %s", now.Name, moved)
			}
		}
		if again, err := admin(list).MoveLeader(within(t, 10*time.Second), m.Name); err != nil || again != "" {
			t.Errorf("moved again: %q, %v", again, err)
		}
	}
}

func TestSnapshotIsRestoredAsANewCluster(t *testing.T) {
	t.Parallel()
	old := newMembers(t, 1)
	old[0].start()
	await(t, old)
	put(t, store(t, old), `[[1,1,"x"],[2,2,"x"]]`)
	before, err := store(t, old).Load(within(t, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "snapshot.db")
	if err := admin(old).Snapshot(within(t, 10*time.Second), file); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("snapshot: %v, %v", fi.Mode(), err)
	}
	if err := admin(old).Snapshot(within(t, 10*time.Second), file); err == nil {
		t.Error("a snapshot was overwritten")
	}
	old[0].stop(syscall.SIGTERM)
	if err := embedded.Restore(old[0].Config, file); err == nil {
		t.Error("data was overwritten by a restore")
	}

	list := newMembers(t, 3)
	for _, m := range list {
		if err := embedded.Restore(m.Config, file); err != nil {
			t.Fatal(err)
		}
		m.start()
	}
	await(t, list)
	holds(t, list, 2)
	s := store(t, list)
	v, err := s.Put(within(t, 5*time.Second), cluster.KeyConfig, []byte(`{}`), dcs.Any())
	if err != nil || v <= before.History.Version {
		t.Errorf("the version went back to %d from %d, %v", v, before.History.Version, err)
	}
}

func TestMemberThatCannotStartSaysWhyInOneLine(t *testing.T) {
	t.Parallel()
	m := newMembers(t, 1)[0]
	l, err := net.Listen("tcp", m.Client)
	if err != nil {
		t.Fatal(err)
	}
	m.failsWith(fmt.Sprintf("%s is taken by another process", m.Client))
	l.Close()
	if n := strings.Count(strings.TrimSpace(m.log()), "\n"); n != 0 {
		t.Errorf("%d more lines", n)
	}
	m.start()
	await(t, []*member{m})
	m.stop(syscall.SIGTERM)

	m.Cluster = "robin"
	m.failsWith(`is of member "n0" of cluster "batman"`)
	m.Cluster = "batman"
	if err := os.Remove(filepath.Join(m.DataDir, "tamada-etcd.json")); err != nil {
		t.Fatal(err)
	}
	m.failsWith("is not empty and was not made by Tamada")
}

func TestMembersWithTLSJoinAndReplace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := embedded.TLS{CACert: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "node.pem"), Key: filepath.Join(dir, "node.key")}
	dcstest.NewAuthority(t, files.CACert).Issue(t, filepath.Join(dir, "node"))
	list := newMembers(t, 3)
	for _, m := range list {
		m.TLS = files
		m.start()
	}
	await(t, list)
	s, err := etcd3.Open(t.Context(), etcd3.Options{Scope: "batman", Name: "a", Hosts: admin(list).Endpoints, Protocol: "https",
		CACert: files.CACert, Cert: files.Cert, Key: files.Key})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put(t, s, `[[1,1,"x"]]`)
	list[0].stop(syscall.SIGKILL)
	if err := os.RemoveAll(list[0].DataDir); err != nil {
		t.Fatal(err)
	}
	list[0].failsWith("tamada etcd replace n0")
	if err := admin(list[1:]).Replace(within(t, 20*time.Second), "n0", func(string) {}); err != nil {
		t.Fatal(err)
	}
	list[0].start()
	await(t, list)
}

// What an idle member costs; the figures are for the log.
func TestIdleMemberIsSmall(t *testing.T) {
	t.Parallel()
	list := newMembers(t, 3)
	for _, m := range list {
		m.start()
	}
	await(t, list)
	s := store(t, list)
	for range 300 {
		put(t, s, `[[1,1,"x"]]`)
	}
	var most int
	for _, m := range list {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			var kb int
			if n, _ := fmt.Sscanf(line, "RssAnon: %d kB", &kb); n == 1 {
				t.Logf("%s: %d MB anonymous", m.Name, kb/1024)
				most = max(most, kb/1024)
			}
		}
	}
	if most > 60 {
		t.Errorf("a member uses %d MB", most)
	}
}
