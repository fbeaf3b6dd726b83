package main

import (
	"context"

	"parley/store"
)

// backupCmd copies the log of a running server.
type backupCmd struct {
	File string `arg:"" help:"The file to write; it must not be there yet."`
	DB   string `name:"db" default:"parley.db" placeholder:"FILE" help:"The server's SQLite file (${default})."`
}

// Run makes the copy.
func (b *backupCmd) Run(ctx context.Context) error {
	return store.Backup(ctx, b.DB, b.File)
}
