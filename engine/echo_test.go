package engine_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// echo writes back what it reads and keeps to its back-pressure.
type echo struct{ engine.NopHandler }

func (echo) OnData(c *engine.Conn, in []byte) int {
	c.Write(in)
	if c.Congested() {
		c.PauseRead()
	}
	return len(in)
}

func (echo) OnSendable(c *engine.Conn) { c.ResumeRead() }

func startEcho(t *testing.T, o engine.Options) *engine.Listener {
	t.Helper()
	e, err := engine.New(o)
	testutil.Must(t, err)
	l := serve(t, e, engine.ListenOptions{Addr: poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}},
		func(*engine.Conn) engine.Handler { return echo{} })
	e.Start()
	t.Cleanup(e.Stop)
	return l
}

func TestEngine_echoesMoreThanAnyBuffer(t *testing.T) {
	for _, park := range []poller.Park{poller.ParkAuto, poller.ParkRuntime, poller.ParkSyscall, poller.ParkSpin} {
		l := startEcho(t, engine.Options{Reactors: 2, Park: park})
		c, err := net.Dial("tcp", l.Addr().String())
		testutil.Must(t, err)
		defer c.Close()
		sent := make([]byte, 8<<20)
		rand.Read(sent)
		go func() {
			c.Write(sent)
			c.(*net.TCPConn).CloseWrite()
		}()
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("park %d: got %d bytes of %d, %v", park, len(got), len(sent), err)
		}
	}
}
