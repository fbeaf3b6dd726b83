package store

import (
	"context"
	"database/sql"
)

// writeStatements are what the writing connection runs.
type writeStatements struct {
	begin, commit, rollback, probe          *sql.Stmt
	addMessage, addKey, findKey             *sql.Stmt
	room, addRoom, lockRoom, grow           *sql.Stmt
	inherit, deleteRoom, removeKeys         *sql.Stmt
	oldest, nth, expireKeys, deleteMessages *sql.Stmt
	shrink, deleteKeys                      *sql.Stmt
}

func (st *writeStatements) prepare(ctx context.Context, conn *sql.Conn) (closeAll func() error, err error) {
	return prepare(ctx, conn,
		statement{&st.begin, `BEGIN IMMEDIATE`},
		statement{&st.commit, `COMMIT`},
		statement{&st.rollback, `ROLLBACK`},
		statement{&st.probe, `UPDATE log SET dropped = -1 - dropped`},

		statement{&st.addMessage, `INSERT INTO messages (seq, room, at, sender, nick, user_id, key, body)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`},
		statement{&st.addKey, `INSERT INTO keys (room, nick, key, seq, at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO NOTHING`},
		statement{&st.findKey, `SELECT seq, at FROM keys WHERE room = ? AND nick = ? AND key = ?`},

		statement{&st.room, `SELECT id, lock, messages FROM rooms WHERE name = ?`},
		statement{&st.addRoom, `INSERT INTO rooms (name, lock, dropped, messages)
			VALUES (?, ?, (SELECT dropped FROM log), 0)`},
		statement{&st.lockRoom, `UPDATE rooms SET lock = ? WHERE id = ?`},
		statement{&st.grow, `UPDATE rooms SET messages = messages + ? WHERE id = ?`},
		statement{&st.inherit, `UPDATE log SET dropped = r.dropped FROM rooms AS r
			WHERE r.id = ? AND r.dropped > log.dropped`},
		statement{&st.deleteRoom, `DELETE FROM rooms WHERE id = ?`},
		statement{&st.removeKeys, `DELETE FROM keys WHERE room = ?`},

		statement{&st.oldest, `SELECT m.seq, m.at, r.name FROM messages AS m JOIN rooms AS r ON r.id = m.room
			ORDER BY m.seq LIMIT ?`},
		statement{&st.nth, `SELECT seq FROM messages WHERE room = ? ORDER BY seq LIMIT 1 OFFSET ?`},
		statement{&st.expireKeys, `UPDATE keys SET expires = at + ? WHERE (room, nick, key) IN
			(SELECT ?, nick, key FROM messages WHERE room = ? AND seq <= ? AND key IS NOT NULL)`},
		statement{&st.deleteMessages, `DELETE FROM messages WHERE room = ? AND seq <= ?`},
		statement{&st.shrink, `UPDATE rooms SET messages = messages - ?, dropped = max(dropped, ?) WHERE id = ?`},
		statement{&st.deleteKeys, `DELETE FROM keys WHERE (room, nick, key) IN
			(SELECT room, nick, key FROM keys WHERE expires < ? LIMIT ?)`})
}
