package rawio

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const eventsMax = 512

// stopSlot marks the descriptor that Stop writes to; no caller uses it.
const stopSlot = ^uint32(0)

// Park says how a goroutine sleeps that has nothing to do.
type Park string

// The ways to sleep.
const (
	ParkRuntime Park = "runtime" // in the runtime's netpoller
	ParkThread  Park = "syscall" // in epoll_wait, on a locked OS thread
)

// Event tells what one descriptor is ready for. Ready holds EPOLL* bits.
type Event struct {
	Slot, Generation uint32
	Ready            uint32
}

// CanRead reports whether a read may give bytes, the end or an error.
func (e Event) CanRead() bool {
	return e.Ready&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
}

// CanWrite reports whether a write may take bytes or give an error.
func (e Event) CanWrite() bool { return e.Ready&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 }

// Ended reports whether the peer is done sending, so that a short read is not the last one.
func (e Event) Ended() bool {
	return e.Ready&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
}

// Epoll is an edge-triggered set of descriptors and the place where its owner sleeps.
// Owned by the goroutine that calls Wait; Stop alone is safe for any goroutine.
type Epoll struct {
	fd     int
	stopFD int
	waits  uint64
	ready  int // events of the last poll
	failed unix.Errno
	raw    [eventsMax]unix.EpollEvent
	events [eventsMax]Event
	park   Park
	file   *os.File
	conn   syscall.RawConn
	poll   func(fd uintptr) bool // made once: a closure per wait would be an allocation
}

// NewEpoll opens a set that sleeps the way park says ("" is ParkRuntime).
func NewEpoll(park Park) (*Epoll, error) {
	if park == "" {
		park = ParkRuntime
	}
	if park != ParkRuntime && park != ParkThread {
		return nil, fmt.Errorf("park %q: want %s or %s", park, ParkRuntime, ParkThread)
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	e := &Epoll{fd: fd, stopFD: -1, park: park}
	if err := e.open(); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Epoll) open() error {
	var err error
	if e.stopFD, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	if errno := e.add(e.stopFD, unix.EPOLLIN, stopSlot, 0); errno != 0 {
		return fmt.Errorf("epoll_ctl: %w", errno)
	}
	if e.park == ParkThread {
		return nil
	}
	// os.NewFile gives a descriptor to the netpoller only when it is non-blocking.
	if err := unix.SetNonblock(e.fd, true); err != nil {
		return fmt.Errorf("epoll descriptor: %w", err)
	}
	e.file = os.NewFile(uintptr(e.fd), "epoll")
	if e.conn, err = e.file.SyscallConn(); err != nil {
		return fmt.Errorf("epoll descriptor: %w", err)
	}
	e.poll = func(uintptr) bool {
		e.pollNow()
		return e.ready > 0 || e.failed != 0
	}
	return nil
}

// Add registers fd once, for everything, edge-triggered.
func (e *Epoll) Add(fd int, slot, generation uint32) unix.Errno {
	return e.add(fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET, slot, generation)
}

func (e *Epoll) add(fd int, interest, slot, generation uint32) unix.Errno {
	ev := unix.EpollEvent{Events: interest, Fd: int32(slot), Pad: int32(generation)}
	// SAFETY: the kernel copies ev before it returns.
	_, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(e.fd), unix.EPOLL_CTL_ADD, uintptr(fd),
		uintptr(unsafe.Pointer(&ev)), 0, 0)
	return errno
}

// Wait sleeps until something is ready. The events are borrowed until the next Wait; none and no
// error means that Stop was called.
func (e *Epoll) Wait() ([]Event, error) {
	e.ready, e.failed = 0, 0
	var err error
	if e.park == ParkThread {
		err = e.waitOnThread()
	} else {
		err = e.conn.Read(e.poll)
	}
	if err == nil && e.failed != 0 {
		err = e.failed
	}
	if err != nil {
		return nil, fmt.Errorf("epoll_wait: %w", err)
	}
	for i := range e.ready {
		r := &e.raw[i]
		if uint32(r.Fd) == stopSlot {
			return nil, nil
		}
		e.events[i] = Event{Slot: uint32(r.Fd), Generation: uint32(r.Pad), Ready: r.Events}
	}
	return e.events[:e.ready], nil
}

func (e *Epoll) waitOnThread() error {
	for e.ready == 0 {
		e.waits++
		n, err := unix.EpollWait(e.fd, e.raw[:], -1)
		if err != nil && err != unix.EINTR {
			return err
		}
		e.ready = max(n, 0)
	}
	return nil
}

func (e *Epoll) pollNow() {
	e.waits++
	// SAFETY: the kernel writes at most eventsMax events into raw, which lives as long as e.
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(e.fd), uintptr(unsafe.Pointer(&e.raw[0])),
		eventsMax, 0, 0, 0)
	switch errno {
	case 0:
		e.ready = int(n)
	case unix.EINTR:
		e.ready = 0
	default:
		e.failed = errno
	}
}

// Waits counts the epoll_wait calls made by the owner.
func (e *Epoll) Waits() uint64 { return e.waits }

// Stop makes the current or next Wait return no events. Safe for any goroutine.
func (e *Epoll) Stop() {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	_, _ = unix.Write(e.stopFD, one)
}

// Close closes the set; the caller has left Wait for good.
func (e *Epoll) Close() {
	if e.stopFD >= 0 {
		_ = unix.Close(e.stopFD)
	}
	if e.file != nil {
		_ = e.file.Close()
		return
	}
	_ = unix.Close(e.fd)
}
