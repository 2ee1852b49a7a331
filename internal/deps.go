//go:build linux

package internal

import (
	_ "github.com/coreos/go-systemd/v22/daemon"
	_ "github.com/jackc/pgx/v5"
	_ "github.com/jedib0t/go-pretty/v6/table"
	_ "github.com/prometheus/client_golang/prometheus"
	_ "github.com/spf13/cobra"
	_ "go.etcd.io/etcd/client/v3"
	_ "go.etcd.io/etcd/server/v3/embed"
	_ "go.yaml.in/yaml/v3"
	_ "golang.org/x/sys/unix"
	_ "pgregory.net/rapid"
)
