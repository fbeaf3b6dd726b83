package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Backup writes a consistent copy of the log in the SQLite file at path, which a server may be using meanwhile,
// to a new file: as it was at one moment, with an epoch of its own, since what is stored after it will get the
// same numbers in both. To restore, the copy is put where the log was. Error: one line; then there is no copy.
func Backup(ctx context.Context, path, file string) (err error) {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("cannot back up: %w", err)
	}
	if path, err = resolve(path); err == nil {
		file, err = filepath.Abs(file)
	}
	if err != nil {
		return fmt.Errorf("cannot back up: %w", err)
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot back up to %s: it is there already; choose another name", file)
	}
	part := file + ".part"
	defer func() {
		if err != nil {
			_ = os.Remove(part) // the first error is the one to tell
		}
	}()
	// Made here, so that nobody else may read it; SQLite fills an empty file.
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot back up: %w", err)
	}
	defer f.Close()
	if err := copyInto(ctx, path, part); err != nil {
		return fmt.Errorf("cannot back up %s: %w", path, explain(err))
	}
	if err := errors.Join(f.Sync(), os.Rename(part, file)); err != nil {
		return fmt.Errorf("cannot back up: %w", err)
	}
	return nil
}

// forsake removes a write-ahead log that does not belong to the file at path, which is so when that is a copy by
// [Backup], put where a log was whose server had not ended well: SQLite would write the old pages into the copy. A file
// with a write-ahead log of its own says so in its header (SQLite's Database File Format, 1.3.3), and a copy does not.
func forsake(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	const magic, version, rollback = "SQLite format 3\x00", 18, 1
	header := make([]byte, version+1)
	if _, err := io.ReadFull(f, header); err != nil || !bytes.HasPrefix(header, []byte(magic)) || header[version] != rollback {
		return nil
	}
	for _, name := range []string{path + "-wal", path + "-shm"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func copyInto(ctx context.Context, path, part string) error {
	from, closeFrom, err := single(ctx, source(path, "busy_timeout(5000)"))
	if err != nil {
		return err
	}
	_, err = from.ExecContext(ctx, "VACUUM INTO ?", part)
	if err = errors.Join(err, closeFrom()); err != nil {
		return err
	}
	to, closeTo, err := single(ctx, source(part, "journal_mode(DELETE)", "synchronous(FULL)"))
	if err != nil {
		return err
	}
	_, err = to.ExecContext(ctx, "UPDATE log SET epoch = ?", rand.Text())
	return errors.Join(err, closeTo())
}
