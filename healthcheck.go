package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"
)

// healthcheckCmd is for a container, whose image has nothing else to ask with. It reads the server's own settings
// from the environment that both share.
type healthcheckCmd struct {
	Addr    string   `default:":8080" placeholder:"HOST:PORT" help:"Where the server listens (${default})."`
	TLSCert string   `name:"tls-cert" hidden:""`
	ACME    []string `name:"acme" sep:"," hidden:""`
}

const healthTimeout = 5 * time.Second

// Run fails unless the server answers that it is well.
func (c *healthcheckCmd) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return fmt.Errorf("--addr %q is not HOST:PORT, as in :8080 or 127.0.0.1:8080", c.Addr)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost" // a listener on all addresses is on this one too
	}
	// It is asked over the loopback, under a name that its certificate does not know.
	config := &tls.Config{InsecureSkipVerify: true}
	scheme := "http"
	if c.TLSCert != "" || len(c.ACME) > 0 {
		scheme = "https"
	}
	if len(c.ACME) > 0 {
		config.ServerName = c.ACME[0]
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+"/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %s", resp.Status)
	}
	return nil
}
