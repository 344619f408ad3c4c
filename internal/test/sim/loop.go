package sim

import (
	"net/netip"
	"sync/atomic"
	"syscall"

	"github.com/edge-proxy/edge/poller"
)

// Loop is a kernel for benchmarks: no chance, no network, no allocation once warm, a few nanoseconds a call. When
// nothing is ready, Wait calls Pump, which plays clients and origins: it looks at what sockets Sent and Injects bytes
// into them.
//
//	l := sim.NewLoop()
//	l.Pump = func() {
//		if s := l.Sock(up); len(s.Sent) > 0 {
//			s.Sent = s.Sent[:0]
//			l.Inject(up, response)
//		}
//	}
//
// Owned by one goroutine, except Wake. A socket is never full unless SendMax says so.
type Loop struct {
	// Pump is called by Wait when nothing is ready, before it gives up.
	Pump func()
	// OnConnect, if set, is called when the reactor connected fd.
	OnConnect func(fd poller.FD, to poller.Addr)
	// Idle counts the calls of Wait that had nothing to report, even after Pump.
	Idle int
	// SendMax, if above 0, is how much Sent takes before writes say EAGAIN; see Drained.
	SendMax int

	now   int64
	socks []*LoopSock
	free  []poller.FD
	ready []*LoopSock
	calls Calls
	wakes atomic.Int64
	woken atomic.Bool
	port  uint16
}

var _ poller.Kernel = (*Loop)(nil)

// LoopSock is a socket of a Loop. Owned by the Loop's goroutine.
type LoopSock struct {
	// Sent is what the reactor wrote. Pump empties it: s.Sent = s.Sent[:0].
	Sent []byte
	// Open is false once the reactor closed it.
	Open bool
	// FIN is true once the reactor sent FIN.
	FIN bool

	in      []byte // borrowed from the test that injected it
	fd      poller.FD
	token   poller.Token
	pending poller.Ready // edges since the last Wait
	added   bool
	ended   bool // the peer sent FIN
	listens bool
	waiting []poller.FD
	local   poller.Addr
	remote  poller.Addr
	port    *loopPort // of UDP
}

// loopPort is what a UDP port of a Loop has beside a socket: what is to be read, and what was written.
type loopPort struct {
	in, out poller.SendBatch
}

// loopTick is how much time passes in each Wait.
const loopTick = 1000

// NewLoop returns a Loop without sockets.
func NewLoop() *Loop {
	return &Loop{now: clockStart, socks: make([]*LoopSock, firstFD), port: 40000}
}

// Offer lets a new connection wait at the listening socket listener and returns its descriptor.
func (l *Loop) Offer(listener poller.FD, from poller.Addr) poller.FD {
	door := l.socks[listener]
	s := l.open()
	s.local, s.remote = door.local, from
	door.waiting = append(door.waiting, s.fd)
	l.edge(door, poller.CanRead)
	return s.fd
}

// Inject makes p readable at fd. p is referenced until it has been read; what was injected before must have been.
func (l *Loop) Inject(fd poller.FD, p []byte) {
	s := l.socks[fd]
	if len(s.in) > 0 {
		panic("sim: Inject while earlier bytes are unread")
	}
	s.in = p
	l.edge(s, poller.CanRead|poller.CanWrite)
}

// Finish sends FIN to fd.
func (l *Loop) Finish(fd poller.FD) {
	s := l.socks[fd]
	s.ended = true
	l.edge(s, poller.CanRead|poller.PeerClosed)
}

// Drained tells fd that there is room again after a write said EAGAIN.
func (l *Loop) Drained(fd poller.FD) { l.edge(l.socks[fd], poller.CanWrite) }

// Sock returns the socket of fd, which stays the same until fd is closed.
func (l *Loop) Sock(fd poller.FD) *LoopSock { return l.socks[fd] }

// Unread is how much of what was injected has not been read.
func (s *LoopSock) Unread() int { return len(s.in) }

// Calls returns the counts so far.
func (l *Loop) Calls() Calls {
	c := l.calls
	c.Wake = int(l.wakes.Load())
	return c
}

// Advance moves the clock.
func (l *Loop) Advance(d int64) { l.now += d }

// Now reads the clock, which moves by one microsecond in each Wait.
func (l *Loop) Now() int64 {
	l.calls.Now++
	return l.now
}

// Wait reports what is ready, in order. If nothing is, even after Pump, and Wake was not called, the clock jumps to
// until.
func (l *Loop) Wait(dst []poller.Event, until int64) int {
	l.calls.Wait++
	l.now += loopTick
	if len(l.ready) == 0 && l.Pump != nil {
		l.Pump()
	}
	woken := l.woken.Load()
	if woken {
		l.woken.Store(false)
	}
	if len(l.ready) == 0 {
		l.Idle++
		if !woken && until > l.now {
			l.now = until
		}
		return 0
	}
	n := min(len(dst), len(l.ready))
	for i, s := range l.ready[:n] {
		dst[i] = poller.Event{Token: s.token, Ready: s.pending}
		s.pending = 0
	}
	if n == len(l.ready) {
		l.ready = l.ready[:0]
	} else {
		l.ready = l.ready[:copy(l.ready, l.ready[n:])]
	}
	return n
}

// Wake ends the sleep of Wait. Safe for any goroutine.
func (l *Loop) Wake() {
	l.wakes.Add(1)
	l.woken.Store(true)
}

// Shut does nothing.
func (l *Loop) Shut() {}

// Listen opens a listening socket; see Offer.
func (l *Loop) Listen(a poller.Addr, _ *poller.ListenOptions) (poller.FD, poller.Addr, error) {
	l.calls.Listen++
	if !a.IsUnix() && a.IP.Port() == 0 {
		a.IP = netip.AddrPortFrom(a.IP.Addr(), l.nextPort())
	}
	s := l.open()
	s.listens, s.local = true, a
	return s.fd, a, nil
}

// Adopt returns the address of a socket that another reactor of l has let go.
func (l *Loop) Adopt(fd poller.FD, o *poller.ListenOptions) (poller.Addr, error) {
	l.calls.Adopt++
	if o != nil {
		return l.socks[fd].local, nil
	}
	return l.socks[fd].remote, nil
}

// Duplicate says that there is no descriptor left.
func (l *Loop) Duplicate(poller.FD) (poller.FD, syscall.Errno) {
	l.calls.Duplicate++
	return poller.NoFD, syscall.EMFILE
}

// Accept takes the next connection that was offered.
func (l *Loop) Accept(fd poller.FD) (poller.FD, poller.Addr, syscall.Errno) {
	l.calls.Accept++
	door := l.socks[fd]
	if len(door.waiting) == 0 {
		return poller.NoFD, poller.Addr{}, syscall.EAGAIN
	}
	s := l.socks[door.waiting[0]]
	door.waiting = door.waiting[:copy(door.waiting, door.waiting[1:])]
	return s.fd, s.remote, 0
}

// SetIntake does nothing: the test chooses the connections.
func (l *Loop) SetIntake(poller.FD, poller.Intake) { l.calls.SetIntake++ }

// SetBacklog does nothing: the test chooses the connections.
func (l *Loop) SetBacklog(poller.FD, int) {}

// ConnectsBegun does not know.
func (l *Loop) ConnectsBegun(...poller.FD) bool { return true }

// Connect succeeds at once.
func (l *Loop) Connect(a poller.Addr, _ *poller.ConnectOptions) (poller.FD, syscall.Errno) {
	l.calls.Connect++
	s := l.open()
	s.remote = a
	s.local = poller.Addr{IP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), l.nextPort())}
	if l.OnConnect != nil {
		l.OnConnect(s.fd, a)
	}
	return s.fd, 0
}

// SockError is 0.
func (l *Loop) SockError(poller.FD) syscall.Errno {
	l.calls.SockError++
	return 0
}

// AckNow does nothing: nothing is delayed.
func (l *Loop) AckNow(poller.FD) { l.calls.AckNow++ }

// LocalAddr is the address of the reactor's end.
func (l *Loop) LocalAddr(fd poller.FD) poller.Addr {
	l.calls.LocalAddr++
	return l.socks[fd].local
}

// Read copies what was injected.
func (l *Loop) Read(fd poller.FD, p []byte) (int, syscall.Errno) {
	l.calls.Read++
	s := l.socks[fd]
	if len(s.in) == 0 {
		if s.ended {
			return 0, 0
		}
		return -1, syscall.EAGAIN
	}
	n := copy(p, s.in)
	s.in = s.in[n:]
	return n, 0
}

// Write appends to Sent.
func (l *Loop) Write(fd poller.FD, p []byte) (int, syscall.Errno) {
	l.calls.Write++
	return l.send(l.socks[fd], p)
}

// WriteLast appends to Sent.
func (l *Loop) WriteLast(fd poller.FD, p []byte) (int, syscall.Errno) { return l.Write(fd, p) }

// Writev appends to Sent.
func (l *Loop) Writev(fd poller.FD, bufs [][]byte) (int, syscall.Errno) {
	l.calls.Writev++
	s := l.socks[fd]
	total := 0
	for _, p := range bufs {
		n, errno := l.send(s, p)
		if errno != 0 && total == 0 {
			return -1, errno
		}
		total += max(n, 0)
		if n < len(p) {
			break
		}
	}
	return total, 0
}

func (l *Loop) send(s *LoopSock, p []byte) (int, syscall.Errno) {
	if s.FIN {
		return -1, syscall.EPIPE
	}
	if l.SendMax > 0 && len(s.Sent)+len(p) > l.SendMax {
		p = p[:max(0, l.SendMax-len(s.Sent))]
		if len(p) == 0 {
			return -1, syscall.EAGAIN
		}
	}
	s.Sent = append(s.Sent, p...)
	return len(p), 0
}

// Add registers fd and reports at the next Wait what holds already.
func (l *Loop) Add(fd poller.FD, t poller.Token) syscall.Errno {
	l.calls.Add++
	s := l.socks[fd]
	s.token, s.added = t, true
	r := poller.Ready(0)
	if !s.listens {
		r = poller.CanWrite
	}
	if len(s.in) > 0 || s.ended || len(s.waiting) > 0 || s.port != nil && s.port.in.Len() > 0 {
		r |= poller.CanRead
	}
	if r != 0 {
		l.edge(s, r)
	}
	return 0
}

// Del takes fd out.
func (l *Loop) Del(fd poller.FD) syscall.Errno {
	l.calls.Del++
	l.unwatch(l.socks[fd])
	return 0
}

// CloseWrite sets FIN.
func (l *Loop) CloseWrite(fd poller.FD) syscall.Errno {
	l.calls.CloseWrite++
	l.socks[fd].FIN = true
	return 0
}

// Close closes fd; the number closed last is given out first.
func (l *Loop) Close(fd poller.FD) {
	l.calls.Close++
	l.close(fd)
}

// Reset closes fd.
func (l *Loop) Reset(fd poller.FD) {
	l.calls.Reset++
	l.close(fd)
}

func (l *Loop) close(fd poller.FD) {
	s := l.socks[fd]
	if !s.Open {
		panic("sim: Close of a closed descriptor")
	}
	l.unwatch(s)
	s.Open, s.in = false, nil
	l.free = append(l.free, fd)
}

// Pipe says that there are none.
func (l *Loop) Pipe(int) (r, w poller.FD, got int, e syscall.Errno) {
	return poller.NoFD, poller.NoFD, 0, syscall.ENOSYS
}

// Splice says that there is no such call.
func (l *Loop) Splice(_, _ poller.FD, _ int) (int, syscall.Errno) { return -1, syscall.ENOSYS }

// SendFile says that there is no such call.
func (l *Loop) SendFile(_ poller.FD, _ poller.File, _ int64, _ int) (int, syscall.Errno) {
	return -1, syscall.ENOSYS
}

func (l *Loop) nextPort() uint16 {
	l.port++
	return l.port
}

// open gives out a socket; closed ones are used again, with their buffers.
func (l *Loop) open() *LoopSock {
	if n := len(l.free); n > 0 {
		s := l.socks[l.free[n-1]]
		l.free = l.free[:n-1]
		*s = LoopSock{Sent: s.Sent[:0], waiting: s.waiting[:0], fd: s.fd, Open: true}
		return s
	}
	s := &LoopSock{fd: poller.FD(len(l.socks)), Open: true}
	l.socks = append(l.socks, s)
	return s
}

func (l *Loop) edge(s *LoopSock, r poller.Ready) {
	if !s.added {
		return
	}
	if s.pending == 0 {
		l.ready = append(l.ready, s)
	}
	s.pending |= r
}

func (l *Loop) unwatch(s *LoopSock) {
	s.added = false
	if s.pending == 0 {
		return
	}
	s.pending = 0
	for i, o := range l.ready {
		if o == s {
			l.ready = append(l.ready[:i], l.ready[i+1:]...)
			return
		}
	}
}
