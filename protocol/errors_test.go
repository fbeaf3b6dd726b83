package protocol

import (
	"testing"
	"time"
)

func TestCloseReasons(t *testing.T) {
	for _, code := range []CloseCode{
		CloseNormal, CloseGoingAway, CloseUnsupported, CloseNotUTF8, ClosePolicy, CloseTooBig, CloseRestart, CloseTryLater,
		CloseTokenExpired, CloseLoginTimeout, CloseTakenOver, CloseRemoved,
	} {
		if n := len(code.Reason()); n == 0 || n > 123 {
			t.Errorf("the reason of %d has %d bytes", code, n)
		}
	}
	if reason := CloseCode(4000).Reason(); reason != "" {
		t.Errorf("4000 is no code of ours, but means %q", reason)
	}
}

func TestErrorTells(t *testing.T) {
	err := RateLimited(time.Second)
	if got, want := err.Error(), "rate_limited: Too fast. Wait a moment."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err.RetryAfter != time.Second {
		t.Errorf("RetryAfter is %v", err.RetryAfter)
	}
}

func TestAppendTime(t *testing.T) {
	for _, tt := range []struct {
		in   time.Time
		want string
	}{
		{time.Date(2026, 11, 23, 19, 0, 0, 0, time.UTC), "2026-11-23T19:00:00.000Z"},
		{time.Date(2026, 11, 23, 19, 0, 0, 5_999_999, time.UTC), "2026-11-23T19:00:00.005Z"},
		{time.Date(2026, 12, 31, 23, 59, 59, 900_000_000, time.FixedZone("", -3600)), "2027-01-01T00:59:59.900Z"},
	} {
		if got := string(AppendTime(nil, tt.in)); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// Milliseconds to wait are rounded up; there is no waiting backwards.
func TestAppendMillis(t *testing.T) {
	for _, tt := range []struct {
		in   time.Duration
		want string
	}{{0, "0"}, {1, "1"}, {time.Millisecond, "1"}, {time.Millisecond + 1, "2"}, {-time.Hour, "0"}, {1<<63 - 1, "9223372036855"}} {
		if got := string(appendMillis(nil, tt.in)); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.in, got, tt.want)
		}
	}
}
