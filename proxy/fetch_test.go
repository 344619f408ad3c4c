package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// caller is code that fetches: it sends a body as fast as it may, and releases the answer piece by piece.
// Owned by its reactor, but for done.
type caller struct {
	stream session.Stream
	rest   []byte // of the request's body
	more   bool   // its end was not sent

	status  int
	body    strings.Builder
	sum     string
	held    int         // bytes of the answer that are not released
	holds   bool        // bytes of the answer are not released as they come
	done    chan string // how it ended
	inside  bool        // a method of the stream runs
	maximum int
}

func (c *caller) call(f func()) {
	c.inside = true
	f()
	c.inside = false
}

func (c *caller) pump() {
	for c.more {
		var n int
		c.call(func() { n, _ = c.stream.SendData(c.rest, true) })
		c.rest = c.rest[n:]
		if c.more = len(c.rest) > 0; n == 0 {
			return
		}
	}
}

func (c *caller) end(how string) {
	if c.inside {
		how = "nested: " + how
	}
	c.done <- how
}

func (c *caller) OnHead(_ session.Stream, h *message.Head, end bool) {
	c.status = int(h.Status)
	if end {
		c.end("head")
	}
}

func (c *caller) OnData(s session.Stream, p []byte, end bool) {
	c.body.Write(p)
	if c.held += len(p); !c.holds {
		c.held = 0
		s.Release(len(p))
	}
	c.maximum = max(c.maximum, c.held)
	if end {
		c.end("data")
	}
}

func (c *caller) OnTrailers(_ session.Stream, h *message.Head) {
	c.sum = h.Get("X-Sum")
	c.end("trailers")
}

func (c *caller) OnSendable(session.Stream) { c.pump() }
func (c *caller) OnReset(_ session.Stream, code session.Code, _ error) {
	c.end("reset " + code.String())
}

// fetch begins a request on the proxy of r.
func (r *rig) fetch(c *caller, method, path, body string) {
	c.done = make(chan string, 1)
	r.on(func(reactor *engine.Reactor) { r.begin(c, reactor, method, path, body) })
}

// begin is fetch on a reactor.
func (r *rig) begin(c *caller, reactor *engine.Reactor, method, path, body string) {
	h := headOf(method, "http", "a", path)
	h.Length = int64(len(body))
	c.rest, c.more = []byte(body), body != ""
	c.stream = r.proxy.Service(&proxy.Listener{}).Fetch(reactor, nil, c)
	c.call(func() { c.stream.SendHead(h, body == "") })
	c.pump()
}

// on runs f on the first reactor.
func (r *rig) on(f func(*engine.Reactor)) {
	done := make(chan struct{})
	r.engine.Reactors()[0].Post(&engine.Task{Run: func(re *engine.Reactor) { f(re); close(done) }})
	<-done
}

func TestFetch(t *testing.T) {
	var log recorder
	r := filterRig(t, log.filter("f", true))
	large := strings.Repeat("0123456789abcdef", 1<<16)
	for _, c := range []struct {
		method, path, body string
		status             int
		want, how          string
	}{
		{"GET", "/", "", 200, "", "head"},
		{"POST", "/", "hello", 200, "hello", "data"},
		{"POST", "/", large, 200, large, "data"},
		{"POST", "/trailers", "hello", 200, "hello", "trailers"},
		{"GET", "/own", "", 200, "own", "data"},
		{"HEAD", "/own", "", 200, "", "data"},
		{"POST", "/own", large, 200, "own", "data"},
	} {
		var got caller
		r.fetch(&got, c.method, c.path, c.body)
		if how := <-got.done; how != c.how || got.status != c.status || got.body.String() != c.want {
			t.Errorf("%s %s: %s, %d with %d bytes", c.method, c.path, how, got.status, got.body.Len())
		}
		if c.how == "trailers" && got.sum != "1" {
			t.Error("the trailers are lost")
		}
		if notes := strings.Join(log.take(), ", "); !strings.Contains(notes, "early f, request f") {
			t.Error("filters:", notes)
		}
		r.settled(t)
	}
	var got caller
	r.fetch(&got, "GET", "/dead", "")
	if how := <-got.done; how != "data" || got.status != 502 || !strings.Contains(got.body.String(), "not answer") {
		t.Errorf("a dead backend: %s, %d %s", how, got.status, &got.body)
	}
	r.settled(t)
}

// Code that releases nothing is sent no more than its share, and may end the exchange.
func TestFetch_backPressure(t *testing.T) {
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, io.LimitReader(zeros{}, 1<<20))
	}))
	got := caller{holds: true}
	r.fetch(&got, "GET", "/", "")
	for released := 0; released < 1<<20; {
		r.on(func(*engine.Reactor) {
			n := got.held
			got.held = 0
			released += n
			got.stream.Release(n)
		})
	}
	if how := <-got.done; how != "data" || got.body.Len() != 1<<20 || got.maximum > 64<<10 {
		t.Errorf("%s, %d bytes, %d of them owed at once", how, got.body.Len(), got.maximum)
	}
	r.settled(t)
	got = caller{holds: true}
	r.fetch(&got, "GET", "/", "")
	r.on(func(*engine.Reactor) { got.stream.Reset(session.Cancelled) })
	r.settled(t)
	select {
	case how := <-got.done:
		t.Errorf("after a reset: %s", how)
	default:
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// An exchange that cannot go on resets the code's stream, and what is out of order is refused.
func TestFetch_ends(t *testing.T) {
	r := handlerRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "begun")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	var got caller
	r.fetch(&got, "GET", "/", "")
	if how := <-got.done; how != "reset cancelled" {
		t.Error("a handler that gives up:", how)
	}
	r.on(func(reactor *engine.Reactor) {
		s := r.proxy.Service(&proxy.Listener{}).Fetch(reactor, nil, &got)
		if _, err := s.SendData(nil, true); err != session.ErrOrder {
			t.Error("a body before its head:", err)
		}
		if err := s.SendHead(headOf("CONNECT", "http", "a:1", "a:1"), true); err != session.ErrOrder {
			t.Error("CONNECT:", err)
		}
		s.Reset(session.Cancelled)
		if err := s.SendHead(headOf("GET", "http", "a", "/"), true); err != session.ErrDead {
			t.Error("after a reset:", err)
		}
	})
	r.settled(t)
}
