package proctest

import (
	"net"
	"strconv"
	"testing"
)

func TestPortsAreKept(t *testing.T) {
	var first int
	t.Run("while the test runs", func(t *testing.T) {
		ports := FreePorts(t, 3)
		first, _ = strconv.Atoi(ports[0])
		for i, port := range ports {
			if port != strconv.Itoa(first+i) {
				t.Errorf("%v are not in a row", ports)
			}
			if again := keep(t, first+i, 1); again != nil {
				t.Errorf("%s was given twice", port)
			}
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+ports[1])
		if err != nil {
			t.Fatal("what was given cannot be listened on:", err)
		}
		l.Close()
	})
	if again := keep(t, first, 3); again == nil {
		t.Error("they are still kept")
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if ports := keep(t, l.Addr().(*net.TCPAddr).Port, 1); ports != nil {
		t.Errorf("%v was given though somebody listens", ports)
	}
}
