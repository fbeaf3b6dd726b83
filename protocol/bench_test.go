package protocol

import (
	"strings"
	"testing"
	"time"
)

var (
	benchText    = strings.Repeat("the quick brown fox jumps over a lazy dog. ", 5)[:200]
	benchParser  = Parser{MessageLimit: 16384}
	benchTime    = time.Date(2026, 11, 23, 19, 0, 0, 123_000_000, time.UTC)
	benchMessage = RoomMessageEvent{
		Literal: `"` + benchText + `"`, From: "Ann", UserID: "c0vqyq3k5m2f4t6x",
		Key: "6f1d2c7e-90ab-4cde-8f01-23456789abcd", Seq: 1842, At: benchTime,
	}
	benchFrames = []struct{ name, frame string }{
		{"text", `{"event":"roomMessage","data":"` + benchText + `","ackId":7}`},
		{"escaped", `{"event":"roomMessage","data":"` + benchText[:198] + `\n","ackId":7}`},
		{"keyed", `{"event":"roomMessage","data":{"message":"` + benchText + `","key":"6f1d2c7e-90ab-4cde-8f01-23456789abcd"},"ackId":7}`},
		{"16KiB", `{"event":"roomMessage","data":"` + strings.Repeat("A", 16384) + `","ackId":7}`},
		{"typing", `{"event":"typing","data":{"typing":true}}`},
		{"login", `{"event":"login","data":{"name":"Ann","room":"lobby","session":"6f1d2c7e-90ab-4cde-8f01-23456789abcd"},"ackId":1}`},
		{"ping", `{"event":"ping","ackId":9}`},
		{"bad", `{"event":"roomMessage","data":""}`},
		{"brackets", `{"event":"roomMessage","data":` + strings.Repeat("[", 100_000)},
	}
)

func BenchmarkDecode(b *testing.B) {
	for _, f := range benchFrames {
		b.Run(f.name, func(b *testing.B) {
			frame := []byte(f.frame)
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				Decode(frame)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, f := range benchFrames {
		e, err := Decode([]byte(f.frame))
		if err != nil {
			continue
		}
		b.Run(f.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				benchParser.Parse(e)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	user := User{ID: "c0vqyq3k5m2f4t6x", Name: "Ann", Room: "lobby"}
	for _, e := range []struct {
		name   string
		append func([]byte) []byte
	}{
		{"roomMessage", func(dst []byte) []byte { return AppendRoomMessage(dst, benchMessage) }},
		{"stored", func(dst []byte) []byte { return AppendStored(dst, 7, 1842, benchTime, "disk", false) }},
		{"notification", func(dst []byte) []byte { return AppendNotification(dst, true, user) }},
		{"typing", func(dst []byte) []byte { return AppendTyping(dst, "Ann", user.ID, true) }},
		{"user", func(dst []byte) []byte { return AppendUser(dst, user) }},
	} {
		b.Run(e.name, func(b *testing.B) {
			dst := make([]byte, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				e.append(dst)
			}
		})
	}
}
