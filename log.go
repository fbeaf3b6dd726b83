package main

import (
	"io"
	"log/slog"
	"os"

	"github.com/mattn/go-isatty"
)

// logFlags choose how the server tells what it does.
type logFlags struct {
	LogFormat string `enum:"auto,text,json" default:"auto" placeholder:"FORMAT" help:"auto, text or json; auto is text on a terminal and JSON elsewhere (${default})."`
	LogLevel  string `enum:"debug,info,warn,error" default:"info" placeholder:"LEVEL" help:"debug, info, warn or error (${default})."`
}

// logger writes to w, through a queue that close empties.
func (f logFlags) logger(w io.Writer) (logger *slog.Logger, close func()) {
	q := newLogQueue(w, slog.New(f.handler(w, w)))
	return slog.New(f.handler(q, w)), q.close
}

// handler writes to w in the format that suits what is behind it.
func (f logFlags) handler(w, behind io.Writer) slog.Handler {
	var level slog.Level
	_ = level.UnmarshalText([]byte(f.LogLevel)) // kong has checked it
	opts := &slog.HandlerOptions{Level: level}
	text := f.LogFormat == "text"
	if f.LogFormat == "auto" {
		file, ok := behind.(*os.File)
		text = ok && isatty.IsTerminal(file.Fd())
	}
	if text {
		return slog.NewTextHandler(w, opts)
	}
	return slog.NewJSONHandler(w, opts)
}
