package engine_test

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// pausing leaves the first bytes and pauses; it tells how its connection ended.
type pausing struct {
	engine.NopHandler
	paused chan struct{}
	closed chan error
	again  chan string // what is offered once more
}

func (p *pausing) OnData(c *engine.Conn, in []byte) int {
	if p.again != nil {
		p.again <- string(in)
		return len(in)
	}
	c.PauseRead()
	close(p.paused)
	return 0
}

func (p *pausing) OnClose(_ *engine.Conn, cause error) {
	if p.again != nil && len(p.again) == 0 {
		close(p.again)
	}
	p.closed <- cause
}

// A connection that does not read is told of a reset all the same.
func TestConn_resetWhilePaused(t *testing.T) {
	e, err := engine.New(engine.Options{Reactors: 1})
	testutil.Must(t, err)
	h := &pausing{paused: make(chan struct{}), closed: make(chan error, 1)}
	l := serve(t, e, engine.ListenOptions{}, func(*engine.Conn) engine.Handler { return h })
	e.Start()
	defer e.Stop()
	w := testutil.Dial(t, l.Addr().String())
	w.Send("unread")
	<-h.paused
	w.Send("and more")
	w.Reset()
	if cause := <-h.closed; !errors.Is(cause, syscall.ECONNRESET) {
		t.Fatal(cause)
	}
}

// The peer that we dialled may have sent its answer before it reset the connection: that is read first.
func TestConn_resetOfAPausedDialKeepsWhatCame(t *testing.T) {
	e, err := engine.New(engine.Options{Reactors: 1})
	testutil.Must(t, err)
	l := testutil.Listen(t)
	h := &pausing{paused: make(chan struct{}), closed: make(chan error, 1)}
	e.Start()
	defer e.Stop()
	r := e.Reactors()[0]
	conns := make(chan *engine.Conn, 1)
	r.Post(&engine.Task{Run: func(r *engine.Reactor) {
		c, err := r.Dial(poller.Addr{IP: netip.MustParseAddrPort(l.Addr().String())}, h, nil)
		if err != nil {
			t.Error(err)
		}
		conns <- c
	}})
	w := testutil.Accept(t, l)
	c := <-conns
	w.Send("answer")
	<-h.paused
	w.Reset()
	h.again = make(chan string, 1)
	r.Post(&engine.Task{Run: func(*engine.Reactor) {}}) // a tick after the reset
	r.Post(&engine.Task{Run: func(*engine.Reactor) { c.ResumeRead() }})
	if got := <-h.again; got != "answer" {
		t.Fatal(got)
	}
	<-h.closed
}

// echoThenReset sends back what came, and on an "!" ends by a reset.
type echoThenReset struct{ engine.NopHandler }

func (echoThenReset) OnData(c *engine.Conn, in []byte) int {
	if in[0] == '!' {
		c.Write([]byte("lost")) //nolint:errcheck // it is open
		c.Reset(engine.ErrClosed)
	} else {
		c.Write(in) //nolint:errcheck // as above
	}
	return len(in)
}

// A peer of a connection that is reset sees an error, not the end.
func TestConn_Reset(t *testing.T) {
	e, err := engine.New(engine.Options{Reactors: 1})
	testutil.Must(t, err)
	accept := func(*engine.Conn) engine.Handler { return echoThenReset{} }
	l := serve(t, e, engine.ListenOptions{}, accept)
	e.Start()
	defer e.Stop()
	w := testutil.Dial(t, l.Addr().String())
	w.Send("a")
	w.Want("a")
	w.Send("!")
	if n, err := w.Conn().Read(make([]byte, 8)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(n, err)
	}
}
