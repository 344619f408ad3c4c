package quic

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

var testPath = Path{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddrPort("192.0.2.2:1000")}

// certificate is for all tests: it costs as much as a handshake.
var certificate = func() tls.Certificate {
	t := new(testing.T) // whose failure is a panic
	return testutil.NewAuthority(t).KeyPair(t, "a.test")
}()

// end is one end of a pair, with its TLS.
type end struct {
	t       testing.TB
	name    string
	conn    Conn
	tls     *tls.QUICConn
	arena   Arena
	opts    Options
	other   *end
	events  []string
	got     map[uint64][]byte // data of streams
	ended   map[uint64]bool
	hold    bool // data is not released
	owed    map[*Stream]int
	onEvent func(ev *Event)
	begun   bool
}

// pair is two ends with a network between them.
type pair struct {
	t              testing.TB
	now            int64
	client, server *end
	wire           []flight
	latency        int64
	// pass decides what happens to datagram number n of an end: how often it arrives, and how late.
	pass   func(from *end, n int, d []byte) (copies int, late int64)
	counts map[*end]int
	// unbegun decides whether the server begins by an Initial.
	unbegun func(h *Header) bool
	chosen  []ID  // of Retry
	sent    int64 // bytes of the server
	came    int64 // bytes that it got
}

type flight struct {
	to *end
	d  []byte
	at int64
}

func newPair(t testing.TB, client, server Options) *pair {
	p := &pair{t: t, now: 1e9, latency: 10e6, counts: map[*end]int{}}
	p.client = p.newEnd("client", client)
	p.server = p.newEnd("server", server)
	p.client.other, p.server.other = p.server, p.client
	p.client.tls = tls.QUICClient(&tls.QUICConfig{TLSConfig: &tls.Config{
		InsecureSkipVerify: true, ServerName: "a.test", NextProtos: []string{"h3"}, MinVersion: tls.VersionTLS13,
		CipherSuites: nil,
	}})
	p.server.tls = tls.QUICServer(&tls.QUICConfig{TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h3"}, MinVersion: tls.VersionTLS13,
	}})
	testutil.Must(t, p.client.conn.InitClient(&p.client.opts, testPath, p.now))
	p.client.begin()
	t.Cleanup(func() { p.client.tls.Close(); p.server.tls.Close() }) //nolint:errcheck
	return p
}

var ids uint64

func (p *pair) newEnd(name string, o Options) *end {
	e := &end{t: p.t, name: name, opts: o, got: map[uint64][]byte{}, ended: map[uint64]bool{}, owed: map[*Stream]int{}}
	e.opts.Arena = &e.arena
	e.opts.Random = mathrand.New(mathrand.NewPCG(uint64(len(name)), 77)).Uint64
	e.opts.NewID = func() (id ID, token [16]byte) {
		ids++
		id, _ = MakeID(binary.BigEndian.AppendUint64(nil, ids))
		binary.BigEndian.PutUint64(token[:], ids)
		return id, token
	}
	return e
}

func (e *end) begin() {
	e.begun = true
	e.tls.SetTransportParameters(e.conn.AppendParameters(nil))
	testutil.Must(e.t, e.tls.Start(context.Background()))
	e.drainTLS()
}

func levelOf(l tls.QUICEncryptionLevel) Level {
	switch l {
	case tls.QUICEncryptionLevelInitial:
		return Initial
	case tls.QUICEncryptionLevelHandshake:
		return Handshake
	}
	return OneRTT
}

func (e *end) drainTLS() {
	for {
		ev := e.tls.NextEvent()
		switch ev.Kind {
		case tls.QUICNoEvent:
			return
		case tls.QUICSetReadSecret, tls.QUICSetWriteSecret:
			write := ev.Kind == tls.QUICSetWriteSecret
			testutil.Must(e.t, e.conn.SetSecret(levelOf(ev.Level), write, ev.Suite, ev.Data))
		case tls.QUICWriteData:
			e.conn.SendCrypto(levelOf(ev.Level), ev.Data)
		case tls.QUICTransportParameters:
			e.conn.SetParameters(ev.Data) //nolint:errcheck // the event Closed tells
		case tls.QUICHandshakeDone:
			e.conn.HandshakeDone()
			if e.conn.role == Server {
				testutil.Must(e.t, e.tls.SendSessionTicket(tls.QUICSessionTicketOptions{}))
			}
		}
	}
}

var tlsLevel = [levels]tls.QUICEncryptionLevel{
	tls.QUICEncryptionLevelInitial, tls.QUICEncryptionLevelHandshake, tls.QUICEncryptionLevelApplication,
}

// read takes events until None.
func (e *end) read() {
	for {
		ev := e.conn.Next()
		switch ev.Kind {
		case None:
			return
		case Crypto:
			if err := e.tls.HandleData(tlsLevel[ev.Level], ev.Body); err != nil {
				e.conn.FailHandshake(CryptoError(80))
			}
			e.drainTLS()
		case Data:
			e.got[ev.Stream.ID] = append(e.got[ev.Stream.ID], ev.Body...)
			if ev.End {
				if e.ended[ev.Stream.ID] {
					e.t.Fatalf("%s: stream %d ends twice", e.name, ev.Stream.ID)
				}
				e.ended[ev.Stream.ID] = true
			}
			if e.hold {
				e.owed[ev.Stream] += len(ev.Body)
			} else {
				e.conn.Release(ev.Stream, len(ev.Body))
			}
		case Closed:
			k := e.conn.Closed()
			e.events = append(e.events, fmt.Sprintf("Closed %v %d app %v peer %v", k.Err, k.Code, k.App, k.ByPeer))
		case Reset, Stopped:
			e.events = append(e.events, fmt.Sprintf("%s %d code %d", map[EventKind]string{Reset: "Reset",
				Stopped: "Stopped"}[ev.Kind], ev.Stream.ID, ev.Code))
		case Established:
			e.events = append(e.events, "Established")
		}
		if e.onEvent != nil {
			e.onEvent(&ev)
		}
	}
}

// flush sends what an end has.
func (p *pair) flush(e *end) {
	buf := make([]byte, 0, 2048)
	for range 1000 {
		e.read()
		d, path := e.conn.AppendDatagram(buf[:0], p.now)
		if len(d) == 0 {
			if e.conn.Pending() {
				p.t.Fatalf("%s: pending, and nothing leaves", e.name)
			}
			return
		}
		if path != testPath || len(d) > DatagramMax {
			p.t.Fatal(path, len(d))
		}
		if e == p.server {
			if p.sent += int64(len(d)); e.conn.flag&validated == 0 && p.sent > 3*p.came {
				p.t.Fatalf("%d bytes sent for %d", p.sent, p.came)
			}
		}
		n := p.counts[e]
		p.counts[e]++
		copies, late := 1, int64(0)
		if p.pass != nil {
			copies, late = p.pass(e, n, d)
		}
		for range copies {
			p.wire = append(p.wire, flight{e.other, slices.Clone(d), p.now + p.latency + late})
		}
	}
	p.t.Fatalf("%s does not stop sending", e.name)
}

// step moves time to the next thing that happens, and reports false when nothing will.
func (p *pair) step() bool {
	p.flush(p.client)
	if p.server.begun {
		p.flush(p.server)
	}
	next, at := -1, int64(0)
	for i, f := range p.wire {
		if next < 0 || f.at < at {
			next, at = i, f.at
		}
	}
	for _, e := range []*end{p.client, p.server} {
		if !e.begun {
			continue
		}
		if d := e.conn.Deadline(); d != 0 && (next < 0 && at == 0 || d < at) {
			next, at = -1, d
		}
	}
	if at == 0 {
		return false
	}
	p.now = max(p.now, at)
	if next >= 0 {
		f := p.wire[next]
		p.wire = slices.Delete(p.wire, next, next+1)
		p.arrive(f.to, f.d)
		return true
	}
	for _, e := range []*end{p.client, p.server} {
		if e.begun && e.conn.Deadline() != 0 && e.conn.Deadline() <= p.now {
			e.conn.Expire(p.now)
			e.read()
		}
	}
	return true
}

func (p *pair) arrive(e *end, d []byte) {
	if !e.begun {
		h, ok := Parse(d)
		if !ok || h.Kind != InitialPacket || p.unbegun != nil && !p.unbegun(&h) {
			return
		}
		testutil.Must(p.t, e.conn.InitServer(&e.opts, &h, testPath, p.now))
		e.begin()
	}
	if e == p.server {
		p.came += int64(len(d))
	}
	e.conn.Receive(d, testPath, p.now)
	e.read()
}

func (p *pair) run(what string, until func() bool) {
	p.t.Helper()
	for range 200_000 {
		if until() {
			return
		}
		if !p.step() {
			break
		}
	}
	p.t.Fatalf("%s did not happen; client %q, server %q at %v", what, p.client.events, p.server.events,
		time.Duration(p.now))
}

func (p *pair) establish() {
	p.t.Helper()
	p.run("the handshake", func() bool {
		return p.client.conn.flag&confirmed != 0 && p.server.begun && p.server.conn.flag&confirmed != 0
	})
}

// sender sends a body on a stream, as windows allow.
type sender struct {
	e    *end
	s    *Stream
	left []byte
}

func (x *sender) send() {
	n := x.e.conn.Send(x.s, x.left, true)
	x.left = x.left[n:]
}

func (e *end) sendOn(s *Stream, body []byte) {
	x := &sender{e, s, body}
	s.Owner = x
	x.send()
}

// sends has an end go on with senders.
func (e *end) sends() {
	e.onEvent = func(ev *Event) {
		if ev.Kind == Sendable {
			ev.Stream.Owner.(*sender).send()
		}
	}
}

func body(seed uint64, n int) []byte {
	r := mathrand.New(mathrand.NewPCG(seed, 9))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestPair_handshake(t *testing.T) {
	p := newPair(t, Options{}, Options{})
	p.establish()
	if want := []string{"Established"}; !slices.Equal(p.client.events, want) || !slices.Equal(p.server.events, want) {
		t.Fatal(p.client.events, p.server.events)
	}
	if p.client.conn.spaces[Initial] != nil || p.server.conn.spaces[Handshake] != nil {
		t.Fatal("keys of the handshake are kept")
	}
}

// Bodies both ways over many streams, on a network that does what it likes.
func TestPair_bodies(t *testing.T) {
	seeds := uint64(testutil.Rounds(20)) // each has bodies of all sizes
	for name, pass := range map[string]func(r *mathrand.Rand) (int, int64){
		"clean":   func(*mathrand.Rand) (int, int64) { return 1, 0 },
		"loss":    func(r *mathrand.Rand) (int, int64) { return min(r.IntN(10), 1), 0 },
		"reorder": func(r *mathrand.Rand) (int, int64) { return 1, r.Int64N(20e6) },
		"double":  func(r *mathrand.Rand) (int, int64) { return 1 + r.IntN(2), r.Int64N(3e6) },
		"all":     func(r *mathrand.Rand) (int, int64) { return min(r.IntN(8), 1+r.IntN(2)), r.Int64N(15e6) },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range seeds {
				r := mathrand.New(mathrand.NewPCG(seed, 1))
				p := newPair(t, Options{}, Options{})
				p.pass = func(*end, int, []byte) (int, int64) { return pass(r) }
				p.client.sends()
				want := map[uint64][]byte{}
				p.server.onEvent = func(ev *Event) {
					switch ev.Kind {
					case Sendable:
						ev.Stream.Owner.(*sender).send()
					case Data:
						if ev.End {
							p.server.sendOn(ev.Stream, p.server.got[ev.Stream.ID])
						}
					}
				}
				p.establish()
				for i := range 12 {
					s, err := p.client.conn.Open(TwoWay)
					testutil.Must(t, err)
					want[s.ID] = body(seed, []int{0, 1, 1000, 20_000, 300_000}[(int(seed)+i)%5])
					p.client.sendOn(s, want[s.ID])
				}
				p.run("all answers", func() bool { return len(p.client.ended) == len(want) })
				for id, b := range want {
					if !bytes.Equal(p.client.got[id], b) {
						t.Fatalf("seed %d: stream %d has %d bytes, want %d", seed, id, len(p.client.got[id]), len(b))
					}
				}
				p.settle()
			}
		})
	}
}

// settle has all streams end, and checks that nothing is kept.
func (p *pair) settle() {
	p.t.Helper()
	for _, e := range []*end{p.client, p.server} {
		var open []*Stream
		for _, s := range e.conn.streams.slots {
			if s != nil {
				open = append(open, s)
			}
		}
		for _, s := range open {
			e.conn.Done(s)
		}
	}
	p.run("the end of all streams", func() bool {
		return p.client.conn.streams.used == 0 && p.server.conn.streams.used == 0
	})
	for _, e := range []*end{p.client, p.server} {
		c := &e.conn
		kept := uint64(0)
		if c.spaces[OneRTT].recv.many != nil {
			kept = 1
		}
		if e.arena.Stats.Pages != kept || c.flow.held != 0 || c.flow.owed != 0 || c.flow.withheld != 0 {
			p.t.Fatalf("%s: %d pages, %d held, %d owed, %d withheld", e.name, e.arena.Stats.Pages, c.flow.held,
				c.flow.owed, c.flow.withheld)
		}
		if c.flow.credited != c.flow.taken {
			p.t.Fatalf("%s: %d bytes came, %d made room for others", e.name, c.flow.taken, c.flow.credited)
		}
	}
}

// A stream that is stopped in the middle of its data costs the data that follows it nothing.
func TestPair_stoppedStream(t *testing.T) {
	p := newPair(t, Options{}, Options{})
	r := mathrand.New(mathrand.NewPCG(3, 3))
	p.pass = func(*end, int, []byte) (int, int64) { return min(r.IntN(6), 1), r.Int64N(8e6) }
	p.client.sends()
	stopped := uint64(1 << 60)
	p.server.onEvent = func(ev *Event) {
		if ev.Kind == Data && stopped == 1<<60 {
			stopped = ev.Stream.ID
			p.server.conn.Stop(ev.Stream, 77)
		}
	}
	p.establish()
	for range 3 {
		s, err := p.client.conn.Open(OneWay)
		testutil.Must(t, err)
		p.client.sendOn(s, body(s.ID, 200_000))
	}
	p.run("the others", func() bool { return len(p.server.ended) == 2 })
	if want := fmt.Sprintf("Stopped %d code 77", stopped); !slices.Contains(p.client.events, want) {
		t.Fatalf("%q, not %q", p.client.events, want)
	}
	p.settle()
}

// Both ends update their keys, and packets of the phase before that come late are still read.
func TestPair_keyUpdates(t *testing.T) {
	p := newPair(t, Options{}, Options{})
	r := mathrand.New(mathrand.NewPCG(5, 5))
	p.pass = func(*end, int, []byte) (int, int64) { return min(r.IntN(20), 1), r.Int64N(9e6) }
	p.client.sends()
	p.establish()
	s, err := p.client.conn.Open(OneWay)
	testutil.Must(t, err)
	want := body(1, 2_000_000)
	p.client.sendOn(s, want)
	for updates := range 6 {
		e := []*end{p.client, p.server}[updates%2]
		was := e.other.conn.phase.read
		p.run("a packet of the present phase arrives", func() bool {
			return e.conn.spaces[OneRTT].acked >= e.conn.phase.writeFirst && e.conn.phase.read == e.conn.phase.write
		})
		e.conn.phase.update(e.conn.spaces[OneRTT])
		p.run("the other end follows", func() bool {
			o := &e.other.conn
			return o.phase.read != was && o.phase.write == o.phase.read && e.conn.phase.read == e.conn.phase.write
		})
	}
	p.run("the end", func() bool { return p.server.ended[s.ID] })
	if !bytes.Equal(p.server.got[s.ID], want) {
		t.Fatal("other data")
	}
	p.settle()
}

// A client may have frames after the CRYPTO that completes the handshake, in a packet whose keys are dropped by then.
func TestPair_framesAfterFinished(t *testing.T) {
	for name, after := range map[string][]byte{
		"ACK":    appendFrame(nil, frameAck, 0, 0, 0, 0),
		"CRYPTO": appendFrame(nil, frameCrypto, 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, Options{}, Options{})
			c := &p.client.conn
			p.run("the client's Finished", func() bool { return c.flag&complete != 0 })
			s := c.spaces[Handshake]
			from, n, _, _ := s.cryptoOut.pick(1000, integerMax)
			d := appendLong(nil, HandshakePacket, c.theirs.current(), &c.local.initialSource, nil)
			number := len(d)
			d = appendNumber(d, s.next, numberLen(s.next, s.acked))
			body := len(d)
			d = append(s.cryptoOut.appendTo(appendCrypto(d, uint64(from), n), from, n), after...)
			setLength(d, number, len(d)-number+tagLen)
			p.arrive(p.server, s.write.seal(d, 0, number, body, s.next))
			p.establish()
		})
	}
}
