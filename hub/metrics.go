package hub

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"parley/protocol"
	"parley/store"
)

// Metrics are what an operator can watch of the hub. The help texts say what each
// tells. Counting is all that Run does with them.
type Metrics struct {
	connections prometheus.Gauge
	users       prometheus.Gauge
	rooms       prometheus.Gauge
	messages    prometheus.Counter
	deliveries  prometheus.Counter
	bytes       prometheus.Counter
	closes      *prometheus.CounterVec
	errors      *prometheus.CounterVec
	resumes     *prometheus.CounterVec
	limited     prometheus.Counter
	slow        prometheus.Counter
	refused     *prometheus.CounterVec
	appendTime  prometheus.Histogram
	ackTime     prometheus.Histogram
	stepTime    prometheus.Histogram
}

// resumeRecovered is what a resume comes to when there is no gap.
const resumeRecovered = "recovered"

// newMetrics makes the hub's metrics, and two gauges that are looked up when they are
// asked for: whether the log is ready, and what waits in the queues.
func newMetrics(r prometheus.Registerer, log store.Log, queued func() float64) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "parley", Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	counters := func(name, label, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "parley", Name: name, Help: help}, []string{label})
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "parley", Name: name, Help: help})
		r.MustRegister(g)
		return g
	}
	histogram := func(name, help string, from, factor float64, count int) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "parley", Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(from, factor, count)})
		r.MustRegister(h)
		return h
	}
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "parley", Name: "queue_bytes",
		Help: "Bytes that wait in all outbound queues. Growth means clients that cannot keep up.",
	}, queued))
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "parley", Name: "log_ready",
		Help: "Whether the log takes messages: 1, or 0 while they are refused. /readyz says why.",
	}, func() float64 {
		if log.Ready() != nil {
			return 0
		}
		return 1
	}))
	return &Metrics{
		connections: gauge("connections", "Open WebSocket connections, logged in or not."),
		users:       gauge("users", "Users in rooms, those in their grace period too."),
		rooms:       gauge("rooms", "Rooms in memory: with members, or left a short while ago."),
		messages:    counter("messages_received_total", "Room messages that the log was given."),
		deliveries:  counter("deliveries_total", "Room messages put into members' queues."),
		bytes:       counter("delivered_bytes_total", "Bytes of room messages put into members' queues."),
		closes:      counters("connections_closed_total", "code", "Ended connections by the close code that ended them; none: the connection broke; other: a code that the client made up."),
		errors:      counters("errors_total", "code", "Requests answered with an error, by its code."),
		resumes:     counters("resumes_total", "outcome", "Logins that asked for what they had missed, by what came of it: recovered, or the reason of the gap."),
		limited:     counter("rate_limited_total", "Requests refused because they came too fast."),
		slow:        counter("slow_consumers_total", "Connections closed because their queue overflowed, or the slowest when all queues together did."),
		refused:     counters("handshakes_refused_total", "reason", "Connections turned away at the handshake: origin, full, address, rate, draining."),
		appendTime:  histogram("log_append_seconds", "Time from giving a message to the log until it is kept.", 10e-6, 2.5, 16),
		ackTime:     histogram("ack_seconds", "Time from receiving a message until its acknowledgement is queued.", 10e-6, 2.5, 16),
		stepTime:    histogram("hub_step_seconds", "Time of one step of the hub. Near one second the server is at its limit.", 1e-6, 4, 12),
	}
}

// failed notes a request that is answered with an error.
func (m *Metrics) failed(code protocol.Code) {
	m.errors.WithLabelValues(string(code)).Inc()
	if code == protocol.CodeRateLimited {
		m.limited.Inc()
	}
}

// resumed notes what came of the messages that a client had missed; "" is that
// none was.
func (m *Metrics) resumed(gap string) {
	if gap == "" {
		gap = resumeRecovered
	}
	m.resumes.WithLabelValues(gap).Inc()
}

// countStep notes what the hub holds, and how long the step took.
func (h *Hub) countStep(took time.Duration) {
	m := h.metrics
	m.connections.Set(float64(len(h.clients)))
	m.users.Set(float64(len(h.members)))
	m.rooms.Set(float64(len(h.rooms)))
	m.stepTime.Observe(took.Seconds())
}

// countClose notes the end of a connection. A client may make up its code, but not
// a metric for each.
func (m *Metrics) countClose(code protocol.CloseCode) {
	const reserved = 1016 // RFC 6455's codes end below
	label := "other"
	switch {
	case code == 0:
		label = "none"
	case code < reserved || code.Reason() != "":
		label = strconv.Itoa(int(code))
	}
	m.closes.WithLabelValues(label).Inc()
}
