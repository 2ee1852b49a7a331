package why

import (
	"fmt"
	"slices"
	"time"

	"tamada/internal/ha"
	"tamada/internal/ha/lease"
	"tamada/internal/ledger"
)

// causes are the ways in which a leader's time ends by its own ledger, the most
// telling first.
var causes = []struct {
	name string
	is   func(ledger.Entry) bool
	says func(c *change, e *ledger.Entry, ending []ledger.Entry) string
}{
	{"request", func(e ledger.Entry) bool {
		return e.What == "Demote" && (e.Action == "switchover" || e.Action == "manual failover")
	}, asked},
	{"stopped", func(e ledger.Entry) bool {
		return e.Kind == ha.RecordAgent && e.What == "asked to end" || e.What == "StopPostgres"
	}, func(c *change, e *ledger.Entry, _ []ledger.Entry) string {
		return fmt.Sprintf("The agent of %s was asked to end at %s, so it stopped PostgreSQL and gave the leader key up.", c.old, c.clock(e.At))
	}},
	{"fenced", func(e ledger.Entry) bool { return e.Kind == ha.RecordGuardian && e.What == "fenced" },
		func(c *change, e *ledger.Entry, _ []ledger.Entry) string {
			return fmt.Sprintf("The agent of %s did not renew its lease in time (it was frozen, dead, or cut off): at %s %s.", c.old, c.clock(e.At), e.Why)
		}},
	{"lease lost", func(e ledger.Entry) bool {
		return e.Kind == ha.RecordLease && e.What == "lost" && e.Why != string(lease.GivenUp)
	}, lost},
	{"store", func(e ledger.Entry) bool { return e.What == "Demote" && e.Action == string(ha.DemoteOffline) }, lost},
	{"released", func(e ledger.Entry) bool { return e.Kind == ha.RecordDecision && e.What == "ReleaseLeader" }, gaveUp},
	{"demoted", func(e ledger.Entry) bool { return e.Kind == ha.RecordDecision && e.What == "Demote" },
		func(c *change, e *ledger.Entry, ending []ledger.Entry) string {
			return fmt.Sprintf("%s stopped its PostgreSQL at %s: %s.%s", c.old, c.clock(e.At), reason(e), troubles(ending))
		}},
	{"crash", func(e ledger.Entry) bool { return e.Kind == ha.RecordPostgres },
		func(c *change, e *ledger.Entry, ending []ledger.Entry) string {
			return fmt.Sprintf("PostgreSQL of %s ended by itself at %s.%s", c.old, c.clock(e.At), troubles(ending))
		}},
}

// asked: an operator wanted it.
func asked(c *change, e *ledger.Entry, _ []ledger.Entry) string {
	text := fmt.Sprintf("An operator asked for a %s", e.Action)
	r := (*ha.FailoverFact)(nil)
	if e.Facts != nil {
		r = e.Facts.Failover
	}
	if r != nil && r.Candidate != "" {
		text += " to " + r.Candidate
	}
	if r != nil && r.At != "" {
		text += ", scheduled for " + r.At
	}
	for _, q := range slices.Backward(c.Entries) {
		scheduled := r != nil && r.At != ""
		if q.Kind == ha.RecordRequest && q.What == "accepted" && q.Facts == nil && !q.At.After(e.At.Add(skew)) &&
			(scheduled || q.At.After(e.At.Add(-time.Minute))) && (q.Action == "switchover" || q.Action == "failover") {
			text += fmt.Sprintf(" (%s at %s by the API of %s)", first(q.Notes), c.clock(q.At), q.Node)
			break
		}
	}
	return fmt.Sprintf("%s; %s stopped its PostgreSQL for it at %s.", text, c.old, c.clock(e.At))
}

func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// lost: the lease could not be kept.
func lost(c *change, e *ledger.Entry, ending []ledger.Entry) string {
	why := e.Why
	if e.Kind != ha.RecordLease {
		why = "the store could not be reached until the lease had ended"
	}
	return fmt.Sprintf("%s lost its lease at %s: %s.%s", c.old, c.clock(e.At), why, troubles(ending))
}

// gaveUp: the leader gave the key back by itself.
func gaveUp(c *change, e *ledger.Entry, ending []ledger.Entry) string {
	return fmt.Sprintf("%s gave the leader key up at %s: %s.%s", c.old, c.clock(e.At), reason(e), troubles(ending))
}

// troubles are what had gone wrong on the way.
func troubles(ending []ledger.Entry) string {
	var seen []string
	for i := range ending {
		e := &ending[i]
		text := ""
		switch {
		case e.Kind == ha.RecordStore && e.What != "answers again":
			text = "the store failed: " + reason(e)
		case e.Kind == ha.RecordTask && e.Error != "":
			text = e.What + " failed: " + e.Error
		case e.Kind == ha.RecordPostgres:
			text = "PostgreSQL ended by itself"
		case e.Kind == ha.RecordLease && e.What == "clock jumped":
			text = "the clock jumped"
		}
		if text != "" && !slices.Contains(seen, text) && len(seen) < 3 {
			seen = append(seen, text)
		}
	}
	if len(seen) == 0 {
		return ""
	}
	return " Before that, " + list(seen, "and") + "."
}
