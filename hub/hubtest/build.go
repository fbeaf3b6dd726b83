package hubtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// RaceEnv overrides whether the server is built with the race detector: "1" or "0". Without it the server is built
// as the test is.
const RaceEnv = "PARLEY_TEST_RACE"

// Build returns the path of the server's binary, built once a test process from the module that the test belongs
// to. It fails the test when the server does not compile.
func Build(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatalf("building the server: %v", err)
	}
	return path
}

var build = sync.OnceValues(func() (string, error) {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "parley-under-test")
	args := []string{"build", "-o", path}
	if buildRace() {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Dir = filepath.Dir(strings.TrimSpace(string(mod)))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// buildDir is the directory in which `go test` put the test's own binary: it is removed with everything in it when
// the tests have run. A test binary that was compiled to be kept lies elsewhere, and gets a directory of its own.
func buildDir() (string, error) {
	if self, err := os.Executable(); err == nil && strings.Contains(self, "go-build") {
		return filepath.Dir(self), nil
	}
	return os.MkdirTemp("", "parley-test-")
}

func buildRace() bool {
	switch os.Getenv(RaceEnv) {
	case "1":
		return true
	case "0":
		return false
	}
	return RaceDetector
}
