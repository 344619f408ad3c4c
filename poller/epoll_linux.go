package poller

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// EventsMax is the largest number of events one Wait returns. What a reactor reads for one event it writes at the end
// of the batch: of 64 the caches of the processor still have it then. With 512 a request of 1000 clients took 5 to 13 %
// more processor time.
const EventsMax = 64

// Park says how a Kernel sleeps.
type Park uint8

// The ways to sleep, in the order of the words of a configuration.
const (
	ParkAuto    Park = iota // as ParkRuntime; while sleeps are short in epoll_wait(2), the processor kept: see doze
	ParkRuntime             // in the poller of the Go runtime, like any goroutine that waits for the network
	ParkSyscall             // in epoll_wait(2), on a thread of its own while it lasts
	ParkSpin                // not at all: asks again and again, yielding in between
)

// Tokens of the Kernel's own descriptors. A slot of this size is never reached.
const (
	tokenWake  Token = 1<<64 - 1
	tokenTimer Token = 1<<64 - 2
)

// epoll is the Kernel of Linux: epoll(7), with an eventfd to be woken and a timerfd for the deadline.
// Owned by its reactor, except Wake, which is safe for any goroutine.
//
//	armed != 0 <=> the timerfd is set to armed, or has fired since and no Wait has told
//	shut and waking == 0 => no goroutine writes to wakeFD any more; it is NoFD from then on
type epoll struct {
	epfd   int
	wakeFD FD
	waking atomic.Int32
	shut   atomic.Bool
	timer  FD
	park   Park
	armed  int64 // absolute, what the timerfd is set to; 0 when it is not
	start  time.Time
	base   int64 // CLOCK_MONOTONIC at start

	file *os.File // keeps epfd registered with the runtime
	conn syscall.RawConn
	poll func(uintptr) bool // made once: a closure for every Wait would be an allocation
	got  int
	want int
	nap  nap

	ports     map[FD]*port // the UDP sockets
	datagrams *datagrams   // nil until there is one

	events [EventsMax]unix.EpollEvent
	iov    [IOVMax]unix.Iovec
	msg    unix.Msghdr
	sa     unix.RawSockaddrAny
	saLen  uint32
	ctl    unix.EpollEvent
	spec   unix.ItimerSpec
}

// NewEpoll opens an epoll instance that sleeps as park says.
func NewEpoll(park Park) (Kernel, error) {
	k := &epoll{park: park, wakeFD: NoFD, timer: NoFD}
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	k.epfd = epfd
	if err := k.open(); err != nil {
		k.Shut()
		return nil, err
	}
	return k, nil
}

func (k *epoll) open() error {
	w, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	k.wakeFD = FD(w)
	t, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("timerfd_create: %w", err)
	}
	k.timer = FD(t)
	if err := k.tie(monotonic); err != nil {
		return fmt.Errorf("clock_gettime: %w", err)
	}

	// Neither is ever read: with EPOLLET each write, and each expiry, is an edge of its own.
	for fd, token := range map[FD]Token{k.wakeFD: tokenWake, k.timer: tokenTimer} {
		if e := k.add(fd, token, unix.EPOLLIN|unix.EPOLLET); e != 0 {
			return fmt.Errorf("epoll_ctl: %w", e)
		}
	}
	if k.park == ParkAuto || k.park == ParkRuntime {
		return k.register()
	}
	return nil
}

// clockTries is how often the two clocks are read to find a time when nothing came in between, and clockNear is near
// enough.
const (
	clockTries = 16
	clockNear  = time.Microsecond
)

// tie makes Now what clock says, from which the timerfd takes its time, without a system call for each. Our clock is
// read first: what passes in between makes Now lead, so that timers are late by that. If Now lagged, each would fire
// before its time had come, and the reactor would spin until then.
func (k *epoll) tie(clock func() (int64, error)) error {
	best := time.Duration(math.MaxInt64)
	for n := 0; n < clockTries && best > clockNear; n++ {
		start := time.Now()
		base, err := clock()
		if err != nil {
			return err
		}
		if between := time.Since(start); between < best {
			k.start, k.base, best = start, base, between
		}
	}
	return nil
}

// monotonic reads the clock of the timerfd.
func monotonic() (int64, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano(), err
}

// register hands the epoll descriptor to the poller of the runtime.
func (k *epoll) register() error {
	if err := unix.SetNonblock(k.epfd, true); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	k.file = os.NewFile(uintptr(k.epfd), "epoll")
	conn, err := k.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	k.conn = conn
	k.poll = func(uintptr) bool {
		k.nap.looks++
		k.got = rawEpollPoll(k.epfd, k.events[:k.want])
		return k.got != 0
	}
	return nil
}

// Now reads the monotonic clock.
func (k *epoll) Now() int64 { return k.base + int64(time.Since(k.start)) }

// Wait fills dst with what is ready.
func (k *epoll) Wait(dst []Event, until int64) int {
	k.want = min(len(dst), EventsMax)
	if until == 0 {
		return k.deliver(dst, rawEpollPoll(k.epfd, k.events[:k.want]))
	}
	if until > 0 && !k.arm(until) {
		return k.deliver(dst, rawEpollPoll(k.epfd, k.events[:k.want]))
	}
	switch k.park {
	case ParkAuto:
		if n, ok := k.doze(); ok {
			return k.deliver(dst, n)
		}
		return k.deliver(dst, k.sleep())
	case ParkRuntime:
		return k.deliver(dst, k.sleep())
	case ParkSyscall:
		n, err := unix.EpollWait(k.epfd, k.events[:k.want], -1)
		if err != nil {
			return 0
		}
		return k.deliver(dst, n)
	}
	for {
		if n := rawEpollPoll(k.epfd, k.events[:k.want]); n != 0 {
			return k.deliver(dst, n)
		}
		runtime.Gosched()
	}
}

// arm makes sure that the timerfd fires at until or earlier. It reports false when until has passed.
func (k *epoll) arm(until int64) bool {
	if k.armed != 0 && k.armed <= until {
		return true
	}
	if until <= k.Now() {
		return false
	}
	k.spec = unix.ItimerSpec{Value: unix.NsecToTimespec(until)}
	if e := rawTimerSet(k.timer, &k.spec); e != 0 {
		return false
	}
	k.armed = until
	k.check()
	return true
}

func (k *epoll) deliver(dst []Event, n int) int {
	out := 0
	for i := range max(n, 0) {
		ev := &k.events[i]
		token := Token(uint32(ev.Fd)) | Token(uint32(ev.Pad))<<32
		switch token {
		case tokenWake:
			continue
		case tokenTimer:
			k.armed = 0
			continue
		}
		dst[out] = Event{Token: token, Ready: readiness(ev.Events)}
		out++
	}
	k.check()
	return out
}

func readiness(e uint32) Ready {
	var r Ready
	if e&unix.EPOLLIN != 0 {
		r |= CanRead
	}
	if e&unix.EPOLLOUT != 0 {
		r |= CanWrite
	}
	if e&unix.EPOLLRDHUP != 0 {
		r |= PeerClosed | CanRead
	}
	if e&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		r |= Broken | CanRead | CanWrite
	}
	return r
}

// wakeOne is 1 as an eventfd reads it. Another number fills it sooner: a full one refuses, and there is no edge.
var wakeOne = func() (one [8]byte) {
	binary.NativeEndian.PutUint64(one[:], 1)
	return one
}()

// Wake ends the sleep of Wait. Safe for any goroutine, after Shut as well.
//
// Shut sets shut and then looks at waking; Wake adds to waking and then looks at shut. Both are sequentially
// consistent, so the descriptor is never written to once another file may have its number.
func (k *epoll) Wake() {
	k.waking.Add(1)
	if !k.shut.Load() {
		k.checkWake()
		rawNotify(k.wakeFD, &wakeOne)
	}
	k.waking.Add(-1)
}

// Add registers fd, edge-triggered, for its whole life: for both directions, but a UDP socket for reading alone.
func (k *epoll) Add(fd FD, t Token) syscall.Errno {
	if p := k.ports[fd]; p != nil {
		p.token = t
		return k.add(fd, t, p.events())
	}
	return k.add(fd, t, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET)
}

func (k *epoll) add(fd FD, t Token, events uint32) syscall.Errno {
	k.nap.short = 0
	return k.control(unix.EPOLL_CTL_ADD, fd, t, events)
}

func (k *epoll) control(op int, fd FD, t Token, events uint32) syscall.Errno {
	k.ctl = unix.EpollEvent{Events: events, Fd: int32(uint32(t)), Pad: int32(uint32(t >> 32))}
	return rawEpollCtl(k.epfd, op, fd, &k.ctl)
}

// Del takes fd out of the set.
func (k *epoll) Del(fd FD) syscall.Errno {
	return rawEpollCtl(k.epfd, unix.EPOLL_CTL_DEL, fd, &k.ctl)
}

// Read reads into p.
func (k *epoll) Read(fd FD, p []byte) (int, syscall.Errno) {
	n, e := rawRead(fd, p)
	if e == unix.ENOTSOCK {
		return rawReadPipe(fd, p)
	}
	if n >= bulkLeast {
		k.nap.short = 0
	}
	return n, e
}

// Pipe opens a pipe.
func (k *epoll) Pipe(size int) (r, w FD, got int, e syscall.Errno) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return NoFD, NoFD, 0, errnoOf(err)
	}
	// It fails where the user has many pipes: see pipe(7). The pipe stays as it is then.
	got, err := unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, size)
	if err != nil {
		got, err = unix.FcntlInt(uintptr(fds[0]), unix.F_GETPIPE_SZ, 0)
	}
	if err != nil {
		got = os.Getpagesize()
	}
	return FD(fds[0]), FD(fds[1]), got, 0
}

// Splice moves bytes.
func (k *epoll) Splice(from, to FD, n int) (int, syscall.Errno) {
	k.nap.short = 0
	return rawSplice(from, to, n)
}

// SendFile writes a part of a file.
func (k *epoll) SendFile(to FD, from File, at int64, n int) (int, syscall.Errno) {
	return sendFile(to, from, at, n)
}

// Write writes p.
func (k *epoll) Write(fd FD, p []byte) (int, syscall.Errno) { return rawWrite(fd, p, 0) }

// WriteLast writes p before CloseWrite or SendFile. MSG_MORE holds the last segment back, for 200 ms at most, until FIN
// or other bytes join it.
func (k *epoll) WriteLast(fd FD, p []byte) (int, syscall.Errno) {
	return rawWrite(fd, p, unix.MSG_MORE)
}

// Writev writes bufs in turn.
func (k *epoll) Writev(fd FD, bufs [][]byte) (int, syscall.Errno) {
	n := 0
	for _, b := range bufs[:min(len(bufs), IOVMax)] {
		if len(b) == 0 {
			continue
		}
		k.iov[n].Base = &b[0]
		k.iov[n].SetLen(len(b))
		n++
	}
	k.msg.Iov = &k.iov[0]
	k.msg.SetIovlen(n)
	sent, e := rawSendmsg(fd, &k.msg)
	clear(k.iov[:n]) // or the buffers would be kept alive until the next call
	return sent, e
}

// CloseWrite sends FIN.
func (k *epoll) CloseWrite(fd FD) syscall.Errno { return rawShutdown(fd, unix.SHUT_WR) }

// Close closes fd, which leaves the set with it.
func (k *epoll) Close(fd FD) {
	delete(k.ports, fd)
	rawClose(fd)
}

// Reset closes fd with RST.
func (k *epoll) Reset(fd FD) {
	unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) //nolint:errcheck
	k.Close(fd)
}

// Shut closes what the epoll itself holds. Called by its reactor, after its last Wait.
func (k *epoll) Shut() {
	k.shut.Store(true)
	for k.waking.Load() != 0 {
		runtime.Gosched()
	}
	if k.file != nil {
		k.file.Close() //nolint:errcheck
	} else {
		unix.Close(k.epfd) //nolint:errcheck
	}
	for _, fd := range []FD{k.wakeFD, k.timer} {
		if fd != NoFD {
			rawClose(fd)
		}
	}
	k.wakeFD, k.timer = NoFD, NoFD
}
