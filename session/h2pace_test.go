package session_test

import (
	"testing"
	"time"

	"github.com/edge-proxy/edge/session"
)

// A call of gRPC whose client has nothing to say goes on: no least rate, and no time for its body once it is answered.
func TestServer_h2UnhurriedBody(t *testing.T) {
	s, g := listening(t, session.ServerOptions{}, "")
	s.recv(append(ask(1, false, blockPost), ask(3, false, blockPost)...))
	s.frames()
	s.do(func() {
		for _, p := range g.parts {
			p.Stream.(session.Unhurried).Unhurry()
		}
	})
	s.pass(50 * time.Minute)
	s.want()
	s.recv(append(frame(nil, frameData, 0, 1, "more"), frame(nil, frameData, 0, 3, "more")...))
	s.do(func() { _ = g.parts[0].SendHead(answer(200, -1), false) })
	s.frames()
	s.pass(50 * time.Minute)
	s.want()
	s.pass(11 * time.Minute) // the one without an answer has been silent for an hour
	s.want("head 3: :status=408 content-length=0 end", "reset 3: NO_ERROR")
	g.parts[1].want(t, "head POST /", "data 4", "reset timed out")
	s.recv(frame(nil, frameData, 1, 1, "last"))
	g.parts[0].want(t, "head POST /", "data 4", "data 4 end")
}

// A client that stops sending its body when the answer comes gets the answer whole, as long as it moves.
func TestServer_h2EarlyAnswer(t *testing.T) {
	s, g := listening(t, session.ServerOptions{}, "")
	s.recv(append(ask(1, false, blockPost), ask(3, false, blockPost)...))
	s.frames()
	s.do(func() {
		for _, p := range g.parts {
			_ = p.SendHead(answer(200, 20), false)
		}
	})
	for range 19 { // one of them moves
		s.pass(5 * time.Second)
		s.do(func() { _, _ = g.parts[0].SendData([]byte("x"), false) })
		s.frames()
	}
	g.parts[1].want(t, "head POST /", "reset timed out")
	s.do(func() { _, _ = g.parts[0].SendData([]byte("x"), true) })
	g.parts[0].want(t, "head POST /")
}

// The head of an answer is a part of it.
func TestServer_h2LateAnswer(t *testing.T) {
	s, g := listening(t, session.ServerOptions{}, "")
	s.recv(ask(1, false, blockPost))
	s.frames()
	s.pass(8 * time.Second)
	s.do(func() { _ = g.parts[0].SendHead(answer(200, 1), false) })
	s.pass(8 * time.Second)
	s.do(func() { _, _ = g.parts[0].SendData([]byte("x"), true) })
	g.parts[0].want(t, "head POST /")
}
