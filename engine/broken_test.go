package engine_test

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/testutil"
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

// Who does not read hears of a reset all the same.
func TestConn_resetWhilePaused(t *testing.T) {
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		t.Fatal(err)
	}
	h := &pausing{paused: make(chan struct{}), closed: make(chan error, 1)}
	l, err := e.Listen(engine.ListenOptions{Addr: loopback}, func(*engine.Conn) engine.Handler { return h })
	if err != nil {
		t.Fatal(err)
	}
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

// Whom we dialled may have sent its answer before it reset the connection: that is read first.
func TestConn_resetOfAPausedDialKeepsWhatCame(t *testing.T) {
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		t.Fatal(err)
	}
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
	r.Post(&engine.Task{Run: func(*engine.Reactor) {}}) // a tick behind the reset
	r.Post(&engine.Task{Run: func(*engine.Reactor) { c.ResumeRead() }})
	if got := <-h.again; got != "answer" {
		t.Fatal(got)
	}
	<-h.closed
}
