package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"parley/store/proctest"
)

// While NATS is not there nobody is kept waiting: the server says that it waits, and listens when it has begun.
func TestWaitsForNATS(t *testing.T) {
	addr, nobody := proctest.FreeAddr(t), proctest.FreeAddr(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	logs, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		defer w.Close()
		ended <- run(ctx, []string{"--addr", addr, "--nats", "nats://" + nobody}, w)
	}()
	lines := bufio.NewScanner(logs)
	for lines.Scan() && !strings.Contains(lines.Text(), "waiting for NATS") {
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("it listens while it waits")
	}
	go io.Copy(io.Discard, logs)
	stop()
	if err := <-ended; err == nil {
		t.Error("it ended as if it had begun")
	}
}
