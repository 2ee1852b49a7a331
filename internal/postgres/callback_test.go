//go:build linux

package postgres

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tamada/internal/cluster"
)

// callbackScript makes a script that notes its arguments in a file, and an
// instance of which every callback is that script with these words before them.
func callbackScript(t *testing.T, body, words string) (p *Instance, notes func() []string) {
	t.Helper()
	dir := t.TempDir()
	out, script := filepath.Join(dir, "out"), filepath.Join(dir, "script")
	// Closed before anybody may run it: no other test may fork meanwhile.
	syscall.ForkLock.Lock()
	err := os.WriteFile(script, []byte("#!/bin/bash\nout="+out+"\n"+body), 0o755)
	syscall.ForkLock.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	s := Settings{Scope: "batman", DataDir: dir, Callbacks: map[string]string{}}
	for _, a := range []string{OnStart, OnStop, OnRestart, OnReload, OnRoleChange} {
		s.Callbacks[a] = script + " " + words
	}
	return New(s, Deps{}), func() []string {
		b, _ := os.ReadFile(out)
		return strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
	}
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestCallbackGetsActionRoleAndScopeAfterItsOwnWords(t *testing.T) {
	t.Parallel()
	p, notes := callbackScript(t, `printf '<%s>' "$@" >> $out; echo >> $out`, `'two words' one`)
	for i, x := range []struct {
		action string
		role   cluster.Role
		want   string
	}{
		{OnRoleChange, cluster.RolePromoted, "<two words><one><on_role_change><primary><batman>"},
		{OnStop, cluster.RoleDemoted, "<two words><one><on_stop><demoted><batman>"},
		{OnReload, cluster.RoleReplica, "<two words><one><on_reload><replica><batman>"},
	} {
		p.RunCallback(x.action, x.role)
		await(t, x.action, func() bool { return len(notes()) == i+1 })
		if got := notes()[i]; got != x.want {
			t.Errorf("called with %s, want %s", got, x.want)
		}
	}
}

// TestNewCallbackKillsThePreviousOneWithAllItStarted: also what ignores SIGTERM
// and has left its process group.
func TestNewCallbackKillsThePreviousOneWithAllItStarted(t *testing.T) {
	t.Parallel()
	p, notes := callbackScript(t, `trap '' TERM
case $1 in
on_start) setsid --wait bash -c 'trap "" TERM; echo $$ >> '$out'; sleep 300; echo survived >> '$out ;;
*) echo $1 >> $out ;;
esac`, "")
	p.RunCallback(OnStart, cluster.RolePrimary)
	await(t, "the first one runs", func() bool { return len(notes()) == 1 })
	child, err := strconv.Atoi(notes()[0])
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	p.RunCallback(OnRoleChange, cluster.RoleReplica)
	await(t, "the second one has run", func() bool { return len(notes()) == 2 })
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it waited %v for the first", took)
	}
	await(t, "the child of the first is gone", func() bool { return syscall.Kill(child, 0) != nil || zombie(child) })
	if got := notes()[1]; got != OnRoleChange {
		t.Errorf("notes: %v", notes())
	}
}

func zombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(b), ") Z ")
}

// TestReloadCallbackLeavesTheOthersAlone: those move addresses, and must not be
// ended by a change of the configuration.
func TestReloadCallbackLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	p, notes := callbackScript(t, `if [ $1 = on_reload ]; then echo $1 >> $out; exit; fi
echo begin $1 >> $out
while [ ! -e $out.go ]; do sleep 0.02; done
echo end $1 >> $out`, "")
	p.RunCallback(OnRoleChange, cluster.RolePrimary)
	await(t, "it has begun", func() bool { return len(notes()) == 1 })
	p.RunCallback(OnReload, cluster.RolePrimary)
	await(t, "the reload ran beside it", func() bool { return len(notes()) == 2 })
	if err := os.WriteFile(filepath.Join(p.Settings().DataDir, "out.go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "it came to its end", func() bool { return len(notes()) == 3 })
	if got := strings.Join(notes(), ", "); got != "begin on_role_change, on_reload, end on_role_change" {
		t.Error(got)
	}
}
