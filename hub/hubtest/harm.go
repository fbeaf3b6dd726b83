package hubtest

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Kind is a way of breaking a connection.
type Kind int

const (
	Reset    Kind = iota // Cut with a reset
	Finish               // Cut in order, without a close frame
	Torn                 // CutAfter a few bytes: in the middle of a frame
	Frozen               // Freeze both ways, for a while
	HalfOpen             // Freeze one way, for a while
	Left                 // Abandon: the server is not told that the client has gone
	Slow                 // Delay both ways, for as long as the connection lives
	kinds
)

func (k Kind) String() string {
	return [...]string{"reset", "finish", "torn frame", "frozen", "half open", "left", "slow"}[k]
}

// Harm says what was done to a connection.
type Harm struct {
	Kind  Kind
	Way   Direction
	Bytes int64         // Torn: passed before the cut
	For   time.Duration // Frozen and HalfOpen: how long; Slow: the delay of each chunk
}

func (h Harm) String() string {
	return fmt.Sprintf("%v %v after %d bytes, %v", h.Kind, h.Way, h.Bytes, h.For)
}

// ChooseHarm draws a Harm: a generator with the same seed gives the same sequence of them. Freezes last at most longest.
func ChooseHarm(rng *rand.Rand, longest time.Duration) Harm {
	kind, way := Kind(rng.IntN(int(kinds))), Direction(1+rng.IntN(2))
	bytes, share := 1+rng.Int64N(400), rng.Float64()
	h := Harm{Kind: kind, Way: Both}
	switch kind {
	case Torn:
		h.Way, h.Bytes = way, bytes
	case Frozen:
		h.For = time.Duration(share * float64(longest))
	case HalfOpen:
		h.Way, h.For = way, time.Duration(share*float64(longest))
	case Slow:
		h.For = time.Duration(share * float64(20*time.Millisecond))
	}
	return h
}

// Harm does h to the connection. A freeze thaws by itself.
func (l *Link) Harm(h Harm) {
	switch h.Kind {
	case Reset, Finish:
		l.Cut(h.Kind == Reset)
	case Torn:
		l.CutAfter(h.Way, h.Bytes)
	case Frozen, HalfOpen:
		l.Freeze(h.Way)
		time.AfterFunc(h.For, func() { l.Thaw(h.Way) })
	case Left:
		l.Abandon()
	case Slow:
		l.Delay(h.Way, h.For)
	}
}
