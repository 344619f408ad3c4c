package sim

import (
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// relay moves bytes between a client and an origin, as the least a proxy can do.
type relay struct {
	l        *Loop
	down, up poller.FD
	events   [16]poller.Event
	buf      [4096]byte
	iov      [1][]byte
	trips    int
}

var (
	ask    = []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	answer = make([]byte, 128)
)

func newRelay(t testing.TB) *relay {
	r := &relay{l: NewLoop()}
	fd, a, err := r.l.Listen(tcp(0), nil)
	if err != nil || a.IP.Port() == 0 {
		t.Fatal(a, err)
	}
	r.l.Add(fd, 1)
	r.down = r.l.Offer(fd, tcp(5))
	if n := r.l.Wait(r.events[:], 0); n != 1 || r.events[0] != (poller.Event{Token: 1, Ready: poller.CanRead}) {
		t.Fatalf("a listener with a connection: %v", r.events[:n])
	}
	if got, from, errno := r.l.Accept(fd); got != r.down || from != tcp(5) || errno != 0 {
		t.Fatal(got, from, errno)
	}
	if _, _, errno := r.l.Accept(fd); errno != syscall.EAGAIN {
		t.Fatal(errno)
	}
	r.l.Add(r.down, 2)
	r.up, _ = r.l.Connect(tcp(80), nil)
	r.l.Add(r.up, 3)
	r.l.Pump = r.pump
	return r
}

// pump plays both far sides.
func (r *relay) pump() {
	if up := r.l.Sock(r.up); len(up.Sent) > 0 {
		up.Sent = up.Sent[:0]
		r.l.Inject(r.up, answer)
		return
	}
	down := r.l.Sock(r.down)
	if len(down.Sent) == len(answer) {
		down.Sent = down.Sent[:0]
		r.trips++
	}
	r.l.Inject(r.down, ask)
}

func (r *relay) tick() {
	for _, ev := range r.events[:r.l.Wait(r.events[:], -1)] {
		if ev.Ready&poller.CanRead == 0 {
			continue
		}
		from, to := r.down, r.up
		if ev.Token == 3 {
			from, to = to, from
		}
		n, _ := r.l.Read(from, r.buf[:])
		if ev.Token == 3 {
			r.l.Write(to, r.buf[:n])
		} else {
			r.iov[0] = r.buf[:n]
			r.l.Writev(to, r.iov[:])
		}
	}
}

func TestLoop_countsAndAllocatesNothing(t *testing.T) {
	r := newRelay(t)
	for r.trips < 10 {
		r.tick()
	}
	before, trips := r.l.Calls(), r.trips
	allocs := testutil.Allocs(100, func() {
		for start := r.trips; r.trips == start; {
			r.tick()
		}
	})
	c := r.l.Calls().Minus(before)
	if allocs != 0 || c.IO() != 4*(r.trips-trips) || c.Add != 0 || c.Wait != 2*(r.trips-trips) {
		t.Fatalf("%v allocations, %d round trips with %+v", allocs, r.trips-trips, c)
	}
}

func TestLoop_readsWhatWasInjectedThenEnds(t *testing.T) {
	r := newRelay(t)
	l := r.l
	l.Pump = nil
	l.Wait(r.events[:], 0)
	l.Inject(r.up, []byte("abc"))
	l.Finish(r.up)
	n := l.Wait(r.events[:1], 0)
	if n != 1 || r.events[0].Ready != poller.CanRead|poller.CanWrite|poller.PeerClosed {
		t.Fatalf("got %v", r.events[:n])
	}
	for _, want := range []int{2, 1, 0, 0} {
		if n, errno := l.Read(r.up, r.buf[:2]); n != want || errno != 0 {
			t.Fatal(n, errno)
		}
	}
	if n, errno := l.Read(r.down, r.buf[:]); n != -1 || errno != syscall.EAGAIN {
		t.Fatal(n, errno)
	}
}

func TestLoop_isFullAtSendMax(t *testing.T) {
	r := newRelay(t)
	l := r.l
	l.SendMax, l.Pump = 5, nil
	l.Wait(r.events[:], 0)
	if n, errno := l.Writev(r.up, [][]byte{[]byte("abc"), []byte("def"), []byte("ghi")}); n != 5 || errno != 0 {
		t.Fatal(n, errno)
	}
	if n, errno := l.Write(r.up, []byte("f")); n != -1 || errno != syscall.EAGAIN {
		t.Fatal(n, errno)
	}
	if s := l.Sock(r.up); string(s.Sent) != "abcde" {
		t.Fatalf("sent %q", s.Sent)
	}
	l.Drained(r.up)
	if n := l.Wait(r.events[:], 0); n != 1 || r.events[0].Ready != poller.CanWrite {
		t.Fatal(r.events[:n])
	}
	l.CloseWrite(r.up)
	if n, errno := l.Write(r.up, []byte("f")); n != -1 || errno != syscall.EPIPE {
		t.Fatal(n, errno)
	}
}

func TestLoop_sleepsUntilWoken(t *testing.T) {
	l := NewLoop()
	var dst [1]poller.Event
	l.Wait(dst[:], 5*clockStart)
	if l.Now() != 5*clockStart {
		t.Fatal(l.Now())
	}
	l.Wake()
	l.Wait(dst[:], 9*clockStart)
	if l.Now() == 9*clockStart {
		t.Fatal("slept although woken")
	}
}

func TestLoop_reusesDescriptors(t *testing.T) {
	r := newRelay(t)
	l := r.l
	l.Pump = nil
	l.Inject(r.up, answer)
	l.Close(r.up)
	fd, errno := l.Connect(tcp(80), nil)
	if fd != r.up || errno != 0 || l.Sock(fd).Unread() != 0 || !l.Sock(fd).Open {
		t.Fatal(fd, errno)
	}
	l.Add(fd, 9)
	for _, ev := range r.events[:l.Wait(r.events[:], 0)] {
		if ev.Token == 3 {
			t.Fatal("an event of the former tenant")
		}
	}
}

// BenchmarkLoop_exchange is a round trip of the least proxy: 4 calls, 2 waits, 2 pumps.
func BenchmarkLoop_exchange(b *testing.B) {
	r := newRelay(b)
	var k poller.Kernel = r.l
	_ = k.Now()
	b.ReportAllocs()
	for b.Loop() {
		for start := r.trips; r.trips == start; {
			r.tick()
		}
	}
}
