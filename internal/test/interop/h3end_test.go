package interop

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/quic"
)

// h3End is a Conn of package h3 on a link. The goroutine of the port owns it.
type h3End struct {
	t         *testing.T
	link      *quicLink
	conn      h3.Conn
	head      message.Head
	exchanges map[*h3.Stream]*h3Exchange
	serve     func(x *h3Exchange) // a request came whole, or began a tunnel
	settled   chan struct{}       // closed when the settings of the peer came
	goAway    chan struct{}       // closed when its GOAWAY came
	settle    sync.Once
	leave     sync.Once
}

// h3Exchange is one request and its answer, at either end.
type h3Exchange struct {
	end      *h3End
	stream   *h3.Stream
	method   string
	target   string
	status   int
	interim  []int
	fields   map[string]string
	trailers map[string]string
	got      []byte // the body that came
	tunnel   bool
	out      []byte // what is to be sent
	last     bool   // the end follows out
	sum      string // a trailer field that does
	err      error
	over     chan struct{} // closed when all came, or err is set
	moved    chan struct{} // has an element when a tunnel has got bytes
}

// take has the events of a link go to a Conn.
func (e *h3End) take(l *quicLink, role h3.Role, o *h3.Options) {
	e.link, e.exchanges = l, map[*h3.Stream]*h3Exchange{}
	e.settled, e.goAway = make(chan struct{}), make(chan struct{})
	e.conn.Init(role, &l.conn, o)
	l.onEvent = func(in *quic.Event) {
		for {
			n, ev := e.conn.Next(in, &e.head, l.port.now())
			if ev.Kind == h3.NeedMore {
				return
			}
			e.on(&ev, role)
			in.Body = in.Body[n:]
		}
	}
}

func (e *h3End) on(ev *h3.Event, role h3.Role) {
	x := e.exchanges[ev.Stream]
	if ev.Kind == h3.HeadDone && role == h3.Server {
		x = e.newExchange(ev.Stream)
		x.method, x.target = string(e.head.MethodBytes()), string(e.head.Bytes(e.head.Target))
	}
	switch ev.Kind {
	case h3.Settings:
		if e.conn.ExtendedConnect() { // else there is room for streams
			e.settle.Do(func() { close(e.settled) })
		}
	case h3.GoAway:
		e.leave.Do(func() { close(e.goAway) })
	case h3.HeadDone:
		x.onHead(e, role)
	case h3.Data:
		x.got = append(x.got, ev.Body...)
		if e.conn.Release(ev.Stream, len(ev.Body)); x.tunnel {
			x.onTunnel(role, ev.End)
		}
	case h3.Trailers:
		x.trailers = fieldsOf(&e.head)
	case h3.Sendable:
		x.send()
	case h3.Reset:
		if x != nil {
			x.finish(fmt.Errorf("reset: %v: %w", ev.Code, ev.Err))
		}
	case h3.Fault:
		for _, x := range e.exchanges {
			x.finish(ev.Err)
		}
	}
	switch {
	case !ev.End:
	case role == h3.Client:
		x.finish(nil)
	case !x.tunnel:
		e.serve(x)
	}
}

func (e *h3End) newExchange(s *h3.Stream) *h3Exchange {
	x := &h3Exchange{end: e, stream: s, over: make(chan struct{}), moved: make(chan struct{}, 100)}
	e.exchanges[s] = x
	return x
}

func fieldsOf(h *message.Head) map[string]string {
	m := map[string]string{}
	for i := range h.Fields {
		m[string(h.Name(i))] = string(h.Value(i))
	}
	return m
}

func (x *h3Exchange) onHead(e *h3End, role h3.Role) {
	if role == h3.Client && e.head.Status < 200 && !e.head.Tunnel {
		x.interim = append(x.interim, int(e.head.Status))
		return
	}
	x.status, x.fields = int(e.head.Status), fieldsOf(&e.head)
	if x.tunnel = e.head.Upgrade; !x.tunnel {
		return
	}
	if role == h3.Server {
		e.serve(x)
	} else {
		x.moved <- struct{}{}
	}
}

// onTunnel sends back what came through a tunnel, or tells the test.
func (x *h3Exchange) onTunnel(role h3.Role, end bool) {
	if role == h3.Server {
		x.out, x.last, x.got = append(x.out, x.got...), end, nil
		x.send()
	} else {
		x.moved <- struct{}{}
	}
}

func (x *h3Exchange) finish(err error) {
	if x.err == nil {
		x.err = err
	}
	delete(x.end.exchanges, x.stream)
	close(x.over)
}

// answer sends a head and then a body.
func (x *h3Exchange) answer(h *message.Head, body []byte) {
	if err := x.end.conn.SendHead(x.stream, h, false); err != nil {
		x.end.t.Error(err)
		return
	}
	x.out, x.last = body, true
	x.send()
}

func (x *h3Exchange) send() {
	if len(x.out) == 0 && !x.last {
		return
	}
	n, err := x.end.conn.SendData(x.stream, x.out, x.last && x.sum == "")
	if err != nil && !errors.Is(err, h3.ErrDead) {
		x.end.t.Error(err)
	}
	if x.out = x.out[n:]; len(x.out) > 0 || !x.last || x.sum == "" {
		return
	}
	var h message.Head
	h.Add("X-Sum", x.sum)
	if err := x.end.conn.SendTrailers(x.stream, &h); err != nil {
		x.end.t.Error(err)
	}
}

func h3Answer(status int, length int64) *message.Head {
	return &message.Head{Status: uint16(status), Length: length, Chunked: length < 0}
}

func h3Request(method, target string) *message.Head {
	h := &message.Head{HTTPS: true}
	h.SetMethod(method)
	h.SetTarget(target)
	h.SetAuthority("a.test")
	return h
}

// ask sends a request. It waits for room.
func (e *h3End) ask(h *message.Head, body []byte, sum string) (x *h3Exchange) {
	e.t.Helper()
	for {
		var room chan struct{}
		var err error
		e.link.port.call(func() {
			room = e.link.room
			var s *h3.Stream
			if s, err = e.conn.Open(e.link.port.now()); err != nil {
				return
			}
			if err = e.conn.SendHead(s, h, body == nil && !h.Upgrade); err == nil {
				x = e.newExchange(s)
				x.out, x.last, x.sum = body, body != nil, sum
				x.send()
			}
		})
		if err == h3.ErrNoRoom {
			err = e.link.wait(room, "room for a stream")
		}
		switch {
		case err != nil:
			e.t.Fatal(err)
		case x != nil:
			return x
		}
	}
}

// await waits until the answer is whole.
func (x *h3Exchange) await() error {
	if err := x.end.link.wait(x.over, "the answer"); err != nil {
		return err
	}
	return x.err
}
