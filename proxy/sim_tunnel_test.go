package proxy_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

// simTunnel is one tunnel of a simulation: what each side sends, and what came.
type simTunnel struct {
	id       int
	up, down int  // bytes that the client and the origin send
	early    int  // those of the client that it does not wait with
	refused  bool // the origin answers as if Upgrade were not there
	client   *sim.Peer
	in       []byte // what the client got
	seen     []byte // what the origin got after the head
	opened   bool   // the client has the 101
	sent     bool   // the client has sent all of its bytes
	over     bool
}

// tunnelSim is a simulation whose clients ask for tunnels.
type tunnelSim struct {
	*simulation
	tunnels []*simTunnel
}

func newTunnelSim(t testing.TB, w *sim.World, reactors, tunnels int, faults bool) *tunnelSim {
	s := &tunnelSim{simulation: newSimulation(t, w, reactors)}
	s.faults = faults
	for _, l := range s.origins {
		l.Handle = s.serveTunnel
	}
	rng := w.Rand()
	for i := range tunnels {
		x := &simTunnel{id: i, up: size(rng.IntN), down: size(rng.IntN), refused: rng.IntN(6) == 0}
		if rng.IntN(2) == 0 {
			x.early = rng.IntN(x.up + 1)
		}
		s.tunnels = append(s.tunnels, x)
		w.After(time.Duration(rng.IntN(20))*time.Millisecond, func() { s.open(x) })
	}
	return s
}

func (s *tunnelSim) open(x *simTunnel) {
	x.client = s.w.Dial(s.addr)
	x.client.Handle = func(*sim.Peer) { s.lookAt(x) }
	const ask = "GET /%d HTTP/1.1\r\nHost: sim\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n%s"
	x.client.Send(fmt.Appendf(nil, ask, x.id, pattern(x.id, x.up)[:x.early]))
	if s.faults && s.w.Rand().IntN(3) == 0 {
		s.w.After(time.Duration(s.w.Rand().IntN(30_000))*time.Microsecond, func() {
			x.over = true
			x.client.Reset()
		})
	}
}

// sendAll sends p in pieces, with time between them, and ends that direction.
func (s *tunnelSim) sendAll(p *sim.Peer, b []byte, sent func()) {
	rng := s.w.Rand()
	n := len(b)
	if rng.IntN(2) == 0 {
		n = rng.IntN(len(b) + 1)
	}
	p.Send(b[:n])
	if n < len(b) || rng.IntN(3) == 0 {
		s.w.After(time.Duration(rng.IntN(2000))*time.Microsecond, func() { s.sendAll(p, b[n:], sent) })
		return
	}
	p.CloseWrite()
	sent()
}

// lookAt takes what came to the client.
func (s *tunnelSim) lookAt(x *simTunnel) {
	if x.over {
		return
	}
	x.in = append(x.in, x.client.Take()...)
	if head, rest, whole := bytes.Cut(x.in, []byte("\r\n\r\n")); whole && !x.opened &&
		bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		x.opened, x.in = true, rest
		s.sendAll(x.client, pattern(x.id, x.up)[x.early:], func() {
			x.sent = true
			s.lookAt(x)
		})
	}
	if !x.client.Closed() || x.opened && !x.sent && x.client.Err() == nil {
		return
	}
	x.over = true
	x.client.Close()
	if s.faults {
		return
	}
	switch {
	case x.refused && !bytes.HasPrefix(x.in, []byte("HTTP/1.1 200 OK\r\n")),
		!x.refused && (!x.opened || !bytes.Equal(x.in, pattern(x.id+1, x.down)) || x.client.Err() != nil):
		s.t.Fatalf("tunnel %d: the client got %d bytes, want %d: %.100q, %v",
			x.id, len(x.in), x.down, x.in, x.client.Err())
	}
}

// serveTunnel plays an origin on one connection.
func (s *tunnelSim) serveTunnel(p *sim.Peer) {
	var in []byte
	var x *simTunnel
	p.Handle = func(*sim.Peer) {
		in = append(in, p.Take()...)
		head, rest, whole := bytes.Cut(in, []byte("\r\n\r\n"))
		if x == nil && whole {
			x, in = s.asks(string(head)), rest
			s.w.After(time.Duration(s.w.Rand().IntN(2000))*time.Microsecond, func() { s.answerTunnel(p, x) })
		}
		if x != nil {
			x.seen = append(x.seen, in...)
			in = in[:0]
			s.check(x, p.EOF())
		}
		if p.Closed() && (s.faults || x == nil || x.refused) {
			p.Close()
		}
	}
	p.Handle(p)
}

func (s *tunnelSim) asks(head string) *simTunnel {
	id, err := strconv.Atoi(strings.Fields(head)[1][1:])
	if err != nil || !strings.HasSuffix(head, "\r\nConnection: Upgrade\r\nUpgrade: websocket") {
		s.t.Fatalf("origin: %q", head)
	}
	return s.tunnels[id]
}

func (s *tunnelSim) answerTunnel(p *sim.Peer, x *simTunnel) {
	if x.refused {
		p.SendString("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		return
	}
	p.SendString("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	s.sendAll(p, pattern(x.id+1, x.down), func() {})
	if s.faults && s.w.Rand().IntN(3) == 0 {
		s.w.After(time.Duration(s.w.Rand().IntN(20_000))*time.Microsecond, p.Reset)
	}
}

// check looks whether the origin got what the client sent: no more, and all of it when it ends.
func (s *tunnelSim) check(x *simTunnel, end bool) {
	want := pattern(x.id, x.up)
	if x.refused {
		want = nil
	}
	if !bytes.HasPrefix(want, x.seen) || end && !s.faults && len(x.seen) != len(want) {
		s.t.Fatalf("tunnel %d: the origin got %d bytes, want %d", x.id, len(x.seen), len(want))
	}
}

func (s *tunnelSim) finish() {
	over := func() bool {
		for _, x := range s.tunnels {
			if !x.over {
				return false
			}
		}
		return true
	}
	if err := s.w.Run(over, 2_000_000); err != nil {
		s.t.Fatal(err)
	}
	s.leavesNothing()
}

// Every byte of a tunnel arrives in its order, and every end after the last of them.
func TestSim_tunnels(t *testing.T) {
	sim.Run(t, seeds(400), func(t testing.TB, w *sim.World) {
		newTunnelSim(t, w, 1+int(w.Seed()%2), 1+w.Rand().IntN(5), false).finish()
	})
}

// The same when connections break: what arrived is right, and nothing is left behind.
func TestSim_tunnelsBreak(t *testing.T) {
	sim.Run(t, seeds(600), func(t testing.TB, w *sim.World) {
		w.Faults = sim.Faults{ConnectRefused: 0.05, ShortWrite: 0.2, Reset: 0.005, ShortSplice: 0.1, NoPipe: 0.05}
		newTunnelSim(t, w, 1+int(w.Seed()%2), 1+w.Rand().IntN(5), true).finish()
	})
}

// A tunnel that a retry opened is no retry under way: it may last for hours, and the limit of retries is not for it.
func TestSim_tunnelOfARetryIsNoRetry(t *testing.T) {
	const ask = "GET / HTTP/1.1\r\nHost: sim\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	const opened = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	sim.Run(t, seeds(20), func(t testing.TB, w *sim.World) {
		limits := admission.New(1, admission.Options{Retries: 1})
		to := &proxy.ToOptions{Retry: on(t, "503"), Limits: limits}
		x := newScene(t, w, tuning{to: to, upstream: func(o *upstream.Options) { fewer(o, 2) }})
		asked := 0
		for _, l := range x.origins {
			l.Handle = func(p *sim.Peer) {
				p.Handle = func(p *sim.Peer) {
					if !strings.HasSuffix(string(p.Received()), "\r\n\r\n") {
						return
					}
					if asked++; asked == 1 {
						p.SendString("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
						return
					}
					p.SendString(opened)
				}
			}
		}
		x.sends(ask)
		x.until(func() bool { return strings.HasPrefix(string(x.client.Received()), "HTTP/1.1 101 ") })
		x.do(func() {
			if !limits.TakeRetry(x.engine.Reactors()[0]) {
				t.Fatal("the tunnel is counted as a retry")
			}
			limits.EndRetry()
			x.client.Reset()
		})
		x.play(1)
	})
}
