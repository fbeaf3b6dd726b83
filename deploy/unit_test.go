package deploy_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"parley/hub/hubtest"
)

// TestUnit starts the server with the flags of the systemd unit, except for where it listens and keeps its log.
func TestUnit(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("parley.service")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/parley serve ((?:.*\\\n)*.*)$`).FindSubmatch(text)
	if line == nil {
		t.Fatal("parley.service has no ExecStart of the kind that this test reads")
	}
	args := strings.Fields(strings.ReplaceAll(string(line[1]), "\\\n", " "))
	var flags []string
	for i := 0; i < len(args); i += 2 {
		switch args[i] {
		case "--addr":
		case "--admin":
			flags = append(flags, "--admin", "127.0.0.1:0")
		case "--db":
			flags = append(flags, "--db", "parley.db")
		default:
			flags = append(flags, args[i], args[i+1])
		}
	}
	server := hubtest.Start(t, flags...)
	if c := hubtest.Dial(t, server.WS()); c.Welcome.Limits.Rate != 20 {
		t.Errorf("the rate is %v", c.Welcome.Limits.Rate)
	}
	if warning := "without limits"; strings.Contains(server.Output(), warning) {
		t.Errorf("it warns of being %s:\n%s", warning, server.Output())
	}
}

// TestImage starts the server as the container does, with the environment of the Dockerfile, and asks as its health
// check does.
func TestImage(t *testing.T) {
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	env := regexp.MustCompile(`PARLEY_[A-Z_]+=\S+`).FindAllString(string(text[strings.Index(string(text), "\nENV "):]), -1)
	if len(env) < 5 {
		t.Fatalf("only these settings in the Dockerfile: %q", env)
	}
	for _, setting := range env {
		key, value, _ := strings.Cut(setting, "=")
		switch key {
		case "PARLEY_DB":
			value = "parley.db"
		case "PARLEY_ADDR": // by a flag, which wins
			continue
		}
		t.Setenv(key, value)
	}
	server := hubtest.Start(t)
	if c := hubtest.Dial(t, server.WS()); c.Welcome.Limits.Rate != 20 {
		t.Errorf("the rate is %v", c.Welcome.Limits.Rate)
	}

	check := func() error {
		cmd := exec.Command(hubtest.Build(t), "healthcheck")
		cmd.Env = append(os.Environ(), "PARLEY_ADDR="+server.Addr())
		return cmd.Run()
	}
	if err := check(); err != nil {
		t.Errorf("the health check of a healthy server: %v", err)
	}
	server.Kill()
	if err := check(); err == nil {
		t.Error("a dead server is healthy")
	}
}
