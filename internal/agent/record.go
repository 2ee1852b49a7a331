package agent

import (
	"fmt"
	"strings"

	"tamada/internal/dcs"
	"tamada/internal/ha"
)

// Record is kept in the node's ledger. Nothing comes back.
type Record struct{ Record ha.Record }

func (Record) effect() {}

// sameAgain is how long the same record is left out. What repeats itself all day
// must not drive the interesting things out of the ledger.
const sameAgain = 30 * ha.Instant(1e9)

// recorder keeps repetitions out of the ledger. Its size is fixed.
type recorder struct {
	wait   string // what was recorded last of decisions to do nothing
	recent [8]recorded
	next   int
}

type recorded struct {
	what    string
	at      ha.Instant
	repeats int
}

// admit tells whether something is to be recorded now, and how often it was
// left out before.
func (r *recorder) admit(now ha.Instant, what string) (repeats int, ok bool) {
	for i := range r.recent {
		e := &r.recent[i]
		if e.what != what {
			continue
		}
		if now < e.at+sameAgain {
			e.repeats++
			return 0, false
		}
		repeats = e.repeats
		e.at, e.repeats = now, 0
		return repeats, true
	}
	r.recent[r.next] = recorded{what: what, at: now}
	r.next = (r.next + 1) % len(r.recent)
	return 0, true
}

// essence is what makes two records the same: all of it but the numbers, which
// count something down, or are positions that move.
func essence(r *ha.Record) string {
	var b strings.Builder
	for _, s := range append([]string{string(r.Kind), r.What, r.Why, r.Error, r.Member, r.Before, r.Action}, r.Notes...) {
		for _, c := range []byte(s) {
			if c < '0' || c > '9' {
				b.WriteByte(c)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// recordDecision keeps a decision that does something or refuses something. A
// decision to do nothing is kept when it is another one than before.
func (a *Agent) recordDecision(v *ha.View, o *ha.Outcome) {
	r, ok := ha.RecordOf(v, o)
	if !ok {
		return
	}
	what := essence(&r)
	if _, waits := o.Do.(ha.Wait); waits {
		if what == a.recorder.wait {
			return
		}
		a.recorder.wait = what
	}
	if r.Repeats, ok = a.recorder.admit(a.now, what); ok {
		r.Facts = ha.FactsOf(v)
		a.emit(Record{r})
	}
}

// record keeps what has happened, with the facts of this moment.
func (a *Agent) record(r ha.Record) {
	var ok bool
	if r.Repeats, ok = a.recorder.admit(a.now, essence(&r)); ok {
		r.Facts = ha.FactsOf(a.view())
		a.emit(Record{r})
	}
}

// happened is record for what needs no more than words.
func (a *Agent) happened(kind ha.RecordKind, what, why string) {
	a.record(ha.Record{Kind: kind, What: what, Why: why})
}

// recordLeader keeps that another one holds the leader key than before, unless
// it is we: our own acquisition and release have records of their own.
func (a *Agent) recordLeader(before, now string, first bool) {
	if before == now || now == a.cfg.Name && !first {
		return
	}
	r := ha.Record{Kind: ha.RecordLeader, What: "changed", Member: now, Before: before}
	if first {
		r.Why = "the first look at the store"
	}
	a.record(r)
}

// recordOperation keeps an operation on the store that failed, and the gain or
// loss of the leader key.
func (a *Agent) recordOperation(op Operation, ev OperationEnded) {
	name := strings.TrimPrefix(fmt.Sprintf("%T", op), "agent.")
	_, acquires := op.(Acquire)
	_, publishes := op.(PublishCluster)
	_, releases := op.(Release)
	switch {
	case ev.Err != nil && dcs.Refused(ev.Err) && acquires:
		a.record(ha.Record{Kind: ha.RecordRefusal, What: "AcquireLeader", Notes: []string{"another member took the leader key first"}, Error: ev.Err.Error()})
	case ev.Err != nil:
		a.record(ha.Record{Kind: ha.RecordStore, What: "operation failed", Why: name, Error: ev.Err.Error()})
	case acquires || publishes:
		a.happened(ha.RecordLease, "acquired", "")
	case releases:
		a.happened(ha.RecordLease, "released", "")
	}
}

// recordTask keeps the end of a long action.
func (a *Agent) recordTask(t *ha.Task, ev TaskEnded) {
	a.record(ha.Record{Kind: ha.RecordTask, What: t.Name(), Error: ev.Error, Took: float64((a.now - t.Started).Milliseconds()) / 1000})
}

// recordAnswer keeps what became of an operator's request.
func (a *Agent) recordAnswer(code int, text, why string) {
	r := ha.Record{Kind: ha.RecordRequest, What: "accepted", Why: text, Code: code}
	if code >= 300 {
		r.What = "refused"
	}
	if why != "" {
		r.Notes = []string{why}
	}
	a.record(r)
}
