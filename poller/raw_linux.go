package poller

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of this file bypass the scheduler: they are made on non-blocking descriptors only, or with a time-out of
// zero, so that none can block. The pointers they are given lie in the epoll or in the caller's live buffer.
// The functions are taken from package syscall; the functions of x/sys/unix go through a trampoline first.

func rawRead(fd FD, p []byte) (int, syscall.Errno) {
	if len(p) == 0 {
		return 0, 0
	}
	for {
		// SAFETY: p is alive until the call returns; the kernel fills at most len(p) bytes. Every fd is a socket:
		// recvfrom(2) is 60 ns shorter than read(2), which goes by way of the file system.
		n, _, e := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
			0, 0, 0)
		if e != unix.EINTR {
			return count(n, e), e
		}
	}
}

// rawReadPipe is rawRead for what is no socket.
func rawReadPipe(fd FD, p []byte) (int, syscall.Errno) {
	for {
		// SAFETY: p is alive until the call returns; the kernel fills at most len(p) bytes. Every pipe is non-blocking.
		n, _, e := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		if e != unix.EINTR {
			return count(n, e), e
		}
	}
}

// rawSplice moves pages. Neither end blocks: SPLICE_F_NONBLOCK is for the pipe, O_NONBLOCK for the socket. It does not
// say SPLICE_F_MORE, which would hold the last segment back for what may not come soon.
func rawSplice(from, to FD, n int) (int, syscall.Errno) {
	for {
		moved, _, e := syscall.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n),
			unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if e != unix.EINTR {
			return count(moved, e), e
		}
	}
}

// sendFile does not block: the file is in memory, and the socket is non-blocking.
func sendFile(to FD, from File, at int64, n int) (int, syscall.Errno) {
	for {
		// SAFETY: at lies on the stack of this function until the call returns; the kernel writes 8 bytes to it.
		sent, _, e := syscall.RawSyscall6(unix.SYS_SENDFILE, uintptr(to), uintptr(from), uintptr(unsafe.Pointer(&at)),
			uintptr(n), 0, 0)
		if e != unix.EINTR {
			return count(sent, e), e
		}
	}
}

func rawWrite(fd FD, p []byte, flags uintptr) (int, syscall.Errno) {
	if len(p) == 0 {
		return 0, 0
	}
	for {
		// SAFETY: p is alive until the call returns; the kernel only reads it. MSG_NOSIGNAL: no SIGPIPE.
		n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
			unix.MSG_NOSIGNAL|flags, 0, 0)
		if e != unix.EINTR {
			return count(n, e), e
		}
	}
}

// rawNotify adds to an eventfd, which is never read and takes 2^64 wakes.
func rawNotify(fd FD, p *[8]byte) {
	// SAFETY: p is alive until the call returns; the kernel only reads it.
	syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(p)), uintptr(len(p))) //nolint:errcheck
}

func rawSendmsg(fd FD, m *unix.Msghdr) (int, syscall.Errno) {
	for {
		// SAFETY: m and the iovecs it points to are fields of the epoll; their bases are kept alive by its caller.
		n, _, e := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(m)), unix.MSG_NOSIGNAL)
		if e != unix.EINTR {
			return count(n, e), e
		}
	}
}

// rawRecvmmsg has no time-out and the socket is non-blocking: it ends where nothing is left.
func rawRecvmmsg(fd FD, m []unix.Mmsghdr) (int, syscall.Errno) {
	for {
		// SAFETY: m and what its headers point to are fields of the epoll, but for the memory of the caller's Batch,
		// which lives until the call returns. The kernel fills at most as much as their lengths say.
		n, _, e := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m[0])),
			uintptr(len(m)), 0, 0, 0)
		if e != unix.EINTR {
			return max(count(n, e), 0), e
		}
	}
}

func rawSendmmsg(fd FD, m []unix.Mmsghdr) (int, syscall.Errno) {
	if len(m) == 0 {
		return 0, 0
	}
	for {
		// SAFETY: as above; the kernel reads what the headers point to, and writes their lengths.
		n, _, e := syscall.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m[0])),
			uintptr(len(m)), unix.MSG_NOSIGNAL, 0, 0)
		if e != unix.EINTR {
			return max(count(n, e), 0), e
		}
	}
}

func rawAccept(l FD, sa *unix.RawSockaddrAny, size *uint32) (FD, syscall.Errno) {
	for {
		*size = uint32(unsafe.Sizeof(*sa))
		// SAFETY: sa and size are fields of the epoll; the kernel fills at most *size bytes.
		n, _, e := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(l), uintptr(unsafe.Pointer(sa)),
			uintptr(unsafe.Pointer(size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if e != unix.EINTR {
			return FD(count(n, e)), e
		}
	}
}

func rawConnect(fd FD, sa *unix.RawSockaddrAny, size uint32) syscall.Errno {
	// SAFETY: sa is a field of the epoll. EINTR means that the connection goes on in the background, as EINPROGRESS.
	_, _, e := syscall.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(sa)), uintptr(size))
	if e == unix.EINTR {
		return unix.EINPROGRESS
	}
	return e
}

func rawShutdown(fd FD, how int) syscall.Errno {
	_, _, e := syscall.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), uintptr(how), 0)
	return e
}

func rawClose(fd FD) {
	// On Linux the descriptor is gone whatever close says; SO_LINGER is set by Reset
	// alone, to no time, so it does not block.
	syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) //nolint:errcheck
}

func rawEpollCtl(epfd, op int, fd FD, ev *unix.EpollEvent) syscall.Errno {
	// SAFETY: ev is a field of the epoll; the kernel only reads it.
	_, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epfd), uintptr(op), uintptr(fd),
		uintptr(unsafe.Pointer(ev)), 0, 0)
	return e
}

// rawEpollPoll asks without sleeping: the time-out is zero.
func rawEpollPoll(epfd int, ev []unix.EpollEvent) int {
	for {
		// SAFETY: ev is a field of the epoll; the kernel fills at most len(ev) entries.
		n, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(&ev[0])),
			uintptr(len(ev)), 0, 0, 0)
		if e != unix.EINTR {
			return count(n, e)
		}
	}
}

// rawEpollDoze asks and sleeps for at most ms milliseconds. A signal ends it with -1: the runtime, which asks a
// goroutine to stop by one, does not wait for it.
func rawEpollDoze(epfd int, ev []unix.EpollEvent, ms int) int {
	// SAFETY: ev is a field of the epoll; the kernel fills at most len(ev) entries.
	n, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(&ev[0])),
		uintptr(len(ev)), uintptr(ms), 0, 0)
	return count(n, e)
}

func rawTimerSet(fd FD, ts *unix.ItimerSpec) syscall.Errno {
	// SAFETY: ts is a field of the epoll; the kernel only reads it.
	_, _, e := syscall.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(fd), unix.TFD_TIMER_ABSTIME,
		uintptr(unsafe.Pointer(ts)), 0, 0, 0)
	return e
}

func count(n uintptr, e syscall.Errno) int {
	if e != 0 {
		return -1
	}
	return int(n)
}
