package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"time"

	"parley/web/doctor"
)

// doctorCmd looks at a server from outside.
type doctorCmd struct {
	URL  string        `arg:"" help:"The page's address: https://chat.example.com, or https://example.com/chat/."`
	Wait time.Duration `default:"60s" placeholder:"TIME" help:"How long to watch a silent connection at the most; the server's ping interval, usually 25s, is enough, 0 skips it (${default})."`
	CA   string        `name:"ca" placeholder:"FILE" help:"Trust the authorities in this file (PEM) instead of the system's."`
}

// Run reports what it finds, and fails if that is a problem.
func (d *doctorCmd) Run(ctx context.Context, stdout io.Writer) error {
	opts := doctor.Options{Wait: d.Wait}
	if d.CA != "" {
		raw, err := os.ReadFile(d.CA)
		if err != nil {
			return fmt.Errorf("--ca: %w", err)
		}
		opts.Roots = x509.NewCertPool()
		if !opts.Roots.AppendCertsFromPEM(raw) {
			return fmt.Errorf("--ca: there is no certificate in %s", d.CA)
		}
	}
	checks, err := doctor.Examine(ctx, d.URL, opts)
	if problems := doctor.Report(stdout, checks); err == nil && problems > 0 {
		err = fmt.Errorf("problems found: %d", problems)
	}
	return err
}
