package session_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// open opens an exchange that the test plays and sends the head of its request.
func (s *script) open(o *muxOwner, h message.Head, end bool) *part {
	s.t.Helper()
	p := &part{}
	s.do(func() {
		p.Stream = o.mux.Open(p)
		testutil.Must(s.t, p.SendHead(&h, end))
	})
	return p
}

func TestMux_sendsAHeadThatEndsAsOneFrame(t *testing.T) {
	s, o := dialled(t, "")
	s.open(o, request("GET", "/"), true)
	s.want("head 1: " + getLine + " end")
	h := request("POST", "/")
	h.Length = 2
	p := s.open(o, h, false)
	s.want("head 3: :method=POST :scheme=http :authority=h :path=/ content-length=2")
	s.do(func() { _, _ = p.SendData([]byte("ab"), true) })
	s.want("data 3: 2 end")
	if o.mux.Streams() != 2 || o.mux.Uses() != 2 || !o.mux.Connected() {
		t.Fatal(o.mux.Streams(), o.mux.Uses())
	}
}

func TestMux_deliversInterimHeadsDataAndTrailers(t *testing.T) {
	s, o := dialled(t, "")
	p := s.open(o, request("GET", "/"), true)
	s.recv(ask(1, false, "\x08\x03103"))
	s.recv(ask(1, false, blockOK))
	s.recv(frame(nil, frameData, 0, 1, "abc"))
	s.recv(ask(1, true, "\x00\x03x-t\x01v"))
	p.want(t, "head 103", "head 200", "data 3", "trailers v")
	if o.mux.Streams() != 0 {
		t.Fatal("the exchange is not over")
	}
}

func TestMux_headAnd304WithALength(t *testing.T) {
	s, o := dialled(t, "")
	p, q := s.open(o, request("HEAD", "/"), true), s.open(o, request("GET", "/"), true)
	s.recv(append(ask(1, true, blockOK+"\x0f\x0d\x015"), ask(3, true, "\x8b\x0f\x0d\x015")...))
	p.want(t, "head 200 end")
	q.want(t, "head 304 end")
}

// RFC 9110 §6.4.1: an answer to HEAD, a 204 and a 304 have come whole with their heads, whatever an origin does
// after them.
func TestMux_whatFollowsAnAnswerWithoutContent(t *testing.T) {
	for name, then := range map[string][]byte{
		"DATA":           frame(nil, frameData, 0, 1, "evil"),
		"DATA at an end": frame(nil, frameData, flagEnd, 1, "evil"),
		"RST_STREAM":     frame(nil, frameReset, 0, 1, "\x00\x00\x00\x02"),
		"a second head":  ask(1, true, blockOK),
		"an end":         frame(nil, frameData, flagEnd, 1, ""),
		"GOAWAY":         frame(nil, frameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x00"),
		"nothing":        nil,
	} {
		for block, want := range map[string]string{blockOK: "head 200", "\x89": "head 204", "\x8b": "head 304"} {
			method := map[bool]string{true: "HEAD", false: "GET"}[block == blockOK]
			s, o := dialled(t, "")
			p := s.open(o, request(method, "/"), true)
			s.recv(append(ask(1, false, block), then...))
			if then == nil {
				s.pass(61 * time.Second)
			}
			if p.want(t, want, "data 0 end"); o.mux.Streams() != 0 {
				t.Error(name, "behind", want, "the exchange is not over")
			}
		}
	}
}

// The same, while the request is still on its way: the answer is whole, and the sender is told that its body is not
// taken.
func TestMux_whatFollowsAnEarlyAnswerWithoutContent(t *testing.T) {
	s, o := dialled(t, "")
	h := request("POST", "/")
	h.Length = message.LengthUnknown
	p := s.open(o, h, false)
	s.recv(append(ask(1, false, "\x89"), frame(nil, frameData, 0, 1, "evil")...))
	p.want(t, "head 204", "data 0 end", "reset malformed")
	if o.mux.Streams() != 0 {
		t.Fatal("the exchange is not over")
	}
}

// A receiver that panics when it is told so hears that its exchange is over.
func TestMux_panicBehindAnAnswerWithoutContent(t *testing.T) {
	s, o := dialled(t, "")
	p := s.open(o, request("GET", "/"), true)
	p.panics = true
	s.recv(append(ask(1, false, "\x89"), frame(nil, frameData, 0, 1, "evil")...))
	if p.want(t, "head 204", "data 0 end", "reset malformed"); o.mux.Streams() != 0 {
		t.Fatal("the exchange is not over")
	}
}

// A call of gRPC whose backend has nothing to say goes on, as long as a tunnel would.
func TestMux_unhurriedAnswer(t *testing.T) {
	s, o := dialled(t, "")
	h := request("POST", "/")
	h.Length = message.LengthUnknown
	p, q := s.open(o, h, false), s.open(o, h, false)
	s.do(func() {
		p.Stream.(session.Unhurried).Unhurry()
		q.Stream.(session.Unhurried).Unhurry()
	})
	s.pass(50 * time.Minute) // both requests may still come
	s.recv(append(ask(1, false, blockOK), ask(3, false, blockOK)...))
	s.pass(50 * time.Minute)
	s.do(func() { _, _ = p.SendData([]byte("x"), false) })
	s.recv(frame(nil, frameData, 0, 3, "y"))
	s.pass(50 * time.Minute)
	p.want(t, "head 200")
	q.want(t, "head 200", "data 1")
	s.recv(frame(nil, frameData, 0, 3, "y"))
	s.pass(11 * time.Minute)
	p.want(t, "reset timed out")
	q.want(t, "data 1")
}

// RFC 9113 §6.8: what is above the last stream of GOAWAY was not processed; what is below goes on.
func TestMux_goAway(t *testing.T) {
	s, o := dialled(t, "")
	p, q := s.open(o, request("GET", "/"), true), s.open(o, request("GET", "/"), true)
	s.recv(frame(nil, frameGoAway, 0, 0, "\x00\x00\x00\x01\x00\x00\x00\x00"))
	p.want(t)
	q.want(t, "reset refused")
	if o.draining != 1 || o.mux.Usable() {
		t.Fatal(o.draining)
	}
	s.recv(ask(1, true, blockOK))
	p.want(t, "head 200 end")
	s.pass(time.Second)
	select {
	case <-o.gone:
	default:
		t.Fatal("still there")
	}
}

func TestMux_resetCodes(t *testing.T) {
	for wire, want := range map[byte]string{
		7: "reset refused", 8: "reset cancelled", 0: "reset cancelled", 2: "reset aborted", 11: "reset aborted",
	} {
		s, o := dialled(t, "")
		p := s.open(o, request("GET", "/"), true)
		s.recv(frame(nil, frameReset, 0, 1, string([]byte{0, 0, 0, wire})))
		p.want(t, want)
		if o.mux.Streams() != 0 || !o.mux.Usable() {
			t.Error("one stream took the connection along")
		}
	}
}

// An exchange that is given up is free at once, also while the origin reads nothing.
func TestMux_resetFreesTheStreamAtOnce(t *testing.T) {
	s, o := dialled(t, "")
	room := o.mux.Room()
	p := s.open(o, request("GET", "/"), true)
	s.frames()
	s.do(func() { p.Reset(session.Cancelled) })
	s.want("reset 1: CANCEL")
	if o.mux.Room() != room || o.mux.Streams() != 0 {
		t.Fatal(o.mux.Room())
	}
	s.recv(append(ask(1, false, blockOK), frame(nil, frameData, flagEnd, 1, "late")...))
	p.want(t)

	s.l.SendMax = 1
	h := request("POST", "/")
	h.Length = message.LengthUnknown
	q := s.open(o, h, false)
	s.do(func() {
		if n, _ := q.SendData(make([]byte, 1<<20), false); n == 1<<20 || !q.Congested() {
			t.Fatal(n)
		}
	})
	s.do(func() { q.Reset(session.Cancelled) })
	if o.mux.Room() != room || o.mux.Streams() != 0 {
		t.Fatal(o.mux.Room())
	}
}

func TestMux_deadlinesAreOfOneStream(t *testing.T) {
	s := newScript(t, engine.Options{})
	o := &muxOwner{opts: session.MuxOptions{FirstByte: 5 * time.Second, BetweenBytes: 3 * time.Second}}
	s.dial(o, "")
	p := s.open(o, request("GET", "/"), true)
	s.frames()
	s.pass(2 * time.Second)
	q := s.open(o, request("GET", "/"), true)
	s.recv(ask(3, false, blockOK))
	s.frames()
	s.pass(2 * time.Second)
	s.recv(frame(nil, frameData, 0, 3, "x"))
	p.want(t)
	s.pass(1500 * time.Millisecond)
	p.want(t, "reset timed out")
	s.want("reset 1: CANCEL")
	q.want(t, "head 200", "data 1")
	if !o.mux.Usable() {
		t.Fatal("the connection went along")
	}
	s.pass(3 * time.Second)
	q.want(t, "reset timed out")
	s.want("reset 3: CANCEL")
	if o.mux.Usable() {
		t.Fatal("a connection of which nothing came is used further")
	}
}

// A stream of which nothing is released takes its window, and no more; the others do not notice.
func TestMux_aStalledStreamStallsNoOther(t *testing.T) {
	s, o := dialled(t, "")
	p, q := s.open(o, request("GET", "/"), true), s.open(o, request("GET", "/"), true)
	p.keep = true
	s.recv(append(ask(1, false, blockOK), ask(3, false, blockOK)...))
	piece := string(make([]byte, 16000))
	for range 4 {
		s.recv(frame(nil, frameData, 0, 1, piece))
	}
	for range 200 {
		s.recv(frame(nil, frameData, 0, 3, piece))
	}
	s.recv(frame(nil, frameData, flagEnd, 3, ""))
	if n := len(q.heard); n != 202 || q.heard[n-1] != "data 0 end" || len(p.heard) != 5 {
		t.Fatal(n, len(p.heard))
	}
}

func TestMux_connectionLost(t *testing.T) {
	s, o := dialled(t, "")
	p, q := s.open(o, request("GET", "/"), true), s.open(o, request("GET", "/"), true)
	s.recv(ask(3, false, blockOK))
	s.l.Finish(s.fd)
	s.r.Tick()
	p.want(t, "reset connection lost")
	q.want(t, "head 200", "reset truncated")
	if err := <-o.gone; !errors.Is(err, engine.ErrClosed) {
		t.Fatal(err)
	}
	if o.mux.Usable() {
		t.Fatal("a closed connection can be used")
	}
	late := s.open(o, request("GET", "/"), true)
	late.want(t, "reset connection lost")
}

// RFC 8441 §3: extended CONNECT only once the origin's SETTINGS allow it.
func TestMux_tunnelWaitsForSettings(t *testing.T) {
	for _, allowed := range []bool{true, false} {
		s, o := dialled(t, "-")
		h := request("GET", "/ws")
		h.Upgrade = true
		h.Base = append(h.Base, "websocket"...)
		h.Protocol = message.Span{At: uint32(len(h.Base) - 9), Len: 9}
		p := s.open(o, h, true)
		s.want()
		settings := ""
		if allowed {
			settings = setting(8, 1)
		}
		s.recv(frame(frame(nil, frameSettings, 0, 0, settings), frameSettings, flagAck, 0, ""))
		if !allowed {
			p.want(t, "reset no upgrade")
			continue
		}
		s.want("head 1: :method=CONNECT :scheme=http :authority=h :path=/ws :protocol=websocket")
		s.recv(append(ask(1, false, blockOK), frame(nil, frameData, 0, 1, "hi")...))
		p.want(t, "head 101 tunnel", "data 2")
		s.do(func() { _, _ = p.SendData([]byte("ho"), true) })
		s.want("data 1: 2 end")
		s.recv(frame(nil, frameData, flagEnd, 1, ""))
		p.want(t, "data 0 end")
		if o.mux.Streams() != 0 {
			t.Fatal("the tunnel is not over")
		}
	}
}

func TestMux_earlyAnswer(t *testing.T) {
	s, o := dialled(t, "")
	h := request("POST", "/")
	h.Length = message.LengthUnknown
	p := s.open(o, h, false)
	s.recv(append(ask(1, true, "\x08\x03403"), frame(nil, frameReset, 0, 1, "\x00\x00\x00\x00")...))
	p.want(t, "head 403 end", "reset cancelled")
	if o.mux.Streams() != 0 {
		t.Fatal("the exchange is not over")
	}
}

func TestMux_idleConnectionEnds(t *testing.T) {
	s, o := dialled(t, "")
	s.do(func() { o.mux.SetIdleTimeout(5 * time.Second) })
	p := s.open(o, request("GET", "/"), true)
	s.pass(8 * time.Second)
	s.recv(ask(1, true, blockOK))
	p.want(t, "head 200 end")
	s.frames()
	s.pass(4 * time.Second)
	s.want()
	s.pass(3 * time.Second)
	s.want("goaway 0: NO_ERROR")
	if s.l.Sock(s.fd).Open && !s.l.Sock(s.fd).FIN {
		t.Fatal("still open")
	}
}

// A connection that was silent for long is asked whether it lives, with the request: one that broke unseen is found out
// soon, and the request can go elsewhere.
func TestMux_doubtfulConnectionIsAsked(t *testing.T) {
	s, o := dialled(t, "")
	s.open(o, request("GET", "/"), true)
	s.recv(ask(1, true, blockOK))
	s.frames()
	s.pass(40 * time.Second)
	p := s.open(o, request("GET", "/"), true)
	s.want("ping", "head 3: "+getLine+" end")
	s.pass(11 * time.Second)
	p.want(t, "reset connection lost")
}

// Heads that an origin does not read do not pile up.
func TestMux_noRoomWhereTheOriginReadsNothing(t *testing.T) {
	s, o := dialled(t, "")
	s.l.SendMax = 1
	h := request("GET", "/")
	h.Add("x", strings.Repeat("~", 15<<10))
	n := 0
	for ; o.mux.Usable() && n < 100; n++ {
		s.open(o, h, true)
	}
	if n < 16 || n > 24 {
		t.Fatal(n, "requests wait")
	}
	s.l.SendMax = 0
	s.l.Drained(s.fd)
	s.r.Tick()
	if !o.mux.Usable() || o.mux.Streams() != n {
		t.Fatal(o.mux.Room(), o.mux.Streams())
	}
}

// A head that many origins would refuse waits until SETTINGS say whether this one does, and all that comes after it
// waits too. Smaller ones leave at once.
func TestMux_largeHeadsWaitForSettings(t *testing.T) {
	const limit = 20 << 10
	long := strings.Repeat("x", 9<<10)
	const post = ":method=POST :scheme=http :authority=h :path=/ x-long="
	body := func(p *part, s string, end bool) func() {
		return func() {
			n, err := p.SendData([]byte(s), end)
			p.note("took %d %v", n, err)
		}
	}
	for name, c := range map[string]struct {
		length int64
		long   string
		before func(p *part) func() // on the reactor
		after  func(p *part) func() // in OnSendable
		sent   []string
		heard  []string
	}{
		"a body": {
			3, long,
			func(p *part) func() { return body(p, "abc", true) }, func(p *part) func() { return body(p, "abc", true) },
			[]string{"head 3: " + post + long + " content-length=3", "data 3: 3 end"},
			[]string{"took 0 <nil>", "took 3 <nil>"},
		},
		"an end": {
			-1, long, func(p *part) func() { return body(p, "", true) }, nil,
			[]string{"head 3: " + post + long + " end"}, []string{"took 0 <nil>"},
		},
		"no end": {
			-1, long, nil, func(p *part) func() { return func() { p.note("sendable %v", p.Congested()) } },
			[]string{"head 3: " + post + long}, []string{"sendable false"},
		},
		"too large": {3, long + long + long, nil, nil, nil, []string{"reset " + session.HeadSize.String()}},
		"reset":     {3, long, func(p *part) func() { return func() { p.Reset(session.Cancelled) } }, nil, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, o := dialled(t, "-")
			h := request("POST", "/")
			h.Length = c.length
			h.Add("X-Long", c.long)
			p := s.open(o, h, false)
			s.open(o, request("GET", "/"), true)
			s.want("head 1: " + getLine + " end")
			if name != "reset" && !p.Congested() {
				t.Error("not congested while its head waits")
			}
			if c.before != nil {
				s.do(c.before(p))
			}
			if c.after != nil {
				p.onSend = c.after(p)
			}
			s.want()
			settings := frame(nil, frameSettings, 0, 0, setting(6, limit))
			s.recv(frame(settings, frameSettings, flagAck, 0, ""))
			got := s.frames()
			if strings.Join(got, ", ") != strings.Join(c.sent, ", ") {
				t.Errorf("sent %.200q", got)
			}
			p.want(t, c.heard...)
			if n := 1 + min(len(c.sent), 1); o.mux.Streams() != n {
				t.Errorf("%d exchanges, not %d", o.mux.Streams(), n)
			}
		})
	}
}

// Trailers that the origin does not take end their exchange, not its connection.
func TestMux_largeTrailers(t *testing.T) {
	s, o := dialled(t, setting(6, 1000))
	h := request("POST", "/")
	h.Length = message.LengthUnknown
	p, q := s.open(o, h, false), s.open(o, request("GET", "/"), true)
	s.frames()
	s.do(func() {
		var trailers message.Head
		trailers.Add("X-Long", strings.Repeat("x", 1000))
		p.note("%v", p.SendTrailers(&trailers))
	})
	p.want(t, session.ErrDead.Error(), "reset "+session.HeadSize.String())
	s.want("reset 1: CANCEL")
	s.recv(ask(3, true, blockOK))
	q.want(t, "head 200 end")
}

// What was in progress when the origin took something amiss is not said to be safe to repeat, whether it is below the
// last stream of GOAWAY or not.
func TestMux_goAwayWithAnError(t *testing.T) {
	s, o := dialled(t, "")
	var parts []*part
	for range 3 {
		parts = append(parts, s.open(o, request("GET", "/"), true))
	}
	s.recv(ask(1, false, blockOK))
	s.recv(frame(nil, frameGoAway, 0, 0, "\x00\x00\x00\x03\x00\x00\x00\x01"))
	parts[2].want(t, "reset "+session.WentAway.String())
	s.do(func() { o.mux.Close() })
	parts[0].want(t, "head 200", "reset "+session.Truncated.String())
	parts[1].want(t, "reset "+session.WentAway.String())
}
