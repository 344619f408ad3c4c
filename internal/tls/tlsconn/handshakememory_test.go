package tlsconn_test

import (
	"crypto/tls"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// handshakeSize is what the budget is charged for a handshake that was begun.
const handshakeSize = 30 << 10

// held waits until the budget is charged for n handshakes, and not for one more.
func (v *house) held(n int) {
	v.t.Helper()
	testutil.Eventually(v.t, patience, func() bool {
		bytes := v.engine.Stats().BufBytes
		return bytes >= int64(n*handshakeSize) && bytes < int64((n+1)*handshakeSize) && (n > 0 || bytes == 0)
	})
}

// What a handshake takes is charged to the budget of memory while it lasts and given back however it ends.
func TestHeld_untilItEnds(t *testing.T) {
	v := newHouse(t, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{}, echoes)
	first := hello(t)
	var clients []*testutil.Wire
	for range 5 {
		w := testutil.Dial(t, v.addr)
		w.Send(string(first))
		clients = append(clients, w)
	}
	silent := testutil.Dial(t, v.addr)
	v.held(len(clients))
	clients[0].Close()
	v.held(4)
	clients[1].Send("\x14\x03\x03\x00\x01\x02") // no ChangeCipherSpec: told by an alert
	v.held(3)
	clients[2].Send("\x15\x03\x01\x00\x02\x02\x28") // an alert of the client
	v.held(2)
	clients[3].Reset()
	v.held(1)
	exchange(t, v.dial(clientConfig()), noise(10))
	v.held(1)
	silent.Close()
	clients[4].Close()
	v.held(0)

	const says = "no TLS here\n"
	l := testutil.Listen(t)
	go func() {
		if c, err := l.Accept(); err == nil {
			io.ReadFull(c, make([]byte, 1))
			v.held(1)
			io.WriteString(c, says)
			c.Close()
		}
	}()
	h := &events{}
	v.dialOut(l.Addr().String(), &tlsconn.ClientOptions{Config: clientConfig()}, h, nil)
	h.until(t, func() bool { return h.closed })
	v.held(0)
}

// One that the callback of a configuration keeps is charged as long as its goroutine lives, and not twice.
func TestHeld_untilItsGoroutineEnds(t *testing.T) {
	entered, leave := make(chan bool), make(chan bool)
	o := serverConfig()
	o.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		entered <- true
		<-leave
		return nil, nil
	}
	v := newHouse(t, tlsconn.HandshakerOptions{Computing: 1, Timeout: time.Minute})
	v.serve(tlsconn.ServerOptions{Config: o}, echoes)
	w := testutil.Dial(t, v.addr)
	w.Send(string(hello(t)))
	<-entered
	second := testutil.Dial(t, v.addr) // waits for its turn: nothing but its ClientHello is kept
	second.Send(string(hello(t)))
	testutil.Eventually(t, patience, func() bool { return v.hs.Stats().Queued == 1 })
	v.held(1)
	second.Close()
	testutil.Eventually(t, patience, func() bool { return v.hs.Stats().Queued == 0 })
	w.Reset() // FIN alone would be told to the goroutine
	testutil.Eventually(t, patience, func() bool { return v.engine.Conns() == 0 })
	v.held(1)
	leave <- true
	v.held(0)
}

// The charge is what such a handshake takes.
func TestHeld_isWhatItTakes(t *testing.T) {
	if testutil.RaceOn {
		t.Skip("the race detector has memory of its own")
	}
	v := newHouse(t, tlsconn.HandshakerOptions{Timeout: time.Minute}).serve(tlsconn.ServerOptions{}, echoes)
	first := hello(t)
	const handshakes = 400
	before := inUse()
	for range handshakes {
		c := v.connect()
		c.Write(first)
	}
	testutil.Eventually(t, patience, func() bool {
		s := v.hs.Stats()
		return s.Current == handshakes && s.Computing == 0 && s.Queued == 0
	})
	if charged := v.engine.Stats().BufBytes / handshakes; charged < handshakeSize || charged > handshakeSize+4<<10 {
		t.Errorf("charged with %d bytes", charged)
	}
	n := (inUse() - before) / handshakes
	t.Logf("%d bytes each, a client of package net among them", n)
	if n > handshakeSize*5/4 || n < handshakeSize/2 {
		t.Errorf("a handshake that waits takes %d bytes and is charged with %d", n, handshakeSize)
	}
}

// inUse is what live objects and stacks take.
func inUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
