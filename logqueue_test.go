package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"parley/store/proctest"
)

// TestLogQueue: whoever reads the log may stall; what does not fit meanwhile is
// counted, the rest comes in order.
func TestLogQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		q := newLogQueue(w, slog.New(slog.NewJSONHandler(w, nil)))
		const lines = logLines + 11 // one of them is in the writer's hands
		for i := range lines {
			fmt.Fprintf(q, "line %d\n", i)
			if i == 0 {
				synctest.Wait()
			}
		}
		var out bytes.Buffer
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(&out, r)
		}()
		q.close()
		w.Close()
		<-read
		got := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(got) != logLines+2 || got[0] != "line 0" || !strings.Contains(got[1], `"lines":10`) {
			t.Fatalf("%d lines: %q", len(got), got[:min(3, len(got))])
		}
		for i, line := range got[2:] {
			if line != fmt.Sprintf("line %d", i+1) {
				t.Fatalf("%q at %d", line, i)
			}
		}
	})
}

// TestStalledLog: a server whose log nobody reads serves and ends like any other.
func TestStalledLog(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	defer r.Close()
	addr := proctest.FreeAddr(t)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"--addr", addr, "--db="}, w) }()
	for {
		resp, err := http.Get("http://" + addr + "/healthz")
		if err == nil {
			resp.Body.Close()
			break
		}
		select {
		case err := <-ended:
			t.Fatal(err)
		default:
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
