package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// childRole and childPath tell a copy of the test binary what to do instead of testing.
const (
	childRole = "PARLEY_STORE_CHILD"
	childPath = "PARLEY_STORE_PATH"
)

func child(role string) int {
	roles := map[string]func(path string) error{
		"open": childOpen, "load": childLoad, "limit": childLimit, "fixture": makeSchema1,
	}
	if err := roles[role](os.Getenv(childPath)); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func command(t *testing.T, role, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), childRole+"="+role, childPath+"="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

func childOpen(path string) error {
	s, err := OpenSQLite(context.Background(), path, Options{})
	if err != nil {
		return err
	}
	return s.Close()
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, dir, Options{})
	out, err := command(t, "open", filepath.Join(dir, "log.db")).Output()
	if err == nil || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "in use by another process") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestReadOnly opens, as a user who may not write, a file and a directory.
func TestReadOnly(t *testing.T) {
	for _, c := range []struct {
		name      string
		file, dir os.FileMode
	}{
		{"file", 0o444, 0o777},
		{"directory", 0o666, 0o555},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := damaged(t, func(*testing.T, string) {})
			for p, mode := range map[string]os.FileMode{
				path: c.file, path + ".lock": 0o666, filepath.Dir(path): c.dir, filepath.Dir(filepath.Dir(path)): 0o755,
			} {
				if err := os.Chmod(p, mode); err != nil {
					t.Fatal(err)
				}
			}
			cmd := command(t, "open", path)
			if os.Getuid() == 0 { // may write anything
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			}
			out, err := cmd.Output()
			if err == nil || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "writable") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// childLoad stores messages as fast as it may and prints the key of each that is acknowledged.
func childLoad(path string) error {
	s, err := OpenSQLite(context.Background(), path, Options{})
	if err != nil {
		return err
	}
	answered := make(chan Appended, 1000)
	s.Start(func(r Report) {
		for _, a := range r.Appended {
			answered <- a
		}
	})
	out := bufio.NewWriter(os.Stdout)
	for n, waiting := 0, 0; ; {
		for ; waiting < 200; waiting++ {
			key := fmt.Sprintf("%d-%d", os.Getpid(), n)
			if _, _, err := s.Append(Ref(n), Message{Room: fmt.Sprint("r", n%3), Nick: "ann", Key: key, Body: key}); err != nil {
				return err
			}
			n++
		}
		a := <-answered
		waiting--
		if a.Err != nil {
			return a.Err
		}
		fmt.Fprintf(out, "%d-%d %d\n", os.Getpid(), a.Ref, a.Seq)
		if len(answered) == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}

// TestKilled kills a process that stores as fast as it may, several times, and finds what it acknowledged.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[string]int64{}
	for round := range 5 {
		cmd := command(t, "load", filepath.Join(dir, "log.db"))
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(pipe)
		for n := 0; lines.Scan(); n++ { // what the pipe still held when it was killed counts too
			var key string
			var seq int64
			if _, err := fmt.Sscanf(lines.Text(), "%s %d", &key, &seq); err == nil {
				acknowledged[key] = seq
			} else if n < 2000 {
				t.Fatalf("the child said %q", lines.Text())
			}
			if n == 2000+300*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("the child ended by itself: %v", err)
		}
	}
	s := mustOpen(t, dir, Options{})
	found := map[string]int{}
	for _, room := range []string{"r0", "r1", "r2"} {
		p, err := s.Read(t.Context(), room, Query{Limit: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range p.Messages {
			if found[m.Body]++; i > 0 && m.Seq <= p.Messages[i-1].Seq {
				t.Fatalf("seq %d after %d", m.Seq, p.Messages[i-1].Seq)
			}
			if seq, ok := acknowledged[m.Body]; ok && seq != m.Seq {
				t.Errorf("%s has seq %d, acknowledged with %d", m.Body, m.Seq, seq)
			}
		}
	}
	for key := range acknowledged {
		if found[key] != 1 {
			t.Errorf("%s was acknowledged and is there %d times", key, found[key])
		}
	}
	for key, n := range found {
		if n > 1 {
			t.Errorf("%s is there %d times", key, n)
		}
	}
	t.Logf("5 kills, %d acknowledged, %d found", len(acknowledged), len(found))
}

// childLimit lets the system refuse that files grow, as a failing disk would, and then allow it again.
func childLimit(path string) error {
	s, err := OpenSQLite(context.Background(), path, Options{})
	if err != nil {
		return err
	}
	answered := make(chan Appended, 1)
	s.Start(func(r Report) {
		for _, a := range r.Appended {
			answered <- a
		}
	})
	say := func(key string) (Appended, error) {
		_, _, err := s.Append(1, Message{Room: "a", Nick: "ann", Key: key, Body: strings.Repeat("x", 30_000)})
		if err != nil {
			return Appended{}, err
		}
		return <-answered, nil
	}
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	small := before
	small.Cur = 400_000
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		return err
	}
	kept := 0
	for ; kept < 100; kept++ {
		out, err := say(fmt.Sprint("key", kept))
		if err != nil {
			return err
		}
		if out.Err != nil {
			break
		}
	}
	if kept == 0 || kept == 100 || s.Ready() == nil {
		return fmt.Errorf("with little room %d were kept, ready: %w", kept, s.Ready())
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	for i := range 100 {
		out, err := say(fmt.Sprint("key", i))
		if err != nil || out.Err != nil || out.Duplicate && i > kept || !out.Duplicate && i < kept {
			return fmt.Errorf("with room again, message %d of %d: %+v: %w", i, kept, out, errors.Join(err, out.Err))
		}
	}
	p, err := s.Read(context.Background(), "a", Query{Limit: 1000})
	if err != nil || len(p.Messages) != 100 {
		return fmt.Errorf("%d messages: %w", len(p.Messages), err)
	}
	return errors.Join(s.Ready(), s.Close())
}

func TestFileMayNotGrow(t *testing.T) {
	if out, err := command(t, "limit", filepath.Join(t.TempDir(), "log.db")).Output(); err != nil {
		t.Errorf("%v: %s", err, bytes.TrimSpace(out))
	}
}
