package session_test

import (
	"errors"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

type refuser struct{}

func (refuser) Refusal(_ *engine.Reactor, h *message.Head, cause error) []byte {
	h.Add("X-Status", string(rune('0'+h.Status/100)))
	return []byte(cause.Error())
}

func TestAppendRefusal(t *testing.T) {
	const line, length = "HTTP/1.1 414 URI Too Long\r\n", "X-Status: 4\r\nContent-Length: 3\r\n"
	for _, c := range []struct {
		by   session.Refuser
		head bool
		want string
	}{
		{nil, false, line + "Content-Length: 0\r\nConnection: close\r\n\r\n"},
		{refuser{}, false, line + length + "Connection: close\r\n\r\nwhy"},
		{refuser{}, true, line + length + "Connection: close\r\n\r\n"},
	} {
		got := session.AppendRefusal([]byte("before"), c.by, nil, 414, errors.New("why"), c.head)
		if string(got) != "before"+c.want {
			t.Errorf("%T, HEAD %v: %q, want %q", c.by, c.head, got, c.want)
		}
	}
}
