package sim

import (
	"syscall"

	"github.com/edge-proxy/edge/poller"
)

// pipe holds what was spliced into it. Both its descriptors stand for it.
type pipe struct {
	buffer
	max int
}

// Pipe opens a pipe, now and then a small one.
func (k *Kernel) Pipe(size int) (r, w poller.FD, got int, errno syscall.Errno) {
	k.calls.Pipe++
	if k.w.chance(k.w.Faults.NoPipe) {
		return poller.NoFD, poller.NoFD, 0, k.w.oneOf(syscall.EMFILE, syscall.ENOMEM, syscall.EPERM)
	}
	p := &pipe{max: k.w.size(1, size)}
	r = k.w.open(&file{pipe: p}).fd
	w = k.w.open(&file{pipe: p}).fd
	k.w.trace.add(k, "pipe", r, p.max, 0)
	return r, w, p.max, 0
}

// Splice moves bytes between a connection and a pipe.
func (k *Kernel) Splice(from, to poller.FD, n int) (int, syscall.Errno) {
	k.calls.Splice++
	k.w.drift()
	moved, errno := k.splice(from, to, n)
	k.w.trace.add(k, "splice", from, moved, errno)
	return moved, errno
}

func (k *Kernel) splice(from, to poller.FD, n int) (int, syscall.Errno) {
	in, out := k.pipe(to), k.pipe(from)
	if in == nil == (out == nil) {
		return -1, syscall.EINVAL
	}
	if k.w.chance(k.w.Faults.SpliceInvalid) {
		return -1, k.w.oneOf(syscall.EINVAL, syscall.ENOSYS, syscall.EPERM, syscall.EACCES, syscall.EOPNOTSUPP)
	}
	if in != nil {
		n = min(n, in.max-in.len())
	} else {
		n = min(n, out.len())
	}
	if n <= 0 {
		return -1, syscall.EAGAIN
	}
	if n > 1 && k.w.chance(k.w.Faults.ShortSplice) {
		n = 1 + k.w.rng.IntN(n)
	}
	if in != nil {
		e := k.end(from, "splice")
		if e == nil {
			return -1, syscall.EBADF
		}
		b := make([]byte, n)
		n, errno := e.read(b)
		in.append(b[:max(n, 0)])
		return n, errno
	}
	e := k.end(to, "splice")
	if e == nil {
		return -1, syscall.EBADF
	}
	n, errno := e.write(out.b[out.off : out.off+n])
	out.next(max(n, 0))
	return n, errno
}

// SendFile writes a part of a file, which is one of this process.
func (k *Kernel) SendFile(to poller.FD, from poller.File, at int64, n int) (int, syscall.Errno) {
	k.calls.SendFile++
	k.w.drift()
	e := k.end(to, "sendfile")
	switch {
	case e == nil:
		return -1, syscall.EBADF
	case k.w.chance(k.w.Faults.SpliceInvalid):
		return -1, k.w.oneOf(syscall.EINVAL, syscall.ENOSYS, syscall.EPERM, syscall.EACCES, syscall.EOPNOTSUPP)
	case n > 1 && k.w.chance(k.w.Faults.ShortSplice):
		n = 1 + k.w.rng.IntN(n)
	}
	b := make([]byte, n)
	n, err := from.ReadAt(b, at)
	if err != nil {
		panic(err) // it is no file: a mistake of the caller
	}
	n, errno := e.write(b[:n])
	k.w.trace.add(k, "sendfile", to, n, errno)
	return n, errno
}

// pipe is the pipe that fd stands for, nil if it stands for something else.
func (k *Kernel) pipe(fd poller.FD) *pipe {
	if fd < 0 || int(fd) >= len(k.w.files) || k.w.files[fd] == nil {
		return nil
	}
	return k.w.files[fd].pipe
}

// read takes out what was not spliced on.
func (p *pipe) read(b []byte) (int, syscall.Errno) {
	if p.len() == 0 {
		return -1, syscall.EAGAIN
	}
	return p.buffer.read(b), 0
}
