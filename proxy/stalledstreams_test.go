package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

// stuckOrigin answers /big without an end and reads nothing of /upload; anything else it mirrors.
func stuckOrigin(t *testing.T, sent *atomic.Int64) *versioned {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) }) // before the server's own end
	v := newVersioned(t, "h2c", 0, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/big":
			counted(w, 1<<40, sent)
		case "/upload":
			select {
			case <-over:
			case <-r.Context().Done():
			}
		default:
			body, _ := io.ReadAll(r.Body)
			w.Write(body)
		}
	})
	t.Cleanup(v.CloseClientConnections)
	return v
}

// A client that stops reading and a backend that stops reading stop nobody else on the connection that all share, and
// hold no more than their windows and the buffers of their sockets.
func TestMultiplexed_stuckExchangesStopNobody(t *testing.T) {
	var answered, uploaded atomic.Int64
	v := stuckOrigin(t, &answered)
	var u *upstream.Upstream
	r := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
		u = upstream.New(e, upstream.Options{
			Backends: backend.Of(v.Listener.Addr().String()), Protocol: upstream.H2, PerBackend: 1,
		})
		return []proxy.Route{{Name: "all", To: proxy.To(u, nil)}}
	})
	start := time.Now()
	load(t, r, 10, 100)
	alone := time.Since(start)

	before := heapInUse()
	address := r.addr()
	testutil.Dial(t, address).Send("GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
	c := testutil.Dial(t, address).Conn()
	go func() {
		fmt.Fprintf(c, "POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", int64(1<<40))
		counted(c, 1<<40, &uploaded)
	}()
	stalls(t, &answered)
	stalls(t, &uploaded)

	start = time.Now()
	load(t, r, 10, 100)
	t.Logf("1000 exchanges: %v alone, %v beside the stuck ones, %d KiB more in use",
		alone, time.Since(start), (heapInUse()-before)>>10)
	if n := openTo(u); n != 1 {
		t.Errorf("%d connections", n)
	}
	if n := heapInUse() - before; n > 6<<20 {
		t.Errorf("the stuck exchanges hold %d KiB", n>>10)
	}
	if n := answered.Load(); n > kernelHolds(t)+8<<20 {
		t.Errorf("%d KiB were taken for a client that reads nothing", n>>10)
	}
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
