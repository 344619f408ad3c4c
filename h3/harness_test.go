package h3

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/test/quicpeer"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/quic"
)

var testPath = quic.Path{Local: netip.MustParseAddr("192.0.2.1"), Peer: netip.MustParseAddrPort("192.0.2.2:1000")}

// wire is two connections of QUIC with a perfect network between them. In place of TLS they have secrets that the test
// knows: a handshake takes microseconds.
type wire struct {
	t    testing.TB
	now  int64
	ends [2]*end // client, server
	free [][]byte
}

// end is one end of a wire.
type end struct {
	w     *wire
	role  quic.Role
	q     quic.Conn
	arena quic.Arena
	opts  quic.Options
	on    func(ev *quic.Event) // events that are not about the handshake
	ev    quic.Event
	begun bool
	queue [][]byte // datagrams that came
	ids   uint64
}

func newWire(t testing.TB, client, server quic.Options) *wire {
	w := &wire{t: t, now: 1e9}
	for role, o := range []quic.Options{quic.Client: client, quic.Server: server} {
		e := &end{w: w, role: quic.Role(role), opts: o, on: func(*quic.Event) {}}
		e.opts.Arena, e.ids = &e.arena, uint64(role)<<32
		quicpeer.SetKnownRandom(&e.opts, uint64(role+1), &e.ids)
		w.ends[role] = e
	}
	return w
}

// connect makes the handshake.
func (w *wire) connect() {
	w.t.Helper()
	client := w.ends[quic.Client]
	testutil.Must(w.t, client.q.InitClient(&client.opts, testPath, w.now))
	client.begun = true
	client.q.SendCrypto(quic.Initial, []byte("hello"))
	w.pump()
	if k := client.q.Closed(); k.Err != nil || !w.ends[quic.Server].begun {
		w.t.Fatal("no handshake", k.Err)
	}
}

// crypto answers bytes of the handshake.
func (e *end) crypto(l quic.Level) {
	if l == quic.Initial {
		quicpeer.SetKnownSecrets(e.w.t, &e.q, &e.w.ends[1-e.role].q, e.role)
	}
	switch {
	case l == quic.Initial && e.role == quic.Server:
		e.q.SendCrypto(quic.Initial, []byte("hello"))
		e.q.SendCrypto(quic.Handshake, []byte("finished"))
	case l == quic.Handshake:
		if e.role == quic.Client {
			e.q.SendCrypto(quic.Handshake, []byte("finished"))
		}
		e.q.HandshakeDone()
	}
}

func (e *end) read() {
	for {
		e.ev = e.q.Next()
		if e.ev.Kind == quic.Crypto {
			e.crypto(e.ev.Level)
			continue
		}
		kind := e.ev.Kind
		if e.on(&e.ev); kind == quic.None {
			return
		}
	}
}

// receive gives the datagrams that came to QUIC.
func (e *end) receive() {
	for len(e.queue) > 0 {
		d := e.queue[0]
		e.queue = e.queue[:copy(e.queue, e.queue[1:])]
		if !e.begun {
			h, ok := quic.Parse(d)
			if !ok {
				e.w.t.Fatal("no packet")
			}
			testutil.Must(e.w.t, e.q.InitServer(&e.opts, &h, testPath, e.w.now))
			e.begun = true
		}
		e.q.Receive(d, testPath, e.w.now)
		e.read()
		e.w.free = append(e.w.free, d)
	}
}

// flush sends what an end has, and reports whether there was something.
func (e *end) flush() (sent bool) {
	for e.begun {
		var d []byte
		if n := len(e.w.free); n > 0 {
			d, e.w.free = e.w.free[n-1], e.w.free[:n-1]
		} else {
			d = make([]byte, 0, 2048)
		}
		d, _ = e.q.AppendDatagram(d[:0], e.w.now)
		if len(d) == 0 {
			e.w.free = append(e.w.free, d)
			return sent
		}
		sent = true
		other := e.w.ends[1-e.role]
		other.queue = append(other.queue, d)
	}
	return false
}

// pump carries datagrams until both ends are quiet.
func (w *wire) pump() {
	w.t.Helper()
	for range 10_000 {
		sent := false
		for _, e := range w.ends {
			if e.begun {
				e.read()
			}
			sent = e.flush() || sent
		}
		w.now += 1e6
		for _, e := range w.ends {
			e.receive()
		}
		if !sent {
			return
		}
	}
	w.t.Fatal("the ends do not come to rest")
}

// wait lets time pass.
func (w *wire) wait(ns int64) {
	for until := w.now + ns; w.now < until; {
		at := until
		for _, e := range w.ends {
			if d := e.q.Deadline(); d != 0 {
				at = min(at, d)
			}
		}
		w.now = max(w.now, at)
		for _, e := range w.ends {
			if d := e.q.Deadline(); d != 0 && d <= w.now {
				e.q.Expire(w.now)
			}
		}
		w.pump()
	}
}

// makeRequest makes the head of a request as a session has it.
func makeRequest(method, target, host string, fields ...string) *message.Head {
	h := new(message.Head)
	h.SetMethod(method)
	h.SetTarget(target)
	h.SetAuthority(host)
	addAll(h, fields)
	return h
}

func makeResponse(status int, fields ...string) *message.Head {
	h := &message.Head{Status: uint16(status), Chunked: true, Length: message.LengthUnknown}
	addAll(h, fields)
	return h
}

func addAll(h *message.Head, fields []string) {
	for pair := range slices.Chunk(fields, 2) {
		h.Add(pair[0], pair[1])
	}
}
