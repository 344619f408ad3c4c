package quicconn_test

import (
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/http3/quicconn"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
)

// upgrade makes the Server of the process that takes over from g, in the same world.
func (g *rig) upgrade(generation, reactors int) *rig {
	g.t.Helper()
	next := &rig{t: g.t, w: g.w, kernels: g.kernels}
	o := quicconn.Options{Secret: quicconn.Secret{byte(g.w.Seed()), 1}, Generation: generation, CloseCode: closeCode}
	next.begin(reactors, o, tlsconn.HandshakerOptions{})
	sockets, err := g.e.Duplicate(g.l)
	testutil.Must(g.t, err)
	var links []poller.FD
	for i := range g.e.Reactors() {
		near, far := g.w.Pair()
		g.s.Serve(i, near)
		links = append(links, far)
	}
	next.s.Inherit(links)
	listen := engine.ListenOptions{Suspended: true, Steering: next.s}
	next.l, err = next.e.AdoptDatagrams(sockets[0], listen, next.s.Port)
	testutil.Must(g.t, err)
	g.e.Suspend(g.l)
	g.after(time.Duration(1+g.w.Rand().IntN(5)) * time.Millisecond) // the links have to be there before datagrams are
	testutil.Must(g.t, next.e.Resume(next.l))
	return next
}

// Two processes take over, one after the other, each with another number of reactors, while clients connect and send:
// every connection goes on where it is, and new ones are the last process's.
func TestLink_connectionsGoOn(t *testing.T) {
	seeds := uint64(100)
	if testing.Short() {
		seeds = 16
	}
	var sum quicconn.Stats
	for seed := range seeds {
		g := newRig(t, seed, 1+int(seed%3), engine.ListenOptions{})
		retry := quicconn.RetryAuto
		if seed%5 == 4 {
			retry = quicconn.RetryAlways
		}
		g.use(retry)
		if seed%4 == 3 {
			g.w.Net.Loss, g.w.Net.Duplicate, g.w.Net.Corrupt = 0.02, 0.02, 0.01
		}
		var clients []*client
		arrive := func(g *rig) {
			for i := range 4 { // two are about to send, the others in their handshakes
				c := g.dial()
				clients = append(clients, c)
				if i < 2 {
					g.run("the handshake", func() bool { return c.Established })
					c.send(g.w.Rand().IntN(100_000))
				}
			}
			g.after(time.Duration(g.w.Rand().IntN(40)) * time.Millisecond)
		}
		all := []*rig{g}
		arrive(g)
		for i := range 2 {
			g = g.upgrade(1+i, 1+g.w.Rand().IntN(3))
			g.use(retry)
			all = append(all, g)
			arrive(g)
		}
		for _, c := range clients {
			g.run("the handshake", func() bool { return c.Established || c.Closed })
			c.send(50_000)
			g.run("what was sent comes back", func() bool { return c.left == 0 || c.Closed })
			if c.Closed {
				t.Fatalf("seed %d: %v", seed, c.Conn.Closed())
			}
			c.Do(func() { c.Conn.Close(closeCode) })
		}
		sessions := 0
		for i, g := range all {
			g.run("all connections end", func() bool { return g.l.Conns() == 0 })
			if sessions += len(g.sessions); g.s.Linked() != (i > 0) {
				t.Fatalf("seed %d: process %d is linked: %v", seed, i, g.s.Linked())
			}
			st := g.stats()
			sum.Add(&st)
		}
		if sessions != len(clients) {
			t.Fatalf("seed %d: %d sessions of %d clients", seed, sessions, len(clients))
		}
	}
	if sum.Passed == 0 || sum.PassLost != 0 || sum.Mailed == 0 {
		t.Errorf("%+v", sum)
	}
}

// A port that closes stays open as long as the process before is there, and reads for it.
func TestLink_keepsThePort(t *testing.T) {
	before := newRig(t, 1, 2, engine.ListenOptions{})
	c := before.connect()
	g := before.upgrade(1, 1)
	g.l.Close()
	g.after(time.Second)
	c.send(10_000)
	g.run("what was sent comes back", func() bool { return c.left == 0 })
	if g.l.Closed() || g.stats().Passed == 0 {
		t.Fatal(g.l.Closed(), g.stats())
	}
	before.e.Stop()
	g.run("the port closes", g.l.Closed)
}

// A client of a process that has ended is told so at once.
func TestLink_theProcessBeforeHasEnded(t *testing.T) {
	before := newRig(t, 1, 2, engine.ListenOptions{})
	c := before.connect()
	g := before.upgrade(1, 1)
	g.w.Net.Loss = 1 // it was killed: nobody hears of its end
	before.e.Stop()
	g.w.After(time.Millisecond, func() {
		g.w.Net.Loss = 0
		c.send(10)
	})
	g.run("the client hears of it", func() bool { return c.Closed })
	if n := g.stats().Resets; n == 0 {
		t.Fatal("no stateless reset")
	}
}
