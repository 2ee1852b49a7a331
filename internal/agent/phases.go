package agent

import (
	"fmt"
	"strings"

	"tamada/internal/ha"
)

// phases measures the parts of handing the leader's role over, or of taking it,
// for one line in the log: when a switchover takes longer than it should, that
// line says where the time went. The zero value measures nothing.
type phases struct {
	what        string // what is measured: "switchover", "promotion"
	began, last ha.Instant
	parts       []string
	left        []string // what must still happen before the line is written
}

// begin starts a measurement that is over when every one of the parts has come.
func (p *phases) begin(what string, at ha.Instant, until ...string) {
	*p = phases{what: what, began: at, last: at, left: until}
}

// reached notes that a part is done now. It returns the line when it was the
// last one; parts that come again, or when nothing is measured, are ignored.
func (p *phases) reached(now ha.Instant, part string) (line string) {
	if p.what == "" {
		return ""
	}
	for _, had := range p.parts {
		if strings.HasPrefix(had, part+" ") {
			return ""
		}
	}
	p.parts = append(p.parts, fmt.Sprintf("%s %.3f", part, (now-p.last).Seconds()))
	p.last = now
	n := 0
	for _, l := range p.left {
		if l != part {
			p.left[n] = l
			n++
		}
	}
	if p.left = p.left[:n]; n > 0 {
		return ""
	}
	line = fmt.Sprintf("%s took %.3f s: %s", p.what, (now - p.began).Seconds(), strings.Join(p.parts, ", "))
	*p = phases{}
	return line
}

// The parts, in the order in which they usually come. On the side of the old
// leader:
const (
	partAhead      = "checkpoint ahead"
	partClients    = "clients ended"
	partCheckpoint = "shutdown checkpoint"
	partArrived    = "reached another member"
	partReleased   = "leader key released"
	partStopped    = "PostgreSQL stopped"
)

// On the side of the new one:
const (
	partTaken     = "leader key taken"
	partArmed     = "guardian armed"
	partAnnounced = "announced"
	partAllowed   = "pre_promote"
	partPromoted  = "promoted"
)

func (a *Agent) reached(part string) {
	if line := a.phases.reached(a.now, part); line != "" {
		a.log(ha.Info, line)
	}
}

// taking tells whether it is a promotion that is measured.
func (p *phases) taking() bool {
	return len(p.left) == 1 && p.left[0] == partPromoted
}

// measureStop begins to measure a demotion that hands the role over.
func (a *Agent) measureStop(d ha.Demote) {
	if d.Mode == ha.DemoteGraceful && d.Action != "" {
		a.phases.begin(d.Action+": handing over", a.now, partReleased, partStopped)
	} else {
		a.phases = phases{}
	}
}

// measurePromotion begins to measure when the leader key is about to be taken,
// and counts from the moment when it was seen to be free.
func (a *Agent) measurePromotion() {
	free := a.store.unlocked
	if a.phases = (phases{}); a.inst.Primary() || free == 0 {
		return
	}
	what := "failover: taking over"
	if f := a.store.view.Failover; f.Pending() {
		what = "switchover: taking over"
		if f.Leader == "" {
			what = "manual failover: taking over"
		}
	}
	a.phases.begin(what, free, partPromoted)
}
