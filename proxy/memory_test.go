package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// asking opens a connection of HTTP/2 that asks n times and takes nothing of the answers.
func asking(t *testing.T, addr string, n int) net.Conn {
	t.Helper()
	c := dialFramed(t, addr, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	for i := range n {
		err := writeHead(c.Framer, uint32(2*i+1), true,
			":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/")
		if err != nil {
			t.Fatal(err)
		}
	}
	return c.conn
}

// What is held for clients that take nothing is in the budget of memory: it is exceeded by small reads at most, and it
// is given back.
func TestProxy_heldBodiesAreInTheBudget(t *testing.T) {
	const budget, streams, size = 4 << 20, 128, 256 << 10
	origin := newFaulty(t, "h1", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		w.Write(make([]byte, size))
	})
	s := setStage(t, stageOptions{
		origin: origin.address, engine: engine.Options{Memory: budget}, session: session.ServerOptions{H2C: true},
	})
	c := asking(t, s.addr(), streams)
	held, still := int64(0), 0
	testutil.Eventually(t, testutil.Patience, func() bool {
		n := s.engine.Stats().BufBytes
		if still++; n != held {
			held, still = n, 0
		}
		return held >= budget/2 && still > 20
	}, "no bodies are held")
	t.Log(held, "bytes are held")
	if most := int64(budget + streams*16<<10); held > most {
		t.Errorf("%d bytes are held, want %d at most", held, most)
	}
	c.Close()
	testutil.Eventually(t, testutil.Patience, func() bool { return s.engine.Stats().BufBytes == 0 },
		"what was held is not given back")
}

// Exchanges that wait for their answers are in the budget too: beyond it further ones are refused, not the first.
func TestProxy_waitingExchangesAreInTheBudget(t *testing.T) {
	const budget, streams = 512 << 10, 128
	asked := make(chan bool, streams)
	wait := make(chan bool)
	origin := newFaulty(t, "h1", func(http.ResponseWriter, *http.Request) {
		asked <- true
		<-wait
	})
	s := setStage(t, stageOptions{
		origin: origin.address, engine: engine.Options{Memory: budget}, session: session.ServerOptions{H2C: true},
	})
	c := asking(t, s.addr(), streams)
	refused := 0
	f := http2.NewFramer(io.Discard, c)
	for refused == 0 {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if r, is := frame.(*http2.RSTStreamFrame); is {
			if r.ErrCode != http2.ErrCodeRefusedStream {
				t.Fatal(r)
			}
			refused++
		}
	}
	for range streams / 4 {
		<-asked
	}
	if n := s.engine.Stats().BufBytes; n < budget/2 || n > budget*3/2 {
		t.Errorf("%d bytes are counted, the budget is %d", n, budget)
	}
	c.Close()
	close(wait)
	testutil.Eventually(t, testutil.Patience, func() bool { return s.engine.Stats().BufBytes == 0 },
		"what was held is not given back")
}

// A body that was received whole is in memory once, while it waits for its backend too.
func TestProxy_bufferedBodiesAreHeldOnce(t *testing.T) {
	const size = 8 << 20 // more than the kernel takes
	origin := testutil.Listen(t)
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		return []proxy.Route{{To: to(e, origin.Addr().String()), BufferRequest: size}}
	})
	w := r.wire(t)
	w.Send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", size), strings.Repeat("x", size))
	c, err := origin.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if n := r.engine.Stats().BufBytes; n < size || n > size*3/2 {
		t.Errorf("%d bytes are held for a body of %d", n, size)
	}
}
