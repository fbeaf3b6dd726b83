// Parley is an end-to-end encrypted room-chat server in one binary.
//
// main reads flags and environment, wires the store, the hub and the routes, and
// ends them in order. What there is to know about each is in its package.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is stamped by the build.
var version = "dev"

type cli struct {
	Version kong.VersionFlag `env:"-" help:"Print the version."`
	Serve   serveCmd         `cmd:"" default:"withargs" help:"Run the server (the default command)."`
	Backup  backupCmd        `cmd:"" help:"Copy the message log, of a running server too. To restore, put the copy where the log was."`
	Token   tokenCmd         `cmd:"" help:"Make a token for trying out, signed with the server's --token-secret."`
	Doctor  doctorCmd        `cmd:"" help:"Look at a server from outside, at its public address, and tell what is wrong between it and a browser."`
	Health  healthcheckCmd   `cmd:"" name:"healthcheck" help:"Ask the server on this machine whether it is well; for containers."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "parley:", oneLine(err))
		os.Exit(1)
	}
}

// exited is how kong's --help and --version end run.
type exited struct{ code int }

// run is main without the process around it: it ends when ctx does.
func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(exited)
			if !ok {
				panic(r)
			}
			if e.code != 0 {
				err = fmt.Errorf("exit status %d", e.code)
			}
		}
	}()
	parser, err := kong.New(&cli{},
		kong.Name("parley"),
		kong.Description("An end-to-end encrypted room-chat server. Every flag can be given in the environment too: --addr is PARLEY_ADDR."),
		kong.DefaultEnvars("PARLEY"),
		kong.Vars{"version": "parley " + version},
		kong.Writers(stdout, os.Stderr),
		kong.Exit(func(code int) { panic(exited{code}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.Help(help),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.BindTo(stdout, (*io.Writer)(nil)),
	)
	if err != nil {
		return err
	}
	command, err := parser.Parse(args)
	if err != nil {
		return fmt.Errorf("%w (parley %s --help lists the flags)", err, named(err))
	}
	return command.Run()
}

// help is kong's, and without a command the server's flags too, since it is what
// runs then.
func help(options kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil || ctx.Selected() != nil {
		return err
	}
	serve, err := kong.Trace(ctx.Kong, []string{"serve"})
	if err != nil {
		return err
	}
	fmt.Fprint(ctx.Stdout, "\nUsage: parley [serve] [flags]\n")
	options.NoAppSummary = true
	return kong.DefaultHelpPrinter(options, serve)
}

// named is the command whose flags a mistake is about.
func named(err error) string {
	var mistake *kong.ParseError
	if errors.As(err, &mistake) && mistake.Context.Command() != "" {
		return mistake.Context.Selected().Name
	}
	return "serve"
}

// oneLine is an error as an operator wants to see it.
func oneLine(err error) string {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return err.Error()
}
