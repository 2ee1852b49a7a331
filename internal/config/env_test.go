package config

import (
	"slices"
	"strings"
	"testing"

	"tamada/internal/cluster"
)

// environment gives the document that variables make, in compact JSON.
func environment(vars ...string) (string, []Problem) {
	doc, warnings := fromEnvironment(vars)
	return string(cluster.Compact(doc.Root)), warnings
}

func TestVariablesBecomeKeys(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ vars, want string }{
		{"PATRONI_NAME=a|PATRONI_SCOPE=b|PATRONI_NAMESPACE=c", `{"name":"a","scope":"b","namespace":"c"}`},
		{"PATRONI_NAME=", `{}`},
		{"PATRONI_NAME=a|TAMADA_NAME=b", `{"name":"b"}`},
		{"TAMADA_NAME=|PATRONI_NAME=a", `{"name":"a"}`},
		{"PATRONI_LOG_MODE=0640", `{"log":{"mode":416}}`},
		{"PATRONI_LOG_FILE_NUM=x", `{}`},
		{"PATRONI_THREAD_POOL_SIZE=7|PATRONI_THREAD_STACK_SIZE=512kB", `{"thread_pool_size":"7","thread_stack_size":"512kB"}`},
		{"PATRONI_LOGLEVEL=DEBUG", `{"log":{"level":"DEBUG"}}`},
		{"PATRONI_LOGLEVEL=DEBUG|PATRONI_LOG_LEVEL=INFO", `{"log":{"level":"INFO"}}`},
		{"PATRONI_LOG_FORMAT=%(message)s", `{"log":{"format":"%(message)s"}}`},
		{"PATRONI_LOG_FORMAT=message, levelname: lvl", `{"log":{"format":["message",{"levelname":"lvl"}]}}`},
		{"PATRONI_LOG_LOGGERS=a: DEBUG, b: INFO", `{"log":{"loggers":{"a":"DEBUG","b":"INFO"}}}`},
		{"PATRONI_LOG_STATIC_FIELDS=[a", `{}`},
		{"PATRONI_LOG_DEDUPLICATE_HEARTBEAT_LOGS=on", `{"log":{"deduplicate_heartbeat_logs":true}}`},
		{"PATRONI_RESTAPI_ALLOWLIST=10.0.0.1, localhost", `{"restapi":{"allowlist":["10.0.0.1","localhost"]}}`},
		{"PATRONI_RESTAPI_USERNAME=u|PATRONI_CTL_PASSWORD=p", `{"restapi":{"authentication":{"username":"u"}},"ctl":{"authentication":{"password":"p"}}}`},
		{"PATRONI_CTL_CACERT=/ca|PATRONI_CTL_INSECURE=yes", `{"ctl":{"insecure":true,"cacert":"/ca"}}`},
		{"PATRONI_POSTGRESQL_BIN_PG_CTL=pgctl", `{"postgresql":{"bin_name":{"pg_ctl":"pgctl"}}}`},
		{"PATRONI_REPLICATION_USERNAME=r|PATRONI_SUPERUSER_CHANNEL_BINDING=require",
			`{"postgresql":{"authentication":{"superuser":{"channel_binding":"require"},"replication":{"username":"r"}}}}`},
		{"PATRONI_ETCD3_HOSTS=a:2379,b:2379", `{"etcd3":{"hosts":["a:2379","b:2379"]}}`},
		{"PATRONI_ETCD3_HOSTS=[::1]:2379", `{"etcd3":{"hosts":"[::1]:2379"}}`},
		{"PATRONI_ETCD3_USERNAME=u", `{}`},
		{"PATRONI_ETCD3_USERNAME=u|PATRONI_ETCD3_HOST=h", `{"etcd3":{"host":"h","username":"u"}}`},
		{"PATRONI_FOO_PORT=55", `{"foo":{"port":55}}`},
		{"PATRONI_CITUS_GROUP=0|PATRONI_CITUS_HOST=x", `{"citus":{"group":0}}`},
		{"PATRONI_KUBERNETES_LABELS=app: pg", `{"kubernetes":{"labels":{"app":"pg"}}}`},
		{"PATRONI_RAFT_PARTNER_ADDRS=a:1,b:2", `{"raft":{"partner_addrs":["a:1","b:2"]}}`},
		{"PATRONI_KUBERNETES_SERVICE_HOST=10.0.0.1|PATRONI_PORT=tcp://1.2.3.4:5|OTHER_NAME=x|PATRONI_UNKNOWN=x", `{}`},
	} {
		if got, _ := environment(strings.Split(tc.vars, "|")...); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.vars, got, tc.want)
		}
	}
}

func TestSlipInTheNameOfAVariableIsMentioned(t *testing.T) {
	t.Parallel()
	_, warnings := environment("PATRONI_LOG_LEVL=DEBUG", "TAMADA_ETCD3_HOST=a", "PATRONI_ETCD3_HOTS=secret", "PATRONI_FOO_PORT=1", "PATRONI_MY_OWN=1", "PATRONI_LOGLEVEL=INFO", "PATRONI_NAMES=",
		"PATRONI_ETCD_USERNAME=x")
	var got []string
	for _, w := range warnings {
		got = append(got, w.String())
	}
	want := []string{"environment variable PATRONI_ETCD3_HOTS: is not read by anybody (did you mean PATRONI_ETCD3_HOST?)",
		"environment variable PATRONI_LOG_LEVL: is not read by anybody (did you mean PATRONI_LOG_LEVEL?)"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestVariableThatCannotBeReadIsDroppedWithAWarning(t *testing.T) {
	t.Parallel()
	_, warnings := environment("PATRONI_RESTAPI_REQUEST_QUEUE_SIZE=many-secrets")
	if len(warnings) != 1 || !strings.Contains(warnings[0].String(), "PATRONI_RESTAPI_REQUEST_QUEUE_SIZE") {
		t.Fatalf("warnings: %v", warnings)
	}
	if strings.Contains(warnings[0].String(), "many-secrets") {
		t.Errorf("the value is repeated: %s", warnings[0])
	}
}

func TestEnvironmentBeatsFile(t *testing.T) {
	t.Parallel()
	c, err := load(t, sample, "PATRONI_NAME=from-env", "TAMADA_ETCD3_HOSTS=x:1", "STATE_DIRECTORY=/state:/other")
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "from-env" || strings.Join(c.Etcd3.Hosts, " ") != "x:1" || c.StateDir != "/state" {
		t.Errorf("got %s, %v, %s", c.Name, c.Etcd3.Hosts, c.StateDir)
	}
}

func TestWholeConfigurationInOneVariable(t *testing.T) {
	t.Parallel()
	c, err := Load("/does/not/exist.yml", []string{"PATRONI_CONFIGURATION=" + sample, "PATRONI_NAME=not-looked-at"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "pg-a" {
		t.Errorf("name is %s: other variables must not be merged in this mode", c.Name)
	}
	if _, err := Load("/does/not/exist.yml", nil); err == nil || !strings.Contains(err.Error(), "/does/not/exist.yml") {
		t.Errorf("a file that does not exist and no environment: %v", err)
	}
}
