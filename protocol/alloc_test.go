package protocol

import (
	"runtime"
	"strings"
	"testing"
)

// The hot path's allocations: what a request keeps, and nothing for a broadcast.
func TestAllocations(t *testing.T) {
	dst := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { AppendRoomMessage(dst, benchMessage) }); n != 0 {
		t.Errorf("AppendRoomMessage allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { AppendStored(dst, 7, 1842, benchTime, "disk", true) }); n != 0 {
		t.Errorf("AppendStored allocates %v times", n)
	}
	for _, f := range benchFrames {
		limit := map[string]float64{"text": 2, "keyed": 3}[f.name]
		if limit == 0 {
			continue
		}
		frame := []byte(f.frame)
		if n := testing.AllocsPerRun(100, func() {
			e, _ := Decode(frame)
			benchParser.Parse(e)
		}); n > limit {
			t.Errorf("%s: Decode and Parse allocate %v times, want %v", f.name, n, limit)
		}
	}
}

// Refusing a login costs what its frame does, whatever the name would come to when
// it is compared: U+FDFA is 18 characters then.
func TestLongNameIsCheap(t *testing.T) {
	data := []byte(`{"name":"` + strings.Repeat("\ufdfa", 30000) + `","room":"lobby"}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := benchParser.login(data)
	runtime.ReadMemStats(&after)
	if err == nil || err.Fields["name"] != "the length must be between 1 and 32" {
		t.Error(err)
	}
	if n := int(after.TotalAlloc - before.TotalAlloc); n > 10*len(data) {
		t.Errorf("%d bytes allocated for %d", n, len(data))
	}
}
