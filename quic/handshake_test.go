package quic

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// mishap is what happens to datagram n of an end.
type mishap struct {
	server bool
	n      int
	what   string
}

var mishaps = []string{"lost", "doubled", "late", "later", "cut", "forged"}

// wholeExchange has a handshake and one request with its answer on a network with mishaps. It returns how long it took.
func wholeExchange(t *testing.T, all ...mishap) (took int64) {
	t.Helper()
	p := newPair(t, Options{}, Options{})
	defer func() {
		if t.Failed() {
			t.Logf("%+v", all)
		}
	}()
	p.pass = func(from *end, n int, d []byte) (copies int, late int64) {
		copies = 1
		for _, m := range all {
			if m.server != (from == p.server) || m.n != n {
				continue
			}
			switch m.what {
			case "lost":
				copies = 0
			case "doubled":
				copies = 2
			case "late":
				late = 25e6
			case "later":
				late = 900e6
			case "forged":
				d[len(d)/2] ^= 0x10
			case "cut":
				copies = 0
				to := from.other
				p.wire = append(p.wire, flight{to, bytes.Clone(d[:len(d)*2/3]), p.now + p.latency})
			}
		}
		return copies, late
	}
	request, answer, opened := body(1, 100), body(2, 5000), false
	p.client.onEvent = func(ev *Event) {
		switch ev.Kind {
		case Room:
			if !opened {
				opened = true
				s, err := p.client.conn.Open(TwoWay)
				testutil.Must(t, err)
				p.client.sendOn(s, request)
			}
		case Sendable:
			ev.Stream.Owner.(*sender).send()
		}
	}
	p.server.onEvent = func(ev *Event) {
		if ev.Kind == Sendable {
			ev.Stream.Owner.(*sender).send()
		} else if ev.Kind == Data && ev.End {
			p.server.sendOn(ev.Stream, answer)
		}
	}
	p.run(fmt.Sprintf("the answer with %+v", all), func() bool { return p.client.ended[0] })
	took = p.now - 1e9 // where it begins
	p.establish()
	if !bytes.Equal(p.server.got[0], request) || !bytes.Equal(p.client.got[0], answer) {
		t.Fatalf("%+v: other bytes", all)
	}
	for _, e := range []*end{p.client, p.server} {
		if n := len(slices.DeleteFunc(e.events, func(s string) bool { return s != "Established" })); n != 1 {
			t.Fatalf("%+v: %s: %q", all, e.name, e.events)
		}
	}
	p.settle()
	return took
}

// The handshake and a request take three round trips of 20 ms, and whatever happens to one or two of the first
// datagrams of each end they come to an end.
func TestHandshake_whateverHappensToTwoDatagrams(t *testing.T) {
	if took := wholeExchange(t); took > 60e6 {
		t.Errorf("without a mishap: %d ms", took/1e6)
	}
	testutil.OnlyPlain(t)
	const first = 5 // datagrams of each end
	var single []mishap
	for n := range 2 * first {
		for _, what := range mishaps {
			single = append(single, mishap{n >= first, n % first, what})
		}
	}
	worst := int64(0)
	for _, m := range single {
		if took := wholeExchange(t, m); took > 700e6 {
			t.Errorf("%+v: %d ms", m, took/1e6)
		}
	}
	for i, a := range single {
		for k, b := range single[:i] {
			if a.n == b.n && a.server == b.server || (i*7+k)%4 != 0 {
				continue
			}
			worst = max(worst, wholeExchange(t, a, b))
		}
	}
	if worst > 3500e6 {
		t.Errorf("the worst pair took %d ms", worst/1e6)
	}
}

// Clients may count their packets from any number, and browsers do: there is no gap before the first packet.
func TestAck_firstNumberIsNoGap(t *testing.T) {
	r := newRig(t, Server, Options{})
	r.next[Initial] = 7
	r.in(Initial, cryptoFrame(0, 4))
	if all := r.out(); len(all) > 0 {
		t.Errorf("sent %+v", all)
	}
	r.in(Initial, cryptoFrame(4, 9))
	if all := r.out(); len(all) > 0 {
		t.Errorf("sent %+v after the second", all)
	}
}

// RFC 9000 §13.2.1: an acknowledgement of the handshake leaves with the answer that the server computes, or alone
// when the answer takes long. A client has nothing to compute that its server could not wait for.
func TestAck_waitsForTheAnswer(t *testing.T) {
	kinds := func(all []left) (s string) {
		for _, f := range all {
			s += fmt.Sprintf("%d:%x ", f.level, f.kind)
		}
		return s
	}
	for name, c := range map[string]struct {
		role Role
		do   func(r *rig)
		want string
	}{
		"alone":            {Server, func(r *rig) { r.pass(answerWait - 1) }, ""},
		"the answer":       {Server, func(r *rig) { r.conn.SendCrypto(Initial, []byte("hello")) }, "0:2 0:6 "},
		"a gap":            {Server, func(r *rig) { r.next[Initial]++; r.in(Initial, cryptoFrame(6, 9)) }, "0:2 "},
		"in order":         {Server, func(r *rig) { r.in(Initial, cryptoFrame(4, 9)) }, ""},
		"late":             {Server, func(r *rig) { r.now += answerWait; r.conn.Expire(r.now) }, "0:2 "},
		"that of a client": {Client, func(*rig) {}, "0:2 "},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.role, Options{})
			if c.role == Client {
				r.out()
			}
			r.in(Initial, cryptoFrame(0, 4))
			c.do(r)
			if got := kinds(r.out()); got != c.want {
				t.Errorf("sent %q, want %q", got, c.want)
			}
		})
	}
}
