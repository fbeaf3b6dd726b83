package hub

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"parley/store"
)

// Config is what the hub needs to know. The zero value of a limit that must be
// positive is replaced by its default.
type Config struct {
	Log       store.Log
	Directory store.Directory
	Shared    store.Shared // in place of Directory: this hub is one of several (see shared.go)
	Logger    *slog.Logger

	History      int           // messages kept a room, as told in welcome; the log enforces it
	Grace        time.Duration // how long a dropped user stays (section 3, Resume)
	UsersLimit   int           // members above which a room is large (section 5)
	RoomLimit    int           // members a room at most
	MessageLimit int           // bytes a message at most
	QueueLimit   int           // outbound bytes a connection at most (section 6.5)
	PingInterval time.Duration // WebSocket pings (section 1)
	LoginTimeout time.Duration // time to log in (section 1)
	Rate         float64       // events a second a connection; 0 is off
	Burst        int           // events at once a connection
	DrainRate    float64       // reconnections a second after a drain (section 7)
	QueuesLimit  int64         // outbound bytes of all connections together

	Tokens  *Tokens               // logins need a token; nil: they do not
	Metrics prometheus.Registerer // where to register the metrics; nil: nowhere
}

// The defaults of Config, which are the defaults of the flags too.
const (
	DefaultHistory      = 10000
	DefaultGrace        = 10 * time.Second
	DefaultUsersLimit   = 100
	DefaultRoomLimit    = 10000
	DefaultMessageLimit = 16384
	DefaultQueueLimit   = 1 << 20
	DefaultPingInterval = 25 * time.Second
	DefaultLoginTimeout = 5 * time.Minute
	DefaultBurst        = 40
	DefaultDrainRate    = 1000
	DefaultQueuesLimit  = 512 << 20
)

// MaxMessageLimit is the largest message limit: an answer to a login holds at
// most 512 KiB of messages, however JSON escapes them (section 3).
const MaxMessageLimit = 64 << 10

// MaxUsersLimit is the largest large-room setting (section 3, users).
const MaxUsersLimit = 1000

func (cfg *Config) setDefaults() {
	setDefault(&cfg.History, DefaultHistory)
	setDefault(&cfg.UsersLimit, DefaultUsersLimit)
	setDefault(&cfg.RoomLimit, DefaultRoomLimit)
	setDefault(&cfg.MessageLimit, DefaultMessageLimit)
	setDefault(&cfg.QueueLimit, DefaultQueueLimit)
	setDefault(&cfg.PingInterval, DefaultPingInterval)
	setDefault(&cfg.LoginTimeout, DefaultLoginTimeout)
	setDefault(&cfg.Burst, DefaultBurst)
	setDefault(&cfg.DrainRate, DefaultDrainRate)
	setDefault(&cfg.QueuesLimit, DefaultQueuesLimit)
}

func setDefault[T int | int64 | float64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}
