package quic

import (
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// exchange is one request and its answer on an established pair, without a network between.
type exchange struct {
	p        *pair
	buf      []byte
	request  []byte
	answer   []byte
	answered bool
}

func newExchange(t testing.TB) *exchange {
	p := newPair(t, Options{}, Options{})
	p.establish()
	for until := p.now + 1e9; p.now < until && len(p.wire) > 0; {
		p.step()
	}
	return &exchange{p: p, buf: make([]byte, 0, 2048), request: make([]byte, 100), answer: make([]byte, 200)}
}

// run makes n exchanges.
func (x *exchange) run(n int) {
	for range n {
		x.answered = false
		s, err := x.p.client.conn.Open(TwoWay)
		if err != nil {
			x.p.t.Fatal(err)
		}
		x.p.client.conn.Send(s, x.request, true)
		for rounds := 0; !x.answered; rounds++ {
			if rounds > 4 {
				x.p.t.Fatal("no answer")
			}
			x.p.now += 1e4
			x.move(&x.p.client.conn, &x.p.server.conn)
			x.move(&x.p.server.conn, &x.p.client.conn)
		}
	}
}

// move takes what from has to send to to.
func (x *exchange) move(from, to *Conn) {
	for from.Pending() {
		d, _ := from.AppendDatagram(x.buf[:0], x.p.now)
		if len(d) == 0 {
			return
		}
		to.Receive(d, testPath, x.p.now)
		for ev := to.Next(); ev.Kind != None; ev = to.Next() {
			if ev.Kind == Data {
				to.Release(ev.Stream, len(ev.Body))
				if ev.End {
					if to.role == Server {
						to.Send(ev.Stream, x.answer, true)
					} else {
						x.answered = true
					}
					to.Done(ev.Stream)
				}
			}
		}
	}
}

func TestConn_warmExchangeAllocatesNothing(t *testing.T) {
	x := newExchange(t)
	x.run(300)
	if n := testutil.Allocs(200, func() { x.run(1) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// BenchmarkConn_exchange is a request and its answer, both ends: packets are sealed and opened, and acknowledged.
func BenchmarkConn_exchange(b *testing.B) {
	x := newExchange(b)
	x.run(300)
	b.ReportAllocs()
	b.ResetTimer()
	x.run(b.N)
}
