package proctest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Builder makes a function that builds a program, once a test process, and returns the path of its binary; it fails
// the test when the program does not compile. The binary is called name, and args are `go build`'s, in the root of
// the module that the test belongs to.
func Builder(name string, args ...string) func(testing.TB) string {
	once := sync.OnceValues(func() (string, error) { return build(name, args) })
	return func(t testing.TB) string {
		t.Helper()
		path, err := once()
		if err != nil {
			t.Fatalf("building %s: %v", name, err)
		}
		return path
	}
}

func build(name string, args []string) (path string, err error) {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, name)
	cmd := exec.Command("go", append([]string{"build", "-o", path}, args...)...)
	cmd.Dir = filepath.Dir(strings.TrimSpace(string(mod)))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
}

// buildDir is the directory in which `go test` put the test's own binary: it is removed with everything in it when
// the tests have run. A test binary that was compiled to be kept lies elsewhere, and gets a directory of its own.
func buildDir() (string, error) {
	if self, err := os.Executable(); err == nil && strings.Contains(self, "go-build") {
		return filepath.Dir(self), nil
	}
	return os.MkdirTemp("", "parley-test-")
}
