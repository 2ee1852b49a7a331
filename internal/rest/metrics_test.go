package rest

import (
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"tamada/internal/cluster"
)

// order is section 7 of the reference, with the newer ones.
const order = `version postgres_running postmaster_start_time primary xlog_location standby_leader replica sync_standby
quorum_standby xlog_received_location xlog_replayed_location xlog_replayed_timestamp xlog_paused postgres_streaming
postgres_in_archive_recovery postgres_server_version cluster_unlocked failsafe_mode_is_active failsafe_mode_enabled
failsafe_member postgres_timeline dcs_last_seen pending_restart is_paused postgres_state failover_priority`

func TestMetricsCanBeReadAndKeepTheirOrder(t *testing.T) {
	t.Parallel()
	agent := healthyReplica(t)
	agent.change(func(s *Snapshot) {
		s.Settings.FailsafeMode = true
		s.Failsafe = cluster.NewObject("pg-b\n\"", "http://x")
		s.Tags = cluster.NewObject("failover_priority", 3)
	})
	registry := prometheus.NewRegistry()
	own := prometheus.NewGauge(prometheus.GaugeOpts{Name: "tamada_lease_seconds", Help: "test"})
	registry.MustRegister(own)
	o := captureOptions("pg-b\n\"")
	o.Metrics = registry
	body := call(newTestServer(t, agent, o), "GET", "/metrics").Body.String()

	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatalf("not readable: %v\n%s", err, body)
	}
	at := 0
	for _, name := range strings.Fields(order) {
		i := strings.Index(body, "\n# TYPE patroni_"+name+" ")
		if i < at {
			t.Errorf("patroni_%s is not in its place", name)
		}
		at = i
		f := families["patroni_"+name]
		if f == nil || len(f.Metric) != 1 || len(f.Metric[0].Label) != 2 || f.Metric[0].Label[1].GetValue() != "pg-b\n\"" {
			t.Errorf("patroni_%s is %v", name, f)
		}
		delete(families, "patroni_"+name)
	}
	if families["tamada_lease_seconds"] == nil || len(families) != 1 {
		t.Errorf("besides there are %v", families)
	}
	for _, want := range []string{"_failsafe_mode_enabled", "_failsafe_member"} {
		if !strings.Contains(body, want+`{scope="batman",name="pg-b\n\""} 1`) {
			t.Errorf("%s is not 1", want)
		}
	}
	if !strings.Contains(body, `patroni_failover_priority{scope="batman",name="pg-b\n\""} 3`) || !strings.HasSuffix(body, "\n") {
		t.Error("the last metrics are wrong")
	}
}

func TestMetricsWithoutPostgres(t *testing.T) {
	t.Parallel()
	agent := healthyReplica(t)
	agent.sql = func(ctxT) (*SQLStatus, error) { return nil, os.ErrDeadlineExceeded }
	body := call(newTestServer(t, agent, captureOptions("pg-b")), "GET", "/metrics").Body.String()
	for _, gone := range []string{"patroni_postgres_streaming", "patroni_postgres_in_archive_recovery"} {
		if strings.Contains(body, gone) {
			t.Errorf("%s is still there", gone)
		}
	}
	for _, line := range []string{`patroni_postgres_state{scope="batman",name="pg-b"} -1`, `patroni_postgres_running{scope="batman",name="pg-b"} 0`,
		`patroni_xlog_replayed_location{scope="batman",name="pg-b"} 0`} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
}
