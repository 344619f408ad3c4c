package l4_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/l4"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// helloOf returns what a client of crypto/tls says first when it asks for a name.
func helloOf(name string) []byte {
	here, there := net.Pipe()
	defer here.Close()
	go tls.Client(there, &tls.Config{ServerName: name}).Handshake() //nolint:errcheck // nobody answers it
	b := make([]byte, 8<<10)
	n, err := here.Read(b)
	if err != nil {
		panic(err)
	}
	return b[:n]
}

// newPeeking makes a house whose service leads by the name that clients ask for: "one.example" to the first backend,
// no TLS to the second, "none.example" nowhere, and others to both.
func newPeeking(t testing.TB, w *sim.World, change func(s *l4.Service)) *house {
	return newHouse(t, w, func(s *l4.Service) {
		both := s.To
		only := func(address string) *l4.Backends {
			b := *both
			b.View = backend.Of(address).View(1, balance.ByName("round_robin"))
			return &b
		}
		first, second := only("192.0.2.10:5432"), only("192.0.2.11:5432")
		s.To, s.Peek = nil, true
		s.Choose = func(_ *engine.Conn, hello *tlsconn.Hello) *l4.Backends {
			switch {
			case hello == nil:
				return second
			case string(hello.ServerName) == "one.example":
				return first
			case string(hello.ServerName) == "none.example":
				return nil
			}
			return both
		}
		if change != nil {
			change(s)
		}
	})
}

// sendInPieces has p send b in up to so many pieces.
func sendInPieces(w *sim.World, p *sim.Peer, b []byte, pieces int) {
	if len(b) == 0 {
		return
	}
	n := len(b)
	if pieces > 1 {
		n = 1 + w.Rand().IntN(len(b))
	}
	p.Send(b[:n])
	w.After(time.Duration(w.Rand().IntN(2000))*time.Microsecond, func() { sendInPieces(w, p, b[n:], pieces-1) })
}

// However its bytes come, a connection leads where its ClientHello says, and the backend gets all of them.
func TestSim_peek(t *testing.T) {
	plain := []byte("SSH-2.0-OpenSSH_9.2p1\r\n")
	broken := append([]byte{22, 3, 1, 0, 4, 1, 0, 0, 0}, "rest"...)
	for _, c := range []struct {
		name  string
		sent  []byte
		to    int // the backend; below 0: none gets it
		asked string
		why   error
		by    l4.Side
	}{
		{name: "one", sent: helloOf("one.example"), asked: "one.example"},
		{name: "no TLS", sent: plain, to: 1},
		{name: "nowhere", sent: helloOf("none.example"), to: -1, asked: "none.example", why: l4.ErrNoRoute,
			by: l4.ByEdge},
		{name: "broken", sent: broken, to: -1, why: l4.ErrHello},
		{name: "cut", sent: helloOf("one.example")[:700], to: -1, why: l4.ErrHelloSlow},
		{name: "silent", to: -1, why: l4.ErrHelloSlow},
	} {
		t.Run(c.name, func(t *testing.T) {
			sim.Run(t, 30, func(t testing.TB, w *sim.World) {
				h := newPeeking(t, w, nil)
				var got [2][]byte
				for i, l := range h.backends {
					l.Handle = func(p *sim.Peer) {
						p.Handle = func(p *sim.Peer) {
							got[i] = append(got[i], p.Take()...)
							if len(got[i]) >= len(c.sent) {
								p.CloseWrite()
							}
						}
					}
				}
				client := w.Dial(h.addr)
				client.Handle = func(p *sim.Peer) {
					if p.EOF() {
						p.CloseWrite()
					}
				}
				sendInPieces(w, client, c.sent, 1+w.Rand().IntN(5))
				begun := w.Now()
				if err := w.Run(func() bool { return len(h.records) == 1 }, 200_000); err != nil {
					t.Fatal(err)
				}
				r := h.records[0]
				if r.Why != c.why || r.Asked != c.asked || c.why != nil && r.By != c.by {
					t.Fatalf("ended by the %v: %v, asked for %q", r.By, r.Why, r.Asked)
				}
				if took := time.Duration(w.Now() - begun); c.why == l4.ErrHelloSlow && took < 5*time.Second {
					t.Errorf("given up after %v", took)
				}
				for i := range got {
					if want := c.to == i; want != (len(got[i]) > 0) || want && !bytes.Equal(got[i], c.sent) {
						t.Fatalf("backend %d got %d bytes, %d were sent", i, len(got[i]), len(c.sent))
					}
				}
			})
		})
	}
}

const (
	sslRequest = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	gssRequest = "\x00\x00\x00\x08\x04\xd2\x16\x30"
)

// postgres is a backend of PostgreSQL up to the ClientHello: it answers the ask for TLS.
type postgres struct {
	answer string
	got    []byte
	asked  int
}

func (b *postgres) on(p *sim.Peer) {
	answered := false
	p.Handle = func(p *sim.Peer) {
		b.got = append(b.got, p.Take()...)
		if !answered && bytes.HasPrefix(b.got, []byte(sslRequest)) {
			answered = true
			b.asked++
			b.got = b.got[len(sslRequest):]
			if b.answer == "" {
				p.CloseWrite()
			}
			p.SendString(b.answer)
		}
	}
}

// A client asks for TLS as PostgreSQL has it, and so does edge of the backend: each gets one answer, and no byte is
// lost or doubled.
func TestSim_postgres(t *testing.T) {
	hello := helloOf("one.example")
	startup := []byte("\x00\x00\x00\x0d\x00\x03\x00\x00user\x00")
	for _, c := range []struct {
		name, before, answers string // before the hello
		rest                  []byte
		backends              [2]postgres
		want                  int // the backend
		why                   error
	}{
		{name: "asks", before: sslRequest, answers: "S", rest: hello, backends: [2]postgres{{answer: "S"}}},
		{name: "asks for GSSAPI first", before: gssRequest + sslRequest, answers: "NS", rest: hello,
			backends: [2]postgres{{answer: "S"}}},
		{name: "direct", rest: hello},
		{name: "no TLS", rest: startup, want: 1},
		{name: "asks for GSSAPI without end", before: gssRequest, answers: "N",
			rest: []byte(strings.Repeat(gssRequest, 1000)), want: 1},
		{name: "refuses GSSAPI, no TLS", before: gssRequest, answers: "N", rest: startup, want: 1},
		{name: "asks, and speaks no TLS", before: sslRequest, answers: "S", rest: startup, want: -1, why: l4.ErrHello},
		{name: "backend without TLS", before: sslRequest, answers: "S", rest: hello, want: -1, why: l4.ErrNoTLS,
			backends: [2]postgres{{answer: "N"}}},
		{name: "backend ends", before: sslRequest, answers: "S", rest: hello, want: -1, why: l4.ErrNoTLS},
	} {
		t.Run(c.name, func(t *testing.T) {
			sim.Run(t, 30, func(t testing.TB, w *sim.World) {
				h := newPeeking(t, w, func(s *l4.Service) { s.Postgres = true })
				backends := c.backends
				for i := range backends {
					h.backends[i].Handle = backends[i].on
				}
				client := w.Dial(h.addr)
				var answers []byte
				said := false
				client.Handle = func(p *sim.Peer) {
					if answers = append(answers, p.Take()...); !said && len(answers) >= len(c.answers) {
						said = true
						sendInPieces(w, p, c.rest, 3)
					}
				}
				if said = c.before == ""; said {
					sendInPieces(w, client, c.rest, 3)
				}
				sendInPieces(w, client, []byte(c.before), 3)
				whole := func() bool { return c.want >= 0 && len(backends[c.want].got) >= len(c.rest) }
				if err := w.Run(func() bool { return len(h.records) == 1 || whole() }, 200_000); err != nil {
					t.Fatal(err)
				}
				if string(answers) != c.answers {
					t.Errorf("the client was answered %q", answers)
				}
				switch {
				case c.want < 0:
					r := h.records[0]
					if r.Why != c.why || c.why == l4.ErrNoTLS && r.Connect != 0 {
						t.Errorf("%+v", r)
					}
				case !bytes.Equal(backends[c.want].got, c.rest) || len(h.records) > 0:
					t.Errorf("the backend got %q", backends[c.want].got)
				}
			})
		})
	}
}

// A backend that is asked for TLS and says nothing is given up after the time to connect, for the next one.
func TestSim_postgresSilent(t *testing.T) {
	sim.Run(t, 30, func(t testing.TB, w *sim.World) {
		h := newPeeking(t, w, func(s *l4.Service) { s.Postgres = true })
		other := postgres{answer: "S"}
		first := h.backends[w.Rand().IntN(2)]
		for _, l := range h.backends {
			if l != first {
				l.Handle = other.on
			}
		}
		hello := helloOf("both.example")
		client := w.Dial(h.addr)
		client.SendString(sslRequest)
		client.Send(hello)
		if err := w.Run(func() bool { return len(other.got) >= len(hello) }, 200_000); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(other.got, hello) || other.asked != 1 {
			t.Errorf("asked %d times, got %d bytes", other.asked, len(other.got))
		}
	})
}

// A client that takes its time for the ClientHello takes none from the time to connect.
func TestSim_slowHello(t *testing.T) {
	w := sim.NewWorld(1)
	h := newPeeking(t, w, nil) // with 2 s for all members
	hello := helloOf("one.example")
	var got []byte
	h.backends[0].Handle = func(p *sim.Peer) { p.Handle = func(p *sim.Peer) { got = append(got, p.Take()...) } }
	client := w.Dial(h.addr)
	client.Send(hello[:100])
	w.After(4*time.Second, func() { client.Send(hello[100:]) })
	if err := w.Run(func() bool { return len(h.records) == 1 || len(got) == len(hello) }, 100_000); err != nil {
		t.Fatal(err)
	}
	client.Reset()
	if err := w.Run(func() bool { return len(h.records) == 1 }, 100_000); err != nil {
		t.Fatal(err)
	}
	if r := h.records[0]; !bytes.Equal(got, hello) || r.Connect > int64(time.Second) {
		t.Errorf("%d bytes, %+v", len(got), r)
	}
}

// A panic of a choice, or a stop, ends a connection by edge, and not by its client, which has done nothing.
func TestSim_endsOfOurs(t *testing.T) {
	w := sim.NewWorld(1)
	h := newPeeking(t, w, func(s *l4.Service) {
		choose := s.Choose
		s.Choose = func(c *engine.Conn, hello *tlsconn.Hello) *l4.Backends {
			if hello == nil {
				panic(errors.New("a bug"))
			}
			return choose(c, hello)
		}
	})
	plain, waiting, relayed := w.Dial(h.addr), w.Dial(h.addr), w.Dial(h.addr)
	plain.SendString("SSH-2.0-x\r\n")
	waiting.SendString("\x16\x03")
	relayed.Send(helloOf("one.example"))
	here := func() bool { return len(h.records) == 1 && relayed.Unsent() == 0 && h.engine.Conns() == 2 }
	if err := w.Run(here, 100_000); err != nil {
		t.Fatal(err)
	}
	h.engine.Stop()
	if len(h.records) != 3 {
		t.Errorf("%d records", len(h.records))
	}
	for _, r := range h.records {
		if r.By != l4.ByEdge {
			t.Errorf("by the %v: %v", r.By, r.Why)
		}
	}
}
