package quicconn_test

import (
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/http3/quicconn"
	"github.com/edge-proxy/edge/internal/test/quicpeer"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/quic"
)

// server is a Server on one reactor and real sockets, whose sessions send back what comes.
type server struct {
	e *engine.Engine
	s *quicconn.Server
	l *engine.Listener
}

func newServer(b *testing.B, generation int) *server {
	e, err := engine.New(engine.Options{Reactors: 1})
	testutil.Must(b, err)
	s := &server{e: e, s: quicconn.NewServer(e, quicconn.Options{Secret: quicconn.Secret{1}, Generation: generation})}
	accept := func(c *engine.Conn) engine.Handler { return &echo{g: &rig{}, c: quicconn.Of(c)} }
	s.s.Use(quicconn.Accept{
		Begin: quicconn.Secure(tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{}), serverOptions(), accept),
		QUIC:  quic.Options{Streams: 1 << 20},
	})
	b.Cleanup(e.Stop)
	return s
}

// used is the time of the processor that the reactor has had.
func (s *server) used() (d time.Duration) {
	done := make(chan struct{})
	s.e.Reactors()[0].Post(&engine.Task{Run: func(*engine.Reactor) {
		runtime.LockOSThread() // for good: its goroutine keeps its thread
		var t unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // it exists
		d = time.Duration(t.Nano())
		close(done)
	}})
	<-done
	return d
}

// asking are clients that ask one after the other, each for what it has sent.
type asking struct {
	clients []*quicpeer.Socket
	ended   []int // answers
}

func newAsking(b *testing.B, to poller.Addr, n int) *asking {
	a := &asking{make([]*quicpeer.Socket, n), make([]int, n)}
	config := clientConfig()
	for i := range a.clients {
		var c *quicpeer.Socket
		c = quicpeer.DialSocket(b, to.IP.String(), config, quic.Options{}, func(ev *quic.Event) {
			if ev.Kind == quic.Data {
				c.Conn.Release(ev.Stream, len(ev.Body))
				if ev.End {
					a.ended[i]++
					c.Conn.Done(ev.Stream)
				}
			}
		})
		if a.clients[i] = c; !c.Until(testutil.Patience, func() bool { return c.Established }) {
			b.Fatal("no handshake")
		}
	}
	return a
}

// ask has all clients ask n times.
func (a *asking) ask(b *testing.B, n int) {
	var each sync.WaitGroup
	for i, c := range a.clients {
		each.Go(func() {
			for range n {
				want := a.ended[i] + 1
				s, err := c.Conn.Open(quic.TwoWay)
				if err != nil {
					b.Error(err)
					return
				}
				c.Conn.Send(s, make([]byte, 100), true)
				c.Flush()
				if !c.Until(testutil.Patience, func() bool { return a.ended[i] == want }) {
					b.Error("no answer")
					return
				}
			}
		})
	}
	each.Wait()
}

// succeed returns the server of the process that takes over from s.
func (s *server) succeed(b *testing.B) *server {
	next := newServer(b, 1)
	sockets, err := s.e.Duplicate(s.l)
	testutil.Must(b, err)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	testutil.Must(b, err)
	s.s.Serve(0, poller.FD(pair[0]))
	next.s.Inherit([]poller.FD{poller.FD(pair[1])})
	o := engine.ListenOptions{Steering: next.s, Suspended: true}
	next.l, err = next.e.AdoptDatagrams(sockets[0], o, next.s.Port)
	testutil.Must(b, err)
	next.e.Start()
	s.e.Suspend(s.l)
	testutil.Must(b, next.e.Resume(next.l))
	return next
}

// The processor time of both processes for an exchange of two small datagrams, where the process that reads is the one
// of the connection, and where it passes the datagram on.
func BenchmarkLink(b *testing.B) {
	for _, passed := range []bool{false, true} {
		b.Run(map[bool]string{false: "direct", true: "passed"}[passed], func(b *testing.B) {
			old := newServer(b, 0)
			var err error
			at := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}
			old.l, err = old.e.ListenDatagrams(engine.ListenOptions{Addr: at, Steering: old.s}, old.s.Port)
			testutil.Must(b, err)
			old.e.Start()
			clients := newAsking(b, old.l.Addr(), 16)
			all := []*server{old}
			if passed {
				all = append(all, old.succeed(b))
			}
			used := func() (d time.Duration) {
				for _, s := range all {
					d += s.used()
				}
				return d
			}
			each := b.N/len(clients.clients) + 1
			before := used()
			b.ResetTimer()
			clients.ask(b, each)
			b.StopTimer()
			b.ReportMetric(float64(used()-before)/float64(each*len(clients.clients)), "cpu-ns/op")
			last := all[len(all)-1]
			st := last.s.Stats(last.e.Reactors()[0]) // used has asked that reactor since
			if st.PassLost > 0 || (st.Passed >= uint64(b.N)) != passed {
				b.Errorf("%+v", st)
			}
		})
	}
}
