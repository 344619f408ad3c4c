package warm

import (
	"crypto/tls"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/http3"
	"github.com/edge-proxy/edge/internal/http3/quicconn"
	"github.com/edge-proxy/edge/internal/test/quicpeer"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/quic"
	"github.com/edge-proxy/edge/session"
)

// RigH3 is a proxy with a client that speaks HTTP/3 and an origin that speaks HTTP/1. The client asks on several
// streams at once. Its datagrams depend on what came before, so its codecs work while the proxy is measured.
type RigH3 struct {
	*Rig
	Streams int // asked on at once
	Got     int // bytes of bodies so far

	origins
	end   quicpeer.End
	codec h3.Conn
	head  message.Head // of requests
	got   message.Head
	room  []byte
	done  int  // requests that have their answers
	ready bool // the client may ask
}

// NewH3 makes a RigH3 for requests that come by on; config has a certificate for localhost.
func NewH3(t testing.TB, on *proxy.Listener, streams int, config *tls.Config) *RigH3 {
	t.Helper()
	h := &RigH3{Rig: new(Rig), Streams: streams, room: make([]byte, 0, quic.DatagramMax)}
	e, service := h.build(t, on, all(nil))
	sessions := http3.NewServer(e, session.NewServer(e, service, session.ServerOptions{}), http3.ServerOptions{})
	server := quicconn.NewServer(e, quicconn.Options{})
	server.Use(quicconn.Accept{QUIC: sessions.QUIC(), Begin: quicconn.Secure(
		tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{}), tlsconn.ServerOptions{Config: config},
		func(c *engine.Conn) engine.Handler { return sessions.Accept(quicconn.Of(c), false) },
	)})
	at := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:443")}
	if _, err := e.ListenDatagrams(engine.ListenOptions{Addr: at}, server.Port); err != nil {
		t.Fatal(err)
	}
	h.down = door
	h.Loop.OnConnect = h.connected
	h.head.SetMethod("GET")
	h.head.SetTarget("/")
	h.head.SetAuthority("localhost")
	h.shake(t, at)
	h.Loop.Pump = h.pump
	for range exchanges {
		h.Exchange()
	}
	return h
}

// shake shakes hands. The server's part runs on other goroutines.
func (h *RigH3) shake(t testing.TB, at poller.Addr) {
	t.Helper()
	h.end.OnEvent = h.onEvent
	client := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}, MinVersion: tls.VersionTLS13}
	h.end.Begin(client, quic.Path{Local: clientAddr.Addr(), Peer: at.IP}, h.Loop.Now(), rand.Uint64)
	t.Cleanup(h.end.Stop)
	h.codec.Init(h3.Client, &h.end.Conn, nil)
	for !h.ready || !h.end.Established {
		h.send()
		h.Loop.Wake() // or else time passes as far as the next deadline
		h.reactor.Tick()
		runtime.Gosched() // to the goroutines of the handshake
		h.receive()
		if h.end.Err != nil || h.end.Closed {
			t.Fatal(h.end.Err, h.end.Conn.Closed())
		}
	}
}

// Exchange asks on all streams and runs the reactor until the client has its answers.
func (h *RigH3) Exchange() {
	h.Trips += h.Streams
	for range h.Streams {
		s, err := h.codec.Open(h.Loop.Now())
		if err == nil {
			err = h.codec.SendHead(s, &h.head, true)
		}
		if err != nil {
			panic(err)
		}
	}
	h.send()
	for ticks := 0; h.done < h.Trips || h.reading(h.Loop); ticks++ {
		if h.reactor.Tick(); ticks > ticksMax {
			panic("warm: requests were not passed on")
		}
	}
}

// pump plays the origin and the client.
func (h *RigH3) pump() {
	h.answer(h.Loop)
	h.receive()
	if at := h.end.Conn.Deadline(); at != 0 && at <= h.Loop.Now() {
		h.end.Conn.Expire(h.Loop.Now())
		h.end.Events()
	}
	h.send()
}

// send sends the datagrams of the client that may leave.
func (h *RigH3) send() {
	for h.end.Conn.Pending() {
		d, _ := h.end.Conn.AppendDatagram(h.room, h.Loop.Now())
		if len(d) == 0 {
			return
		}
		h.Loop.Arrive(h.down, clientAddr, d)
	}
}

// receive takes the datagrams that have come to the client.
func (h *RigH3) receive() {
	h.Loop.Departed(h.down, func(_ netip.AddrPort, d []byte) {
		h.end.Conn.Receive(d, h.end.Conn.Path(), h.Loop.Now())
		h.end.Events()
	})
}

func (h *RigH3) onEvent(in *quic.Event) {
	for {
		n, ev := h.codec.Next(in, &h.got, h.Loop.Now())
		in.Body = in.Body[n:]
		switch ev.Kind {
		case h3.NeedMore:
			return
		case h3.Settings:
			h.ready = true
		case h3.Data:
			h.Got += len(ev.Body)
			h.codec.Release(ev.Stream, len(ev.Body))
		case h3.Reset, h3.Fault:
			panic(ev.Err)
		}
		if ev.End {
			h.done++
		}
	}
}
