package store

import (
	"encoding/json"

	"github.com/nats-io/nats.go"
)

// typingNote is a Typing among nodes.
type typingNote struct {
	Node   string `json:"node"`
	From   string `json:"from"`
	ID     string `json:"id"`
	Typing bool   `json:"typing"`
}

func (j *JetStream) sendTyping(t Typing) {
	data, err := json.Marshal(typingNote{j.lease.id, t.From, t.ID, t.Typing})
	if err == nil {
		_ = j.nc.Publish(j.names.room+token(t.Room)+".typing", data) // at most once
	}
}

func (j *JetStream) typed(r *sharedRoom, m *nats.Msg) {
	var n typingNote
	if json.Unmarshal(m.Data, &n) == nil && n.Node != j.lease.id {
		j.report.Typing = append(j.report.Typing, Typing{Room: r.name, From: n.From, ID: n.ID, Typing: n.Typing})
	}
}
