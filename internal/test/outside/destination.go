package outside

import (
	"bytes"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// Upper is a Destination that answers with the body of the request in capitals.
type Upper struct{}

// Open makes the stream that takes the request.
func (Upper) Open(x *proxy.Exchange, to session.Receiver) proxy.Opening {
	u := &upper{to: to, reactor: x.Reactor()}
	u.task.Run = u.answer
	return proxy.Opening{Stream: u}
}

type upper struct {
	session.NopStream
	to      session.Receiver
	reactor *engine.Reactor
	task    engine.Task
	body    []byte
}

func (u *upper) SendHead(_ *message.Head, end bool) error {
	if end {
		u.reactor.Defer(&u.task)
	}
	return nil
}

func (u *upper) SendData(p []byte, end bool) (int, error) {
	u.body = append(u.body, bytes.ToUpper(p)...)
	u.SendHead(nil, end)
	return len(p), nil
}

func (u *upper) Reset(session.Code) { u.to = nil }

func (u *upper) answer(*engine.Reactor) {
	h := message.Head{Status: 200, Proto: message.HTTP11, Length: int64(len(u.body))}
	if u.to != nil {
		u.to.OnHead(u, &h, false)
	}
	if u.to != nil {
		u.to.OnData(u, u.body, true)
	}
}
