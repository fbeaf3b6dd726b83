package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
)

// migrations lead from each version of the schema, PRAGMA user_version, to the next; the first makes it.
var migrations = []func(ctx context.Context, tx *sql.Tx) error{schema1}

// applicationID marks the file as ours ("Prly"), so that another program's database is left alone.
const applicationID = 0x50726c79

// migrate brings the file to the newest schema, each step whole or not at all.
func migrate(ctx context.Context, conn *sql.Conn) error {
	var version, application, tables int
	err := conn.QueryRowContext(ctx, `SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_user_version, pragma_application_id`).Scan(&version, &application, &tables)
	switch {
	case err != nil:
		return err
	case application != applicationID && (application != 0 || version != 0 || tables != 0):
		return errors.New("it belongs to another program: choose another file")
	case version > len(migrations):
		return fmt.Errorf("a newer Parley wrote it (schema %d, this one knows %d): run that one, or choose another file",
			version, len(migrations))
	}
	for ; version < len(migrations); version++ {
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		err = migrations[version](ctx, tx)
		if err == nil {
			_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version+1))
		}
		if err != nil {
			_ = tx.Rollback() // the step's error is the one to tell
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// schema1 is the first schema. Times are milliseconds since 1970.
//
//   - log: one row. dropped is the highest mark of all rooms that were forgotten.
//   - rooms: those with messages, held, or found at the start. lock is NULL in an open room; messages counts.
//   - messages: AUTOINCREMENT keeps seq from starting again when all are gone.
//   - keys: idempotency keys by the room's name, since they outlive its row. expires is set when the message is
//     dropped, and the index is of those only: an Append does not touch it.
func schema1(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, fmt.Sprintf(`
		PRAGMA application_id = %d;
		CREATE TABLE log (epoch TEXT NOT NULL, dropped INTEGER NOT NULL) STRICT;
		CREATE TABLE rooms (
			id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, lock BLOB,
			dropped INTEGER NOT NULL, messages INTEGER NOT NULL
		) STRICT;
		CREATE TABLE messages (
			seq INTEGER PRIMARY KEY AUTOINCREMENT, room INTEGER NOT NULL, at INTEGER NOT NULL,
			sender TEXT NOT NULL, nick TEXT NOT NULL, user_id TEXT NOT NULL, key TEXT, body TEXT NOT NULL
		) STRICT;
		CREATE INDEX messages_by_room ON messages (room);
		CREATE TABLE keys (
			room TEXT NOT NULL, nick TEXT NOT NULL, key TEXT NOT NULL,
			seq INTEGER NOT NULL, at INTEGER NOT NULL, expires INTEGER,
			PRIMARY KEY (room, nick, key)
		) STRICT, WITHOUT ROWID;
		CREATE INDEX keys_by_expiry ON keys (expires) WHERE expires IS NOT NULL;`, applicationID))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO log (epoch, dropped) VALUES (?, 0)`, rand.Text())
	return err
}
