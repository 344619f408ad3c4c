package upstream_test

import (
	"encoding/binary"
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// warmShared is an upstream on a kernel that costs nothing, whose HTTP/2 backend answers at once.
type warmShared struct {
	loop    *sim.Loop
	reactor *engine.Reactor
	u       *upstream.Upstream
	fd      poller.FD
	task    engine.Task
	waiter  upstream.Waiter
	head    message.Head
	id      uint32
	answer  []byte
	ended   int
	err     error
}

func newWarmShared(t testing.TB) *warmShared {
	v := &warmShared{loop: sim.NewLoop(), id: 1}
	e, err := engine.New(engine.Options{
		Reactors: 1, Kernel: func(int) (poller.Kernel, error) { return v.loop, nil },
	})
	testutil.Must(t, err)
	v.loop.OnConnect = func(fd poller.FD, _ poller.Addr) { v.fd = fd }
	v.reactor = e.Reactors()[0]
	v.u = upstream.New(e, upstream.Options{
		Protocol: upstream.H2, Backends: backend.Of(addr(1).String()),
	})
	v.head = *getHead()
	v.waiter.Init(v)
	m := first(v.u)
	v.task.Run = func(r *engine.Reactor) { v.OnTaken(v.u.Take(r, m, 0, false, &v.waiter)) }
	// SETTINGS, and an acknowledgement of ours.
	v.answer = append(v.answer, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0)
	for range 100 {
		v.exchange(t)
	}
	return v
}

// exchange has one exchange answered with 200 and a few bytes.
func (v *warmShared) exchange(t testing.TB) {
	ended := v.ended
	v.reactor.Post(&v.task)
	v.reactor.Tick()
	v.answer = append(v.answer, 0, 0, 1, 1, 4, 0, 0, 0, 0, 0x88, 0, 0, 2, 0, 1, 0, 0, 0, 0, 'o', 'k')
	n := len(v.answer)
	binary.BigEndian.PutUint32(v.answer[n-16:], v.id)
	binary.BigEndian.PutUint32(v.answer[n-6:], v.id)
	v.id += 2
	v.loop.Inject(v.fd, v.answer)
	v.reactor.Tick()
	if v.ended != ended+1 || v.err != nil {
		t.Fatalf("no answer: %v", v.err)
	}
	v.answer = v.answer[:0]
	s := v.loop.Sock(v.fd)
	s.Sent = s.Sent[:0]
}

func (v *warmShared) OnTaken(c *upstream.Conn, err error) {
	if err == nil {
		v.head.Length = 0
		err = c.Open(v).SendHead(&v.head, true)
	}
	v.err = err
}

func (v *warmShared) OnHead(session.Stream, *message.Head, bool) {}

func (v *warmShared) OnData(s session.Stream, p []byte, end bool) {
	s.Release(len(p))
	if end {
		v.ended++
	}
}

func (v *warmShared) OnTrailers(session.Stream, *message.Head) {}
func (v *warmShared) OnSendable(session.Stream)                {}

func (v *warmShared) OnReset(_ session.Stream, _ session.Code, cause error) { v.err = cause }

// An exchange on a connection that is there allocates nothing.
func TestShared_warmExchangeAllocatesNothing(t *testing.T) {
	if invariant.On {
		t.Skip("the checks allocate")
	}
	v := newWarmShared(t)
	if n := testutil.Allocs(1000, func() { v.exchange(t) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if s := v.u.Stats(v.reactor); s.Dialed != 1 || s.Shared != 1 {
		t.Errorf("%+v", s)
	}
}

// What an exchange costs, all of the session and the codec included.
func BenchmarkShared_exchange(b *testing.B) {
	v := newWarmShared(b)
	b.ReportAllocs()
	for b.Loop() {
		v.exchange(b)
	}
}
