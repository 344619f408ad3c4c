package session_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// slowService takes bodies, and lets go of what came late.
type slowService struct {
	w     *sim.World
	on    *engine.Reactor
	late  time.Duration // how long bytes of a body are owed
	got   int
	reset error
}

func (s *slowService) Refused(*engine.Reactor, poller.Addr, int, error)      {}
func (s *slowService) OnHead(session.Stream, *message.Head, bool)            {}
func (s *slowService) OnTrailers(session.Stream, *message.Head)              {}
func (s *slowService) OnSendable(session.Stream)                             {}
func (s *slowService) OnReset(_ session.Stream, _ session.Code, cause error) { s.reset = cause }
func (s *slowService) Accept(r *engine.Reactor, _ session.Stream) session.Receiver {
	s.on = r
	return s
}

func (s *slowService) OnData(st session.Stream, p []byte, end bool) {
	s.got += len(p)
	n := len(p)
	if s.late == 0 {
		st.Release(n)
	} else {
		s.w.After(s.late, func() { s.on.Post(&engine.Task{Run: func(*engine.Reactor) { st.Release(n) }}) })
	}
	if end {
		st.SendHead(&message.Head{Status: 204, Proto: message.HTTP11}, true) //nolint:errcheck // the client tells
	}
}

// dialed makes a server in w and a client of it.
func dialed(t *testing.T, w *sim.World, service session.Service) (*session.Server, *engine.Engine, *sim.Peer) {
	t.Helper()
	e, err := engine.New(engine.Options{
		Reactors: 1, Kernel: func(i int) (poller.Kernel, error) { return w.Kernel(i), nil },
	})
	testutil.Must(t, err)
	addr := poller.Addr{IP: netip.MustParseAddrPort("192.0.2.1:80")}
	server := session.NewServer(e, service, session.ServerOptions{})
	_, err = e.Listen(engine.ListenOptions{Addr: addr}, server.Accept)
	testutil.Must(t, err)
	w.Add(e.Reactors()[0])
	return server, e, w.Dial(addr)
}

// A body has to come with 240 B/s on average; what waits for us costs the client nothing.
func TestPace(t *testing.T) {
	for name, c := range map[string]struct {
		piece, pieces int
		every, late   time.Duration
		expect        bool
		slow          bool
	}{
		"fast":                   {1000, 60, time.Second, 0, false, false},
		"just enough":            {250, 300, time.Second, 0, false, false},
		"a byte a second":        {1, 600, time.Second, 0, false, true},
		"half of it":             {120, 600, time.Second, 0, false, true},
		"nothing":                {1, 2, time.Hour, 0, false, true},
		"a pause of 30 s":        {10_000, 5, 30 * time.Second, 0, false, false},
		"a pause of 2 min":       {100_000, 5, 2 * time.Minute, 0, false, true},
		"we are slow":            {250, 20, 40 * time.Second, 39 * time.Second, false, false},
		"waits for 100 for 30 s": {1000, 1, 30 * time.Second, 0, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := sim.NewWorld(1)
			service := &slowService{w: w, late: c.late}
			server, e, p := dialed(t, w, service)
			var in strings.Builder
			p.Handle = func(p *sim.Peer) { in.Write(p.Take()) }
			head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n", c.piece*c.pieces)
			if c.expect {
				head += "Expect: 100-continue\r\n"
			}
			p.SendString(head + "\r\n")
			left := c.pieces
			var send func()
			send = func() {
				if left--; left >= 0 && in.Len() == 0 {
					p.SendString(strings.Repeat("x", c.piece))
					w.After(c.every, send)
				}
			}
			first := time.Second
			if c.expect {
				first = c.every
			}
			w.After(first, send)
			testutil.Must(t, w.Run(func() bool { return in.Len() > 0 }, 1_000_000))
			status, reset := "HTTP/1.1 204 ", error(nil)
			if c.slow {
				status, reset = "HTTP/1.1 408 ", session.ErrSlowBody
			}
			if !strings.HasPrefix(in.String(), status) || service.reset != reset {
				t.Fatalf("after %v: %q, %v", time.Duration(w.Now()), in.String(), service.reset)
			}
			if c.slow && w.Now() > int64(3*time.Minute) {
				t.Fatalf("after %v", time.Duration(w.Now()))
			}
			stats := server.Stats(e.Reactors()[0])
			if (stats.SlowBodies == 1) != c.slow {
				t.Fatalf("%+v", stats)
			}
		})
	}
}

// early is a service that answers before the body has come, a byte at a time.
type early struct {
	w     *sim.World
	on    *engine.Reactor
	bytes int
	every time.Duration
	reset error
}

func (s *early) Refused(*engine.Reactor, poller.Addr, int, error)      {}
func (s *early) OnTrailers(session.Stream, *message.Head)              {}
func (s *early) OnSendable(session.Stream)                             {}
func (s *early) OnData(st session.Stream, p []byte, _ bool)            { st.Release(len(p)) }
func (s *early) OnReset(_ session.Stream, _ session.Code, cause error) { s.reset = cause }
func (s *early) Accept(r *engine.Reactor, _ session.Stream) session.Receiver {
	s.on = r
	return s
}

func (s *early) OnHead(st session.Stream, _ *message.Head, _ bool) {
	st.SendHead(&message.Head{Status: 200, Proto: message.HTTP11, Length: int64(s.bytes)}, false) //nolint:errcheck
	left := s.bytes
	var send func(*engine.Reactor)
	later := func() { s.w.After(s.every, func() { s.on.Post(&engine.Task{Run: send}) }) }
	send = func(*engine.Reactor) {
		if left--; left >= 0 {
			st.SendData([]byte("x"), left == 0) //nolint:errcheck // the client tells
			later()
		}
	}
	later()
}

// A client that stops sending its body when the answer comes (RFC 9112 §9.5) gets the answer whole, as long as that
// takes. Where neither moves, it is the body that is late.
func TestPace_earlyAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		every time.Duration
		whole bool
	}{
		"it moves":    {5 * time.Second, true},
		"it does not": {50 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := sim.NewWorld(1)
			service := &early{w: w, bytes: 40, every: c.every}
			_, _, p := dialed(t, w, service)
			var in strings.Builder
			p.Handle = func(p *sim.Peer) { in.Write(p.Take()) }
			p.SendString("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("y", 1000))
			testutil.Must(t, w.Run(p.Closed, 1_000_000))
			_, body, _ := strings.Cut(in.String(), "\r\n\r\n")
			if whole := body == strings.Repeat("x", 40); whole != c.whole || (service.reset == nil) != c.whole {
				t.Fatalf("after %v: %q, %v", time.Duration(w.Now()), in.String(), service.reset)
			}
		})
	}
}
