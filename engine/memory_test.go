package engine

import (
	"math"
	"net/netip"
	"os"
	"reflect"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"github.com/edge-proxy/edge/internal/base/cgroup"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/timerwheel"
)

// A Conn is one allocation, made for each connection and held while it is idle: what it costs is its size class. One
// of whole lines of the caches begins with a line, and what a request touches lies in the first two.
func TestConn_size(t *testing.T) {
	const line, class = 64, 256 // the size classes of Go's allocator below it are 224 and 240
	var c Conn
	if n := unsafe.Sizeof(c); n <= 240 || n > class {
		t.Errorf("a Conn has %d bytes, want up to %d", n, class)
	}
	links, ok := reflect.TypeFor[timerwheel.Timer]().FieldByName("next") // a deadline that moves later leaves them
	if n := unsafe.Offsetof(c.timer) + links.Offset; !ok || n > 2*line {
		t.Errorf("what a request touches of a Conn ends at byte %d, want %d at most", n, 2*line)
	}
}

// An event finds its slot by index: three words keep eight slots within three cache lines.
func TestSlot_size(t *testing.T) {
	if n := unsafe.Sizeof(slot{}); n != 24 {
		t.Fatalf("a slot has %d bytes", n)
	}
}

// The budget of programs that set none knows the limits of all cgroups of the process.
func TestMemoryLimit_heedsTheCgroup(t *testing.T) {
	if n := cgroup.Memory(); n > 0 && MemoryLimit() > n {
		t.Errorf("%d bytes, the cgroup allows %d", MemoryLimit(), n)
	}
}

type echoAll struct{ NopHandler }

func (echoAll) OnData(c *Conn, in []byte) int {
	c.Write(in)
	return len(in)
}

// loopEcho is an echo server on a sim.Loop with warm connections.
func loopEcho(tb testing.TB, conns int, h Handler) (r *Reactor, l *sim.Loop, fds []poller.FD) {
	l = sim.NewLoop()
	e, err := New(Options{Reactors: 1, Memory: 1 << 30, Kernel: func(int) (poller.Kernel, error) { return l, nil }})
	testutil.Must(tb, err)
	addr := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}
	_, err = e.Listen(ListenOptions{Addr: addr}, func(*Conn) Handler { return h })
	testutil.Must(tb, err)
	r = e.reactors[0]
	for range conns {
		fds = append(fds, l.Offer(3, addr))
		r.Tick()
	}
	r.Tick()
	return r, l, fds
}

func TestReactor_warmEchoAllocatesNothing(t *testing.T) {
	for _, size := range []int{1, 128, 5000, 60000} {
		r, l, fds := loopEcho(t, 16, echoAll{})
		p := make([]byte, size)
		round := func() {
			for _, fd := range fds {
				s := l.Sock(fd)
				s.Sent = s.Sent[:0]
				l.Inject(fd, p)
			}
			r.Tick()
		}
		round()
		if n := testutil.Allocs(100, round); n != 0 {
			t.Errorf("%d bytes: %v allocations for 16 echoes", size, n)
		}
		for _, fd := range fds {
			if len(l.Sock(fd).Sent) != size {
				t.Fatalf("%d of %d bytes echoed", len(l.Sock(fd).Sent), size)
			}
		}
	}
}

// An echo is a read and a write, and its share of waiting; nothing is registered again.
func TestReactor_warmEchoCalls(t *testing.T) {
	r, l, fds := loopEcho(t, 16, echoAll{})
	r.Tick() // a connection that lives through a tick is registered
	before := l.Calls()
	for _, fd := range fds {
		l.Inject(fd, []byte("x"))
	}
	r.Tick()
	got := l.Calls().Minus(before)
	if got.Read != 16 || got.Write != 16 || got.Writev != 0 || got.Add+got.Del != 0 || got.Wait != 1 || got.Now > 3 {
		t.Fatalf("%+v", got)
	}
}

func TestReactor_tasksAndTimersAllocateNothing(t *testing.T) {
	r, l, fds := loopEcho(t, 1, NopHandler{})
	task := &Task{Run: func(*Reactor) {}}
	later := &Task{Run: func(*Reactor) {}}
	timer := &Timer{Run: func(*Reactor) {}}
	c := r.slots[1].conn
	if c == nil || c.fd != fds[0] {
		t.Fatal("the conn is elsewhere")
	}
	round := func() {
		r.Post(task)
		r.Defer(later)
		r.Arm(timer, r.now+1)
		c.SetTimeout(1000)
		l.Advance(10 << 20)
		r.Tick()
	}
	round()
	if n := testutil.Allocs(100, round); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestReactor_idleConnHoldsNoBuf(t *testing.T) {
	r, l, fds := loopEcho(t, 100, echoAll{})
	for _, fd := range fds {
		l.Inject(fd, make([]byte, 10000))
	}
	r.Tick()
	r.Tick()
	for i := range r.slots {
		if c := r.slots[i].conn; c != nil && (c.in != nil || c.out.head != nil) {
			t.Fatal("an idle conn holds a buf")
		}
	}
	if n := r.bufs.inUse(); n != 0 {
		t.Fatalf("%d bytes are out", n)
	}
}

// idleConnBytes is what an idle connection may cost the engine: the Conn, its slot and its place on the lists of the
// tick, 8 bytes each in slices that have grown by doubling.
const idleConnBytes = 224 + 2*24 + 2*3*8

func TestReactor_memoryOfIdleConns(t *testing.T) {
	const conns = 9000
	if testutil.RaceOn {
		t.Skip("the race detector keeps memory of its own")
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 2*conns+200 {
		t.Skipf("%d descriptors are not enough", limit.Cur)
	}
	e, err := New(Options{Reactors: 2})
	testutil.Must(t, err)
	e.Start()
	defer e.Stop()
	l, err := e.Listen(ListenOptions{Addr: poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}},
		func(*Conn) Handler { return echoAll{} })
	testutil.Must(t, err)
	clients := newIdleClients(t, conns)
	before := testutil.Heap()
	clients.connect(t, l)
	testutil.Eventually(t, testutil.Patience, func() bool { return l.Conns() == conns })
	each := (testutil.Heap() - before) / conns
	t.Logf("%d bytes for each idle connection", each)
	if each > idleConnBytes {
		t.Errorf("%d bytes for each idle connection, %d are allowed", each, idleConnBytes)
	}
	runtime.KeepAlive(l)
}

// idleClients are bare descriptors: a net.Conn for each would count as memory of the engine.
type idleClients struct{ fds []int }

func newIdleClients(t *testing.T, n int) *idleClients {
	c := &idleClients{fds: make([]int, 0, n)}
	for range n {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		testutil.Must(t, err)
		c.fds = append(c.fds, fd)
	}
	t.Cleanup(func() {
		for _, fd := range c.fds {
			syscall.Close(fd)
		}
	})
	return c
}

func (c *idleClients) connect(t *testing.T, l *Listener) {
	to := l.Addr()
	sa := &syscall.SockaddrInet4{Port: int(to.IP.Port()), Addr: to.IP.Addr().As4()}
	for i, fd := range c.fds {
		if i%32 == 0 { // a full backlog costs a second: net.core.somaxconn may be small
			testutil.Eventually(t, testutil.Patience, func() bool { return l.Conns() >= i })
		}
		if err := syscall.Connect(fd, sa); err != nil {
			t.Fatal(os.NewSyscallError("connect", err))
		}
	}
}

// What is above the range of a Charge is not counted, and nothing stays counted when it has gone.
func TestCharge_above2GiB(t *testing.T) {
	r, _, _ := loopEcho(t, 0, NopHandler{})
	var c Charge
	for _, n := range []int{5 << 30, 3 << 30, 1 << 20, 0} {
		if c.Set(n, r); r.bufs.accounted != int64(min(n, math.MaxInt32)) {
			t.Errorf("%d bytes count as %d", n, r.bufs.accounted)
		}
	}
}
