//go:build unix

package hub

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/coder/websocket"
)

var benchFrame = text(strings.Repeat("x", 200))

// Queueing for a member whose writer is busy: what a burst costs the hub.
func BenchmarkEnqueueBusy(b *testing.B) {
	outlets := make([]*outlet, 1000)
	for i := range outlets {
		outlets[i] = parked(noLimit)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		o := outlets[i%len(outlets)]
		if len(o.queue.entries) == keptEntries {
			o.queue.entries = o.queue.entries[:0]
		}
		o.push(benchFrame)
	}
}

// sink is a socket that takes everything.
type sink struct{ fd uintptr }

func (s sink) Write(f func(uintptr) bool) error { f(s.fd); return nil }
func (s sink) Read(func(uintptr) bool) error    { return nil }
func (s sink) Control(func(uintptr)) error      { return nil }

// Queueing for members whose writers have nothing to do, with the hand-over to
// the pool at the end of the step: the time of the hub's goroutine, which
// shares the processors with the writers.
func BenchmarkEnqueueParked(b *testing.B) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			pool := newWriters(0)
			defer pool.close()
			outlets := make([]*outlet, n)
			for i := range outlets {
				outlets[i] = &outlet{pool: pool, limit: noLimit, raw: sink{null.Fd()}}
			}
			b.ReportAllocs()
			var hub time.Duration
			for b.Loop() {
				start := time.Now()
				for _, o := range outlets {
					o.push(benchFrame)
				}
				pool.flush()
				hub += time.Since(start)
				for pool.total() > 0 {
					runtime.Gosched()
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(hub.Nanoseconds())/float64(b.N*n), "ns/enqueue")
		})
	}
}

// A room of real sockets: the processor time of a delivery, the kernel's
// included, and that of the floor, one write(2) to each socket and nothing else.
func BenchmarkBroadcast(b *testing.B) {
	const members = 1000
	pool := newWriters(0)
	defer pool.close()
	conns, outlets, fds := loopback(b, pool, members)
	defer runtime.KeepAlive(conns) // the library closes one that nobody holds
	drain := make([]byte, 64<<10)
	tick := time.NewTicker(50 * time.Microsecond) // waiting must not count as work
	defer tick.Stop()
	measure := func(b *testing.B, burst int, send func()) {
		b.ReportAllocs()
		var cpu time.Duration
		for b.Loop() {
			start := processorTime(b)
			send()
			for pool.total() > 0 {
				<-tick.C
			}
			cpu += processorTime(b) - start
			for _, fd := range fds {
				for left := burst * len(benchFrame); left > 0; {
					n, err := syscall.Read(fd, drain[:min(left, len(drain))])
					if err != nil {
						b.Fatal(err)
					}
					left -= n
				}
			}
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N*members*burst), "cpu-ns/delivery")
	}
	for _, burst := range []int{1, 50} {
		run := []byte(strings.Repeat(string(benchFrame), burst))
		b.Run(fmt.Sprintf("floor/%d", burst), func(b *testing.B) {
			var w rawWriter
			w.init()
			measure(b, burst, func() {
				for _, o := range outlets {
					if n, err := w.write(o.raw, run); n != len(run) {
						b.Fatal(n, err)
					}
				}
			})
		})
		b.Run(fmt.Sprintf("run/%d", burst), func(b *testing.B) {
			measure(b, burst, func() {
				for _, o := range outlets {
					o.push(run)
				}
				pool.flush()
			})
		})
	}
	b.Run("apart/50", func(b *testing.B) {
		measure(b, 50, func() {
			for range 50 {
				for _, o := range outlets {
					o.push(benchFrame)
				}
			}
			pool.flush()
		})
	})
}

// peek waits without using the processor until fd has something to read.
func peek(b *testing.B, fd int) {
	if _, _, err := syscall.Recvfrom(fd, make([]byte, 1), syscall.MSG_PEEK); err != nil {
		b.Fatal(err)
	}
}

// What a connection that does nothing has in the heap, from the library's Conn
// down to the runtime's descriptor; its reader's stack is not in it.
func BenchmarkIdleConnection(b *testing.B) {
	const n = 1000
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for b.Loop() {
		pool := newWriters(0)
		before := heap()
		links, outlets, fds := loopback(b, pool, n)
		b.ReportMetric((heap()-before)/n, "heap-bytes/conn")
		for i, o := range outlets {
			o.push(benchFrame)
			pool.flush()
			peek(b, fds[i])
		}
		b.ReportMetric((heap()-before)/n, "heap-bytes/conn-after-a-message")
		runtime.KeepAlive(links)
		for _, o := range outlets {
			o.abort()
		}
		pool.close()
	}
	b.ReportMetric(float64(unsafe.Sizeof(outlet{})), "bytes/outlet")
	b.ReportMetric(0, "ns/op")
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// loopback connects n clients over TCP, as descriptors that Go's poller does not
// know of: its work for them would be counted as the server's.
func loopback(b *testing.B, pool *writers, n int) ([]*websocket.Conn, []*outlet, []int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	type accept struct {
		ws *websocket.Conn
		o  *outlet
	}
	accepted := make(chan accept)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, s, err := upgrade(w, r, &websocket.AcceptOptions{}, pool, noLimit)
		if err != nil {
			b.Error(err)
		}
		accepted <- accept{ws, s.o}
	})}
	go func() { _ = server.Serve(l) }()
	var conns []*websocket.Conn
	var outlets []*outlet
	var fds []int
	b.Cleanup(func() {
		_ = server.Close()
		for i, o := range outlets {
			o.abort()
			_ = syscall.Close(fds[i])
		}
	})
	to := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: l.Addr().(*net.TCPAddr).Port}
	for range n {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
		if err == nil {
			err = syscall.Connect(fd, to)
		}
		if err == nil {
			_, err = syscall.Write(fd, []byte(handshakeText))
		}
		if err != nil {
			b.Fatal(err)
		}
		fds = append(fds, fd)
		a := <-accepted
		conns, outlets = append(conns, a.ws), append(outlets, a.o)
		for head := ""; !strings.HasSuffix(head, "\r\n\r\n"); {
			one := make([]byte, 1)
			if _, err := syscall.Read(fd, one); err != nil {
				b.Fatal(err)
			}
			head += string(one)
		}
	}
	return conns, outlets, fds
}
