//go:build linux

package node

import (
	"testing"

	"tamada/internal/ha"
)

// Every task that fills or changes the data folder must be known to a successor
// that finds it in the journal: it would start a half-made folder otherwise.
func TestEveryTaskThatFillsTheFolderIsCleanedUpAfter(t *testing.T) {
	t.Parallel()
	for kind, want := range map[ha.TaskKind]halfMade{
		ha.TaskBootstrap: halfInitialized, ha.TaskPostBootstrap: halfInitialized,
		ha.TaskClone: halfCopied, ha.TaskReinitialize: halfCopied, ha.TaskReinit: halfCopied,
		ha.TaskRewind: halfRewound, ha.TaskCrashRecovery: halfRecovered,
		ha.TaskPromote: stillWhole, ha.TaskDemote: stillWhole, ha.TaskStop: stillWhole, ha.TaskRestart: stillWhole,
		ha.TaskStartPrimary: stillWhole, ha.TaskRestartFailure: stillWhole, ha.TaskResume: stillWhole,
	} {
		if got := interrupted(kind); got != want {
			t.Errorf("%s: %d, want %d", kind, got, want)
		}
	}
}
