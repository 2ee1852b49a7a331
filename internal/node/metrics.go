//go:build linux

package node

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tamada/internal/agent"
	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/guardian"
	"tamada/internal/ha"
)

// meters are the metrics that GET /metrics shows after the compatible ones. The
// loop only adds to counters and histograms, which take no lock; everything else
// is worked out of the snapshot when somebody asks.
type meters struct {
	registry *prometheus.Registry

	loop        prometheus.Histogram
	store       *prometheus.HistogramVec
	storeErrors *prometheus.CounterVec
	failovers   *prometheus.CounterVec
	switchovers *prometheus.CounterVec
	promotions  *prometheus.CounterVec
	demotions   *prometheus.CounterVec

	// takenFor is what our last acquisition of the leader key was for: the request
	// is off the store by the time of the promotion.
	takenFor atomic.Value // takeover
	// leaseSince is when this agent began to hold the lease, 0 while it does not.
	leaseSince atomic.Int64
}

// A takeover is the occasion on which a replica became the leader.
type takeover struct {
	switchover bool
	reason     string
}

// Occasions and their reasons.
var (
	automatic = takeover{false, "automatic"}
	manual    = takeover{false, "manual"}
	requested = takeover{true, "requested"}
	scheduled = takeover{true, "scheduled"}
)

// Reasons of demotions by their mode; those by request are named by the task.
var demotionReasons = map[ha.DemoteMode]string{
	ha.DemoteOffline:         "store unreachable",
	ha.DemoteImmediate:       "failing over",
	ha.DemoteImmediateNoLock: "leader key lost",
	ha.DemoteGraceful:        "shutdown",
}

var (
	loopBuckets  = []float64{.0001, .0003, .001, .003, .01, .03, .1, .3, 1}
	storeBuckets = []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10}
)

func newMeters(scope, name string) *meters {
	counter := func(name, help string, values ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"reason"})
		for _, v := range values { // there from the start, so that rates can be computed
			c.WithLabelValues(v)
		}
		return c
	}
	m := &meters{registry: prometheus.NewRegistry(),
		loop: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "tamada_loop_duration_seconds",
			Help: "Time that the loop took for one event: deciding, and beginning what was decided.", Buckets: loopBuckets}),
		store: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "tamada_dcs_request_duration_seconds",
			Help: "Time that requests to the store took.", Buckets: storeBuckets}, []string{"operation"}),
		storeErrors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tamada_dcs_request_errors_total",
			Help: "Requests that the store did not answer; a refusal is an answer."}, []string{"operation"}),
		failovers:   counter("tamada_failovers_total", "How often this node took over without a planned switchover.", "automatic", "manual"),
		switchovers: counter("tamada_switchovers_total", "How often this node took over in a planned switchover.", "requested", "scheduled"),
		promotions:  counter("tamada_promotions_total", "Promotions begun on this node.", "failover", "manual failover", "switchover"),
		demotions: counter("tamada_demotions_total", "Demotions begun on this node.", "store unreachable", "failing over", "leader key lost",
			"shutdown", "switchover", "manual failover"),
	}
	for _, op := range operations {
		m.store.WithLabelValues(op)
		m.storeErrors.WithLabelValues(op)
	}
	prometheus.WrapRegistererWith(prometheus.Labels{"scope": scope, "name": name}, m.registry).
		MustRegister(m.loop, m.store, m.storeErrors, m.failovers, m.switchovers, m.promotions, m.demotions)
	return m
}

// watch adds what is worked out of a snapshot when it is asked for.
func (m *meters) watch(n *node, scope, name string) {
	prometheus.WrapRegistererWith(prometheus.Labels{"scope": scope, "name": name}, m.registry).MustRegister(snapshotCollector{n})
}

// took counts a request to the store.
func (m *meters) took(operation string, begun time.Time, err error) {
	m.store.WithLabelValues(operation).Observe(time.Since(begun).Seconds())
	if err != nil && !dcs.Refused(err) {
		m.storeErrors.WithLabelValues(operation).Inc()
	}
}

// acquiring remembers what the leader key is taken for.
func (m *meters) acquiring(f *cluster.Failover) {
	t := automatic
	switch {
	case !f.Pending():
	case f.Leader == "":
		t = manual
	case f.ScheduledAt != "":
		t = scheduled
	default:
		t = requested
	}
	m.takenFor.Store(t)
}

// begins counts a task that changes the role.
func (m *meters) begins(e agent.StartTask) {
	switch e.Kind {
	case ha.TaskPromote:
		t, _ := m.takenFor.Load().(takeover)
		switch {
		case t.switchover:
			m.switchovers.WithLabelValues(t.reason).Inc()
			m.promotions.WithLabelValues("switchover").Inc()
		case t == manual:
			m.failovers.WithLabelValues(t.reason).Inc()
			m.promotions.WithLabelValues("manual failover").Inc()
		default:
			m.failovers.WithLabelValues(automatic.reason).Inc()
			m.promotions.WithLabelValues("failover").Inc()
		}
	case ha.TaskSwitchover:
		m.demotions.WithLabelValues("switchover").Inc()
	case ha.TaskManualFailover:
		m.demotions.WithLabelValues("manual failover").Inc()
	case ha.TaskDemote:
		m.demotions.WithLabelValues(demotionReasons[e.Do.(ha.Demote).Mode]).Inc()
	case ha.TaskStop:
		if s, ok := e.Do.(ha.StopPostgres); ok && s.Leading {
			m.demotions.WithLabelValues(demotionReasons[ha.DemoteGraceful]).Inc()
		}
	}
}

// lock notes whether the lease is held.
func (m *meters) lock(until, now ha.Instant) {
	switch {
	case until == 0:
		m.leaseSince.Store(0)
	case m.leaseSince.Load() == 0:
		m.leaseSince.Store(int64(now))
	}
}

// snapshotCollector works its metrics out of the node's snapshot.
type snapshotCollector struct{ *node }

var (
	leaseAge       = prometheus.NewDesc("tamada_lease_age_seconds", "How long this agent has held the lease, 0 while it does not.", nil, nil)
	leaseLeft      = prometheus.NewDesc("tamada_lease_deadline_seconds", "Seconds until this node has to stop accepting writes unless the lease is renewed, 0 without a lease.", nil, nil)
	lostBytes      = prometheus.NewDesc("tamada_failover_lost_bytes", "WAL that would be lost if the primary died now: its position less the best received one of the members that may lead, as last published. Absent while no member may take over.", nil, nil)
	candidateCount = prometheus.NewDesc("tamada_failover_candidates", "Members that could take over from the primary now, as last published.", nil, nil)
)

// Describe is of prometheus.Collector.
func (c snapshotCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{leaseAge, leaseLeft, lostBytes, candidateCount} {
		to <- d
	}
}

// Collect is of prometheus.Collector.
func (c snapshotCollector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	s, now := c.snapshot.Load(), guardian.Now()
	age, left := 0.0, max(0, s.LockUntil-now).Seconds()
	if since := c.meters.leaseSince.Load(); since > 0 && left > 0 {
		age = (now - time.Duration(since)).Seconds()
	}
	gauge(leaseAge, age)
	gauge(leaseLeft, left)
	if s.Cluster == nil {
		return
	}
	able, lost := successors(s.Cluster, &s.Settings)
	gauge(candidateCount, float64(able))
	if lost >= 0 {
		gauge(lostBytes, float64(lost))
	}
}

// successors counts the members that could take over if the leader died now, and
// how many bytes of WAL the best of those that may lead has not received; -1 when
// there is none. Who is too far behind may lead, but does not by itself.
func successors(c *cluster.Cluster, settings *cluster.Settings) (able int, lost int64) {
	var end cluster.LSN
	var timeline cluster.Timeline
	if l := c.LeaderMember(); l != nil {
		end, timeline = l.XLogLocation, l.Timeline
	}
	end, lost = max(end, c.Status.LSN), -1
	for i := range c.Members {
		m := &c.Members[i]
		have := max(m.XLogLocation, m.ReceiveLSN, m.ReplayLSN)
		if m.Name == c.LeaderName() || cluster.NoFailover(m.Tags) || m.State != cluster.StateRunning || have == 0 ||
			settings.CheckTimeline && m.Timeline < timeline {
			continue
		}
		behind := int64(end - min(have, end))
		if behind <= settings.MaximumLagOnFailover {
			able++
		}
		if lost < 0 || behind < lost {
			lost = behind
		}
	}
	return able, lost
}
