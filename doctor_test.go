package main

import (
	"strings"
	"testing"

	"parley/deploy/deploytest"
	"parley/hub/hubtest"
)

func TestDoctorCommand(t *testing.T) {
	server := hubtest.Start(t, "--db", "", "--ping-interval", "1s")
	site := deploytest.StartSite(t, "deploy/nginx.conf", deploytest.SiteOptions{Server: server.Addr(), CertFor: "127.0.0.1"})
	url := "https://" + site.Addr

	var out strings.Builder
	if err := run(t.Context(), []string{"doctor", url, "--ca", site.CA.File()}, &out); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	for _, line := range []string{
		"ok       silence  ",
		"skipped  address  asked from the server's own machine, which it trusts; ask from another one\n",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("the report lacks %q:\n%s", line, &out)
		}
	}

	out.Reset()
	err := run(t.Context(), []string{"doctor", url, "--wait", "0"}, &out)
	if err == nil || err.Error() != "problems found: 1" || !strings.Contains(out.String(), "PROBLEM  tls      ") {
		t.Errorf("without --ca: %v\n%s", err, &out)
	}
	for _, args := range [][]string{{"doctor", url, "--ca", "/nowhere/ca.pem"}, {"doctor", url, "--ca", "go.mod"}, {"doctor", "ftp://x"}} {
		if err := run(t.Context(), args, &out); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}
