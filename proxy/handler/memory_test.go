package handler_test

import (
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
)

// endless is read without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// inUse returns the memory of the process that something refers to.
func inUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

// The account of the reactors has what handlers hold whose clients do not read, or send more than is read.
func TestFromHTTP_isCharged(t *testing.T) {
	if testutil.RaceOn {
		t.Skip("the race detector has memory of its own")
	}
	const clients = 1000
	for name, c := range map[string]struct {
		request string
		serve   func(w http.ResponseWriter)
	}{
		"waiting": {"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", func(http.ResponseWriter) {}},
		"writing": {"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", func(w http.ResponseWriter) {
			_, _ = io.Copy(struct{ io.Writer }{w}, endless{})
		}},
		"not reading": {"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 50000\r\n\r\n" +
			strings.Repeat("x", 50_000), func(http.ResponseWriter) {}},
	} {
		t.Run(name, func(t *testing.T) {
			var running atomic.Int64
			ends := make(chan struct{})
			s := &edge.Server{Addr: "127.0.0.1:0", Engine: engine.Options{Memory: 1 << 30}, Routes: []proxy.Route{{
				To: handler.FromHTTP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					running.Add(1)
					defer running.Add(-1)
					c.serve(w)
					<-ends
				})),
			}}}
			at := strings.TrimPrefix(filterrig.Start(t, s), "http://")
			all := make([]net.Conn, clients)
			small := net.Dialer{Control: smallBuffer}
			before, chargedBefore := inUse(), charged(s)
			for i := range all {
				var err error
				if all[i], err = small.Dial("tcp", at); err != nil {
					t.Fatal(err)
				}
				if _, err = all[i].Write([]byte(c.request)); err != nil {
					t.Fatal(err)
				}
			}
			last := -1
			testutil.Eventually(t, testutil.Minutes, func() bool {
				n := charged(s)
				still := n == last && running.Load() == clients
				last = n
				return still
			}, "all handlers run")
			holds, counted := (inUse()-before)/clients, (charged(s)-chargedBefore)/clients
			close(ends)
			for _, c := range all {
				c.Close()
			}
			testutil.Eventually(t, testutil.Patience, func() bool {
				return running.Load() == 0 && charged(s) < chargedBefore+clients<<10
			}, "handlers run, or are counted")
			t.Logf("a handler holds %d bytes, and %d are counted", holds, counted)
			if counted < holds*4/5 || counted > holds*2 {
				t.Errorf("a handler holds %d bytes, and %d are counted", holds, counted)
			}
		})
	}
}

// charged returns what the account of the reactors has.
func charged(s *edge.Server) int { return int(s.Reactors()[0].Engine().Stats().BufBytes) }

func smallBuffer(_, _ string, raw syscall.RawConn) (err error) {
	if e := raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
	}); e != nil {
		return e
	}
	return err
}
