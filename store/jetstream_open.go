package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// names are those of streams and subjects.
type names struct {
	log      string // the stream of messages
	messages string // + a room's token: where they are published
	room     string // + token + ".log" or ".typing": what a node subscribes to
	bucket   string // the stream of the key-value bucket
	keys     string // + key: its subjects
	feed     string // + key: where it is republished
}

func namesFor(prefix string) names {
	return names{
		log: prefix + "-log", messages: prefix + ".log.", room: prefix + ".room.",
		bucket: "KV_" + prefix, keys: "$KV." + prefix + ".", feed: prefix + ".users.",
	}
}

// Keys of the bucket.
func roomKey(room string) string { return room + ".room" }
func nodeKey(node string) string { return "node." + node }

// userKey is that of a user, by the tokens of its room and nick.
func userKey(room, nick string) string { return room + ".user." + nick }

const (
	openPause   = time.Second
	openTimeout = 4 * time.Second
)

var prefixForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// OpenJetStream connects to the servers, makes the stream and the bucket if they are not there and checks them if
// they are, and makes this process a node. While the servers are out of reach it waits, and says so. Error: ctx
// has ended, or one line that says what to change.
func OpenJetStream(ctx context.Context, opts JetStreamOptions) (*JetStream, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	opts.Prefix, opts.Lease = cmp.Or(opts.Prefix, "parley"), cmp.Or(opts.Lease, defaultLease)
	if !prefixForm.MatchString(opts.Prefix) {
		return nil, fmt.Errorf("the prefix %q is not 1 to 32 of A-Z, a-z, 0-9, _ and -", opts.Prefix)
	}
	j := &JetStream{
		opts: opts, names: namesFor(opts.Prefix), startedAt: opts.Now(),
		live: make(chan *nats.Msg, liveQueue), acks: make(chan *nats.Msg, queuedMessages),
		notices: make(chan notice, 16), slots: make(chan struct{}, workers),
		done: make(chan struct{}), wake: make(chan struct{}, 1),
		rooms: make(map[string]*sharedRoom), late: make(map[*sharedRoom]struct{}),
		pending: make(map[uint64]*publish), waiting: make(map[string][]*change),
		removals: make(map[Ref]string), forgetting: make(map[string]chan struct{}),
	}
	j.ctx, j.cancel = context.WithCancelCause(context.Background())
	for told := false; ; {
		err := j.open(ctx)
		if err == nil {
			return j, nil
		}
		if j.nc != nil {
			j.nc.Close()
			j.nc = nil
		}
		var wrong *configError
		if errors.As(err, &wrong) || ctx.Err() != nil {
			j.cancel(err)
			return nil, errors.Join(err, context.Cause(ctx))
		}
		if !told {
			opts.Logger.Warn("waiting for NATS", "url", redacted(opts.URL), "error", err.Error())
			told = true
		}
		timer := time.NewTimer(openPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// configError is one that waiting does not heal.
type configError struct{ error }

func (e *configError) Unwrap() error { return e.error }

// oldest is the first version of nats-server whose keys may have an end of their own. Older ones make the streams, and
// leave that out without a word.
var oldest = [2]int{2, 11}

func tooOld(version string) bool {
	var v [2]int
	_, err := fmt.Sscanf(version, "%d.%d", &v[0], &v[1])
	return err == nil && slices.Compare(v[:], oldest[:]) < 0
}

// redacted is the URL without what may be a password.
func redacted(url string) string {
	return regexp.MustCompile(`[^/,]*@`).ReplaceAllString(url, "")
}

// refusesCertificate tells whether the server ended the connection for the client's certificate, or for want of one.
// Its alert, which says so (RFC 8446, section 6.2), is often lost: the client already writes, and that fails first.
func refusesCertificate(err error) bool {
	return regexp.MustCompile(`closed by remote after TLS handshake|` +
		`remote error: tls: (certificate required|unknown certificate authority|bad certificate)`).MatchString(err.Error())
}

func (j *JetStream) open(ctx context.Context) (err error) {
	if j.nc, err = nats.Connect(j.opts.URL, j.connection()...); err != nil {
		if errors.Is(err, nats.ErrAuthorization) {
			return &configError{fmt.Errorf("NATS refuses these credentials: %w", err)}
		}
		if refusesCertificate(err) {
			return fmt.Errorf("NATS wants to be shown a certificate that it trusts: %w", err)
		}
		return err
	}
	if v := j.nc.ConnectedServerVersion(); tooOld(v) {
		return &configError{fmt.Errorf("nats-server %s is too old: run %d.%d or newer", v, oldest[0], oldest[1])}
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := j.setUp(ctx); err != nil {
		return err
	}
	j.ackInbox = j.nc.NewInbox()
	for subject, to := range map[string]chan *nats.Msg{
		j.ackInbox + ".*":  j.acks,
		j.names.feed + ">": j.live,
	} {
		if _, err := j.nc.ChanSubscribe(subject, to); err != nil {
			return err
		}
	}
	elected := "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED."
	for _, stream := range []string{j.names.log, j.names.bucket} {
		// What the old leader had stored and not republished is missing now.
		if _, err := j.nc.Subscribe(elected+stream, func(*nats.Msg) { j.notify(messagesLost) }); err != nil {
			return err
		}
	}
	if err := j.nc.FlushWithContext(ctx); err != nil {
		return err
	}
	if err := j.takesMessages(ctx); err != nil {
		return err
	}
	in, err := j.register(ctx)
	if err != nil {
		return err
	}
	j.registered(in)
	return nil
}

// connection is how the servers are reached. Nothing is kept for later while they are not: what was published
// then would be stored after what was published since, and after its sender was told that it failed.
func (j *JetStream) connection() []nats.Option {
	options := []nats.Option{
		nats.Name("parley"), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1),
		nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(3),
		nats.Timeout(2 * time.Second), nats.FlusherTimeout(2 * time.Second),
		nats.DisconnectErrHandler(func(nc *nats.Conn, _ error) {
			if !nc.IsClosed() { // else by this server itself, to begin anew or to end
				j.away()
				j.notify(connectionLost)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { j.notify(connectionBack) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrSlowConsumer) {
				j.notify(messagesLost)
			}
			j.opts.Logger.Warn("NATS", "error", err.Error())
		}),
	}
	if j.opts.Creds != "" {
		options = append(options, nats.UserCredentials(j.opts.Creds))
	}
	if f := j.opts.TLS; f.CA != "" {
		options = append(options, nats.RootCAs(f.CA))
	}
	if f := j.opts.TLS; f.Cert != "" {
		options = append(options, nats.ClientCert(f.Cert, f.Key))
	}
	return options
}
