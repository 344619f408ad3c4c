package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
)

// Whatever ends a connection, each function of AtEnd is called once, after OnClose.
func TestConn_atEnd(t *testing.T) {
	broken := errors.New("broken")
	for name, end := range map[string]func(g *rig, h *guest, c *engine.Conn, fd poller.FD){
		"Close": func(g *rig, _ *guest, c *engine.Conn, fd poller.FD) {
			g.on(func() { c.Close(nil) })
			g.loop.Finish(fd)
		},
		"no end of the client": func(g *rig, _ *guest, c *engine.Conn, _ poller.FD) {
			g.on(func() { c.Close(nil) })
			g.pass(time.Minute)
		},
		"cause": func(g *rig, _ *guest, c *engine.Conn, _ poller.FD) { g.on(func() { c.Close(broken) }) },
		"Reset": func(g *rig, _ *guest, c *engine.Conn, _ poller.FD) { g.on(func() { c.Reset(broken) }) },
		"timeout": func(g *rig, _ *guest, c *engine.Conn, _ poller.FD) {
			g.on(func() { c.SetTimeout(time.Second) })
			g.pass(time.Minute)
		},
		"panic": func(g *rig, h *guest, _ *engine.Conn, fd poller.FD) {
			h.onData = func(*engine.Conn, []byte) int { panic(broken) }
			g.inject(fd, "x")
		},
		"panic in OnClose": func(g *rig, h *guest, c *engine.Conn, _ poller.FD) {
			h.onClose = func(*engine.Conn, error) { panic(broken) }
			g.on(func() { c.Close(broken) })
		},
		"another handler": func(g *rig, _ *guest, c *engine.Conn, fd poller.FD) {
			g.on(func() { c.SetHandler(engine.NopHandler{}) })
			g.loop.Finish(fd)
		},
		"given": func(g *rig, _ *guest, _ *engine.Conn, _ poller.FD) {
			g.engine.Suspend(g.listener)
			g.give(1)
		},
		"left": func(g *rig, _ *guest, c *engine.Conn, _ poller.FD) { g.on(func() { c.Leave() }) },
		"stop": func(g *rig, _ *guest, _ *engine.Conn, _ poller.FD) { g.engine.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, engine.Options{})
			h := &guest{}
			h.onTimeout = func(c *engine.Conn) { c.Close(engine.ErrTimeout) }
			c, fd := g.open(h)
			seen := ""
			g.on(func() {
				c.AtEnd(func() { seen = h.events() })
				c.AtEnd(func() { h.note("end") })
			})
			end(g, h, c, fd)
			g.ticks(3)
			n := 0
			for _, event := range h.log {
				if event == "end" {
					n++
				}
			}
			if n != 1 || c.Open() || seen+" end" != h.events() {
				t.Errorf("%d ends: %s; the first one: %s", n, h.events(), seen)
			}
		})
	}
}

// A connection that is refused when it was accepted has an end, too.
func TestConn_atEndOfARefusedConn(t *testing.T) {
	for _, panics := range []bool{false, true} {
		g := newRig(t, engine.Options{})
		g.listen(engine.ListenOptions{})
		ends := 0
		g.accept = func(c *engine.Conn) engine.Handler {
			c.AtEnd(func() { ends++ })
			if panics {
				panic(errors.New("accept"))
			}
			return nil
		}
		g.loop.Offer(g.door, loopback)
		if g.ticks(3); ends != 1 {
			t.Errorf("%d ends", ends)
		}
	}
}
