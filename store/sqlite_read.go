package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"time"
)

// readStatements are what the reading connections run.
type readStatements struct {
	room, unknown, newest, oldest *sql.Stmt
}

func (st *readStatements) prepare(ctx context.Context, db *sql.DB) (closeAll func() error, err error) {
	const stretch = `SELECT seq, at, sender, nick, user_id, key, body FROM messages
		WHERE room = ? AND seq > ? AND seq < ? ORDER BY seq `
	return prepare(ctx, db,
		statement{&st.room, `SELECT id, lock, dropped FROM rooms WHERE name = ?`},
		statement{&st.unknown, `SELECT dropped FROM log`},
		statement{&st.newest, stretch + `DESC LIMIT ?`},
		statement{&st.oldest, stretch + `ASC LIMIT ?`})
}

// roomRow is what a room's row says to a reader.
type roomRow struct {
	id    int64
	known bool
	lock  []byte
}

// page reads a room's row and a page of its messages as they stood at one moment.
func (st *readStatements) page(ctx context.Context, db *sql.DB, room string, q Query) (Page, roomRow, error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return Page{}, roomRow{}, err
	}
	defer func() { _ = tx.Rollback() }() // nothing was written: it only ends the view
	var page Page
	row := roomRow{known: true}
	err = tx.StmtContext(ctx, st.room).QueryRowContext(ctx, room).Scan(&row.id, &row.lock, &page.Dropped)
	if errors.Is(err, sql.ErrNoRows) {
		err = tx.StmtContext(ctx, st.unknown).QueryRowContext(ctx).Scan(&page.Dropped)
		return page, roomRow{}, err
	}
	if err != nil {
		return Page{}, roomRow{}, err
	}
	stretch := st.newest
	if q.Oldest {
		stretch = st.oldest
	}
	before := cmp.Or(q.Before, math.MaxInt64)
	limit := max(q.Limit, 0) + 1 // one more tells whether there is more
	rows, err := tx.StmtContext(ctx, stretch).QueryContext(ctx, row.id, q.After, before, limit)
	if err != nil {
		return Page{}, roomRow{}, err
	}
	defer rows.Close()
	bytes := 0
	for rows.Next() {
		m := Message{Room: room}
		var at int64
		var key sql.NullString
		if err := rows.Scan(&m.Seq, &at, &m.From, &m.Nick, &m.UserID, &key, &m.Body); err != nil {
			return Page{}, roomRow{}, err
		}
		m.At, m.Key = time.UnixMilli(at).UTC(), key.String
		bytes += len(m.Body)
		n := len(page.Messages)
		if page.More = n >= q.Limit || n > 0 && q.Bytes > 0 && bytes > q.Bytes; page.More {
			break
		}
		page.Messages = append(page.Messages, m)
	}
	if err := rows.Err(); err != nil {
		return Page{}, roomRow{}, err
	}
	if !q.Oldest {
		slices.Reverse(page.Messages)
	}
	return page, row, nil
}

// statement is one to prepare, and where it is kept.
type statement struct {
	to    **sql.Stmt
	query string
}

// preparer is a connection, or a pool of them.
type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// prepare prepares all and gives what closes them: with a single connection nobody else would, and SQLite does
// not close the file before.
func prepare(ctx context.Context, p preparer, statements ...statement) (closeAll func() error, err error) {
	closeAll = func() (err error) {
		for _, s := range statements {
			if *s.to != nil {
				err = errors.Join(err, (*s.to).Close())
			}
		}
		return err
	}
	for _, s := range statements {
		if *s.to, err = p.PrepareContext(ctx, s.query); err != nil {
			return nil, errors.Join(err, closeAll())
		}
	}
	return closeAll, nil
}
