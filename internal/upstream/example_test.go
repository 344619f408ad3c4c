package upstream_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// printer passes on the status of an answer, and that it has ended.
type printer struct {
	status chan<- int
	done   chan<- error
}

func (p printer) OnHead(_ session.Stream, h *message.Head, end bool) {
	p.status <- int(h.Status)
	p.finish(end)
}

func (p printer) OnData(s session.Stream, b []byte, end bool) {
	s.Release(len(b))
	p.finish(end)
}

func (p printer) OnTrailers(session.Stream, *message.Head) { p.finish(true) }

func (p printer) OnSendable(session.Stream) {}

func (p printer) OnReset(_ session.Stream, _ session.Code, cause error) { p.done <- cause }

func (p printer) finish(end bool) {
	if end {
		p.done <- nil
	}
}

// Two requests of a program, one after the other: the second one finds the connection of the first.
func Example() {
	origin := httptest.NewServer(http.NotFoundHandler())
	defer origin.Close()
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		log.Fatal(err)
	}
	u := upstream.New(e, upstream.Options{Backends: backend.Of(origin.Listener.Addr().String())})
	view := u.View()
	e.Start()
	defer e.Stop()

	status, done := make(chan int, 1), make(chan error, 1)
	for range 2 {
		e.Reactors()[0].Post(&engine.Task{Run: func(r *engine.Reactor) { // all of an exchange is on one reactor
			member := view.Pick(r, nil)
			c, err := u.Take(r, member, view.NextAddress(r, member), false, &upstream.Waiter{})
			if err != nil {
				done <- err
				return
			}
			var h message.Head
			h.SetMethod("GET")
			h.SetTarget("/")
			h.SetAuthority("example.org")
			stream := c.Open(printer{status, done})
			if err := stream.SendHead(&h, true); err != nil {
				done <- err
				return
			}
			fmt.Println("reused:", c.Reused())
		}})
		fmt.Println(<-status, <-done)
	}
	// Output:
	// reused: false
	// 404 <nil>
	// reused: true
	// 404 <nil>
}
