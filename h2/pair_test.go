package h2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

// pair is a client and a server that talk to each other over two pipes, with random windows, limits, pieces, delays,
// resets, early answers and trailers. Each stream delivers exactly the bytes that were sent on it, and after all of
// them the windows are whole.
type pair struct {
	t     testing.TB
	rng   *rand.Rand
	now   int64
	ends  [2]*end
	done  int // exchanges that came to their end
	reset int
}

// end is one side.
type end struct {
	c     Conn
	o     Options
	out   []byte // sent, not yet received by the other
	kept  []byte // received, not yet consumed
	head  message.Head
	peer  *end
	flows map[*Stream]*flow
}

// flow is one exchange as one side sees it.
type flow struct {
	key      uint32 // what the request says it is
	send     []byte // still to be sent
	sendEnd  bool
	trailers bool
	blocked  bool
	got      []byte
	gotHead  bool
	gotEnd   bool
	owed     int
	reset    bool
}

// body is what the side sends in exchange key: anyone can tell what has to arrive.
func body(role Role, key uint32) []byte {
	rng := rand.New(rand.NewPCG(uint64(key), uint64(role)))
	p := make([]byte, []int{0, 1, 100, 5000, 70000, 300000}[rng.IntN(6)])
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

func TestConn_pairs(t *testing.T) {
	seeds := 30
	if testing.Short() {
		seeds = 10
	}
	sim.Run(t, seeds, func(t testing.TB, w *sim.World) { newPair(t, w.Rand()).run() })
}

func newPair(t testing.TB, rng *rand.Rand) *pair {
	p := &pair{t: t, rng: rng, now: 1e9}
	for i, role := range []Role{Server, Client} {
		e := &end{flows: map[*Stream]*flow{}}
		e.o = Options{
			MaxStreams: 1 + p.rng.IntN(20), StreamWindow: []int{0, 1000, 20000, 200000}[p.rng.IntN(4)],
			Budget: []int{0, 1 << 17, 1 << 20}[p.rng.IntN(3)], HeaderTable: []int{0, -1, 100, 10000}[p.rng.IntN(4)],
		}
		e.c.Init(role, &e.o, p.now)
		p.ends[i] = e
	}
	p.ends[0].peer, p.ends[1].peer = p.ends[1], p.ends[0]
	return p
}

func (p *pair) run() {
	const exchanges = 40
	key := uint32(0)
	for step := 0; ; step++ {
		if step > 200000 {
			p.t.Fatalf("no progress: %d of %d done, %d reset", p.done, exchanges, p.reset)
		}
		p.now += int64(p.rng.IntN(1e6))
		client, server := p.ends[1], p.ends[0]
		if key < exchanges && client.c.Room() > 0 && p.rng.IntN(4) == 0 {
			key++
			p.open(client, key)
		}
		if key == exchanges && client.c.Streams() == 0 && server.c.Streams() == 0 {
			break
		}
		e := p.ends[p.rng.IntN(2)]
		e.c.Tick(p.now)
		switch p.rng.IntN(10) {
		case 0:
			p.resetOne(e)
		case 1, 2:
			p.release(e)
		case 3, 4:
			p.pump(e)
		default:
			p.deliver(e)
		}
	}
	for len(p.ends[0].out)+len(p.ends[1].out) > 0 || p.ends[0].c.Pending() || p.ends[1].c.Pending() {
		p.deliver(p.ends[0])
		p.deliver(p.ends[1])
	}
	for _, e := range p.ends {
		half := e.c.half()
		if w := e.c.recvWindow; w != e.peer.c.sendWindow || w < half-half/4 {
			p.t.Errorf("a window of %d of %d, which the peer takes for %d", w, half, e.peer.c.sendWindow)
		}
		if n := e.c.Owed(); n != 0 {
			p.t.Errorf("%d bytes are owed by no stream", n)
		}
		if e.c.fault != nil {
			p.t.Error(e.c.fault)
		}
	}
	if p.done+p.reset != exchanges || p.done == 0 {
		p.t.Errorf("%d done, %d reset", p.done, p.reset)
	}
}

func (p *pair) open(e *end, key uint32) {
	s, err := e.c.Open(p.now)
	testutil.Must(p.t, err)
	f := &flow{key: key, send: body(Client, key), sendEnd: true, trailers: p.rng.IntN(4) == 0}
	s.Owner = f
	e.flows[s] = f
	h := makeRequest("POST", fmt.Sprint("/", key), "h", "x-key", fmt.Sprint(key), "cookie", "a=b")
	if h.Length = message.LengthUnknown; p.rng.IntN(2) == 0 {
		h.Length = int64(len(f.send))
	}
	if e.out, err = e.c.AppendHead(e.out, s, h, false); err != nil {
		p.t.Fatal(err)
	}
	p.push(e, s)
}

// push sends what the windows let through, in pieces.
func (p *pair) push(e *end, s *Stream) {
	f := e.flows[s]
	if f == nil || f.blocked || !f.sendEnd {
		return
	}
	for {
		piece := min(len(f.send), 1+p.rng.IntN(50000))
		end := piece == len(f.send) && !f.trailers
		out, n, err := e.c.AppendData(e.out, s, f.send[:piece], end)
		testutil.Must(p.t, err)
		e.out, f.send = out, f.send[n:]
		if n < piece {
			f.blocked = true
			return
		}
		if len(f.send) == 0 {
			break
		}
		if p.rng.IntN(3) == 0 {
			e.c.Block(s) // the session's queue is full
			f.blocked = true
			return
		}
	}
	if f.trailers {
		tr := new(message.Head)
		tr.Add("X-Sum", fmt.Sprint(f.key))
		var err error
		if e.out, err = e.c.AppendTrailers(e.out, s, tr); err != nil {
			p.t.Fatal(err)
		}
	}
	f.sendEnd = false
	p.finished(e, s)
}

// finished takes the exchange off a side whose two halves have ended.
func (p *pair) finished(e *end, s *Stream) {
	f := e.flows[s]
	if f == nil || f.sendEnd || !f.gotEnd {
		return
	}
	if !s.Dead() {
		p.t.Fatal("a stream lives on")
	}
	if e.c.role == Client {
		p.done++
	}
	delete(e.flows, s)
}

// resetOne ends an exchange before its time, seldom; a server's that is answered by Linger.
func (p *pair) resetOne(e *end) {
	if p.rng.IntN(40) > 0 {
		return
	}
	for s, f := range e.flows {
		if e.c.role == Server && !f.sendEnd {
			e.c.Linger(s)
		} else {
			e.c.Reset(s, Cancel)
		}
		p.lost(e, s, f)
		return
	}
}

func (p *pair) lost(e *end, s *Stream, f *flow) {
	if e.c.role == Client {
		p.reset++
	}
	delete(e.flows, s)
}

func (p *pair) release(e *end) {
	for s, f := range e.flows {
		if f.owed > 0 {
			n := 1 + p.rng.IntN(f.owed)
			e.c.Release(s, n)
			f.owed -= n
		}
	}
}

func (p *pair) pump(e *end) {
	for range 1 + p.rng.IntN(5) {
		s := e.c.NextSendable()
		if s == nil {
			return
		}
		e.flows[s].blocked = false
		p.push(e, s)
	}
}

// deliver moves bytes from the other side and takes the events.
func (p *pair) deliver(e *end) {
	e.peer.out = e.peer.c.AppendControl(e.peer.out)
	n := min(len(e.peer.out), 1+p.rng.IntN(40000))
	e.kept = append(e.kept, e.peer.out[:n]...)
	e.peer.out = append(e.peer.out[:0], e.peer.out[n:]...)
	for {
		n, ev := e.c.Next(e.kept, &e.head, p.now)
		e.kept = e.kept[n:]
		if ev.Kind == NeedMore {
			e.kept = bytes.Clone(e.kept)
			return
		}
		p.event(e, ev)
	}
}

func (p *pair) event(e *end, ev Event) {
	s := ev.Stream
	switch ev.Kind {
	case Fault:
		p.t.Fatalf("role %d: %v", e.c.role, ev.Err)
	case Reset:
		if s == nil || e.flows[s] == nil {
			if ev.Code != RefusedStream {
				p.t.Fatalf("reset of a stream that is not known: %v", ev.Err)
			}
			return
		}
		p.lost(e, s, e.flows[s])
		return
	case HeadDone:
		if e.c.role == Server {
			f := &flow{sendEnd: true}
			fmt.Sscan(e.head.Get("x-key"), &f.key)
			f.send, f.trailers = body(Server, f.key), p.rng.IntN(4) == 0
			s.Owner = f
			e.flows[s] = f
			var err error
			if e.out, err = e.c.AppendHead(e.out, s, makeResponse(103), false); err != nil {
				p.t.Fatal(err)
			}
			if e.out, err = e.c.AppendHead(e.out, s, makeResponse(200, "X-Key", fmt.Sprint(f.key)), false); err != nil {
				p.t.Fatal(err)
			}
			e.flows[s].gotHead = true
			p.push(e, s)
		} else if e.head.Status == 200 && e.head.Get("x-key") != fmt.Sprint(e.flows[s].key) {
			p.t.Fatal("an answer of another request")
		}
		return
	case Data:
		f := s.Owner.(*flow)
		f.got = append(f.got, ev.Body...)
		f.owed += len(ev.Body)
	case Trailers:
		if e.head.Get("x-sum") != fmt.Sprint(s.Owner.(*flow).key) {
			p.t.Fatal("trailers of another exchange")
		}
	default:
		return
	}
	if ev.End {
		f := s.Owner.(*flow)
		f.gotEnd = true
		if want := body(1-e.c.role, f.key); !bytes.Equal(f.got, want) {
			p.t.Fatalf("%d bytes came, %d were sent", len(f.got), len(want))
		}
		p.finished(e, s)
	}
}
