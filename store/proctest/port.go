package proctest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Ports are taken from below the range in which systems choose the local ports of outgoing connections: a client that
// dials a killed server there could meet itself.
const firstPort, lastPort = 20000, 31999

// FreePort finds a TCP port on which nobody listens, on any address, and keeps it for the test: no other test gets it
// until this one has ended, whatever process runs that, and whether or not somebody listens there by then.
func FreePort(t testing.TB) string {
	t.Helper()
	return FreePorts(t, 1)[0]
}

// FreePorts is FreePort for n ports in a row.
func FreePorts(t testing.TB, n int) []string {
	t.Helper()
	for range 100 {
		first := firstPort + rand.IntN(lastPort-firstPort-n)
		if ports := keep(t, first, n); ports != nil {
			return ports
		}
	}
	t.Fatalf("no %d free ports in a row", n)
	return nil
}

// keep binds the UDP ports of the same numbers, which nobody uses: that is what all tests on the machine agree on.
func keep(t testing.TB, first, n int) (ports []string) {
	kept := make([]net.PacketConn, 0, n)
	release := func() {
		for _, c := range kept {
			c.Close()
		}
	}
	for i := range n {
		port := strconv.Itoa(first + i)
		c, err := net.ListenPacket("udp", ":"+port)
		if err != nil {
			release()
			return nil
		}
		kept = append(kept, c)
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			release()
			return nil
		}
		l.Close()
		ports = append(ports, port)
	}
	t.Cleanup(release)
	return ports
}

// FreeAddr is a FreePort on the IPv4 loopback address, as host:port.
func FreeAddr(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", FreePort(t))
}
