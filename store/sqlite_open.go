package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Pragmas of the connection that writes.
//
//   - synchronous FULL: a commit returns when it is flushed.
//   - page_size stays at SQLite's 4096, the page of file systems and drives: a lone message dirties one page in
//     each of the messages, their index, the keys, the rooms and the counter, so larger pages would only write
//     more around it. In a group all but the keys' pages are shared.
//   - wal_autocheckpoint stays at SQLite's 1000 pages (4 MB): the commit that passes it copies the log's pages
//     into the file and flushes it, which is a pause of some milliseconds; more pages would make it rarer and
//     longer.
//   - journal_size_limit: after a burst the write-ahead log is cut back to 16 MiB.
//   - cache_size 16 MiB: the index of keys is the one that is written at random places.
//   - busy_timeout: for a person's sqlite3 shell that holds the file for a moment.
var writePragmas = []string{
	"busy_timeout(5000)", "synchronous(FULL)", "journal_size_limit(16777216)", "cache_size(-16384)",
	"temp_store(MEMORY)",
}

var readPragmas = []string{"busy_timeout(5000)", "query_only(1)", "temp_store(MEMORY)"}

// OpenSQLite opens the log in the file at path, which is made, readable by its owner only, when it is not there.
// It writes to it, so that a disk that takes nothing is found now. Error: one line that says what to change.
func OpenSQLite(ctx context.Context, path string, opts Options) (*SQLite, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if _, err := sqlite.Fdatasync(true); err != nil && !errors.Is(err, sqlite.ErrFdatasyncUnavailable) {
		return nil, err
	}
	s := &SQLite{opts: opts, wake: make(chan struct{}, 1), claims: make(chan claim, queuedClaims)}
	s.close = sync.OnceValue(s.closeOnce)
	if err := s.open(ctx, path); err != nil {
		return nil, fmt.Errorf("database %s: %w", path, explain(err))
	}
	return s, nil
}

func (s *SQLite) open(ctx context.Context, path string) (err error) {
	defer func() {
		if err != nil {
			_ = s.closeAll() // the first error is the one to tell
		}
	}()
	if path, err = resolve(path); err != nil {
		return err
	}
	unlock, err := guard(ctx, path+".lock")
	if err != nil {
		return err
	}
	s.closers = append(s.closers, unlock)
	if err := create(path); err != nil {
		return err
	}
	if err := forsake(path); err != nil {
		return err
	}
	if s.writer, err = openWriter(ctx, s, path); err != nil {
		return err
	}
	// The readers are closed before: the last connection to close folds the write-ahead log into the file.
	s.closers = append(s.closers, s.writer.close)
	if s.read, err = sql.Open("sqlite", source(path, readPragmas...)); err != nil {
		return err
	}
	s.closers = append(s.closers, s.read.Close)
	s.read.SetMaxOpenConns(2 * loaders)
	s.read.SetMaxIdleConns(2 * loaders)
	s.read.SetConnMaxIdleTime(5 * time.Minute)
	_, err = s.stmts.prepare(ctx, s.read) // closed with the pool
	return err
}

// resolve makes path absolute and follows links, so that a file has one lock under all its names.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target, nil
	}
	return path, nil
}

// guard takes the lock against other processes, and gives what lets go of it. It is SQLite's own lock, on an
// empty database: that works wherever SQLite does, and ends with the process, however that ends.
func guard(ctx context.Context, path string) (unlock func() error, err error) {
	conn, closeConn, err := single(ctx, source(path, "journal_mode(OFF)"))
	if err == nil {
		if _, err = conn.ExecContext(ctx, "BEGIN EXCLUSIVE"); err == nil {
			return closeConn, nil
		}
		_ = closeConn() // BEGIN's error is the one to tell
	}
	switch code(err) {
	case sqlite3.SQLITE_BUSY:
		return nil, errInUse
	case sqlite3.SQLITE_CANTOPEN:
		// SQLite does not tell why; the operating system does.
		if f, oserr := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); oserr != nil {
			return nil, oserr
		} else {
			_ = f.Close()
		}
	}
	return nil, err
}

// single opens one connection.
func single(ctx context.Context, source string) (conn *sql.Conn, closeConn func() error, err error) {
	db, err := sql.Open("sqlite", source)
	if err != nil {
		return nil, nil, err
	}
	if conn, err = db.Conn(ctx); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return conn, func() error { return errors.Join(conn.Close(), db.Close()) }, nil
}

func create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// source is the driver's name for the file, opened with the pragmas.
func source(path string, pragmas ...string) string {
	slashed := filepath.ToSlash(path)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // a drive letter
	}
	u := url.URL{Scheme: "file", Path: slashed, RawQuery: url.Values{"_pragma": pragmas}.Encode()}
	return u.String()
}

var errInUse = errors.New("in use by another process: stop that one, or choose another file")

// code is SQLite's primary result code, 0 when err is not SQLite's.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

// explain adds to an error at the opening what to change.
func explain(err error) error {
	advice := map[int]string{
		sqlite3.SQLITE_NOTADB:   "this is no SQLite database: choose another file",
		sqlite3.SQLITE_CORRUPT:  "the file is damaged: put back a backup, or move it away to begin anew",
		sqlite3.SQLITE_READONLY: "the file or its directory is read-only: make both writable for this user",
		sqlite3.SQLITE_PERM:     "the file or its directory is read-only: make both writable for this user",
		sqlite3.SQLITE_CANTOPEN: "it cannot be opened: make it and its directory writable for this user",
		sqlite3.SQLITE_FULL:     "the disk is full: make room",
		sqlite3.SQLITE_IOERR:    "the disk fails: see to it, or choose another file",
		sqlite3.SQLITE_BUSY:     "another program holds it: stop that one",
	}[code(err)]
	var path *os.PathError
	switch {
	case advice != "":
		return fmt.Errorf("%s (%w)", advice, err)
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("its directory is not there: make it, or choose another file")
	case errors.As(err, &path) && errors.Is(path.Err, syscall.EISDIR):
		return errors.New("it is a directory: choose a file")
	case errors.As(err, &path):
		return fmt.Errorf("cannot open it: %w: make the file and its directory writable for this user, or choose another file", path.Err)
	}
	return err
}
