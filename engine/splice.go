package engine

import (
	"syscall"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/poller"
)

// Bounds of splicing.
const (
	// pipeSize is what a pipe is asked to hold. Where the system gives less, more calls move the same.
	pipeSize = 256 << 10
	// pipesMax bounds the pipes of a reactor that hold bytes, and pipesFree the empty ones that it keeps. A pipe is
	// given back as soon as it is empty, so that there are only as many as there are directions whose destination
	// is full.
	pipesMax  = 256
	pipesFree = 4
	// spliceReadDivisor: reads below ReadSize/4 are too short for a splice to pay.
	spliceReadDivisor = 4
	// spliceTailDivisor: the last SpliceMin/16 bytes are read in the ordinary way.
	spliceTailDivisor = 16
	// splicesPerTurn bounds what one direction moves before others have their turn.
	splicesPerTurn = 4
)

// SpliceOwner is told how many bytes a Splice moved. Its method runs on the reactor, in the turn of either
// connection.
type SpliceOwner interface {
	// OnSpliced says how many bytes have been taken from the source, and how many given to the destination, since the
	// last call. waits says that the destination takes no more for now.
	OnSpliced(in, out int, waits bool)
}

// Splice moves bytes from the socket of one Conn to the socket of another, inside the kernel.
// Owned by its reactor. It is a part of its owner, which may use it again after it has ended.
//
//	source ──pull──► pipe ──push──► destination      a pull comes only when the pipe is empty
//
//	active <=> from.extra.spliceIn == s and to.extra.spliceOut == s
//	inPipe > 0 <=> it has a pipe, at the end of a turn
//	waits => inPipe > 0, and reading of from is paused
type Splice struct {
	owner    SpliceOwner
	from, to *Conn
	left     int64
	inPipe   int
	pipe     pipe
	active   bool
	waits    bool
	small    bool // the last pull was short
}

// pipe is a pipe of the kernel.
type pipe struct {
	r, w poller.FD
	size int
}

// Splice begins to move n bytes from c to to, after what is queued there, and reports whether it does. It refuses
// when n is below Options.SpliceMin or c's last read was short, when bytes of c are kept, when either has a Layer, and
// when the kernel has refused to splice either: each connection tries that once. It stops before the last SpliceMin/16
// bytes, at c's end, and when c's reads become short: what follows goes to c's handler. Until then nothing may be
// written to to.
func (c *Conn) Splice(s *Splice, to *Conn, n int64, owner SpliceOwner) bool {
	c.mustOwn()
	r := c.reactor
	if n < r.opts.SpliceMin || r.pipes.refused || s.active || c.flags&(bulk|wantRead|eof|noSplice) != bulk|wantRead {
		return false
	}
	if c.state != open || c.layer != nil || c.in != nil {
		return false
	}
	if to.reactor != r || to.state != open || to.layer != nil || to.writeClosed() || to.flags&noSplice != 0 {
		return false
	}
	if c.extra == nil {
		c.extra = &extra{}
	}
	if to.extra == nil {
		to.extra = &extra{}
	}
	if c.extra.spliceIn != nil || to.extra.spliceOut != nil {
		return false
	}
	*s = Splice{owner: owner, from: c, to: to, left: n - r.opts.SpliceMin/spliceTailDivisor, active: true}
	c.extra.spliceIn, to.extra.spliceOut = s, s
	r.stats.Splices++
	return true
}

// resumeSplice goes on with a splice that waited for its destination to be writable.
func (p *extra) resumeSplice() {
	if s := p.spliceOut; s != nil && s.waits && s.to.can&poller.CanWrite != 0 {
		s.run()
	}
}

// unsplice ends the splices of a Conn that closes. Bytes in their pipes are lost.
func (p *extra) unsplice() {
	if s := p.spliceIn; s != nil {
		s.stop()
	}
	if s := p.spliceOut; s != nil {
		s.stop()
	}
}

// run moves what both sockets allow, within splicesPerTurn, and tells the owner.
func (s *Splice) run() {
	in, out := 0, 0
	for n := 1; s.active; n++ {
		k := s.pull()
		in += k
		for s.active && s.inPipe > 0 {
			if k = s.push(); k == 0 {
				break
			}
			out += k
		}
		if !s.active || s.waits || s.inPipe == 0 && s.from.can&poller.CanRead == 0 {
			break
		}
		if n == splicesPerTurn {
			s.from.turnLater()
			break
		}
	}
	s.check()
	if in+out > 0 || s.waits {
		s.owner.OnSpliced(in, out, s.waits)
	}
}

// cannotSplice reports whether e says that there is no splice for these descriptors: the call is missing, is not for
// them, or is refused by a filter of system calls (seccomp). Nothing was moved then. If the connection itself is
// broken, the read or write that comes instead tells.
func cannotSplice(e syscall.Errno) bool {
	switch e {
	case syscall.ENOSYS, syscall.EINVAL, syscall.EOPNOTSUPP, syscall.EPERM, syscall.EACCES:
		return true
	}
	return false
}

// pull fills the empty pipe.
func (s *Splice) pull() int {
	c := s.from
	if s.inPipe > 0 || c.can&poller.CanRead == 0 {
		return 0
	}
	r := c.reactor
	if s.left == 0 || s.small || c.in != nil || !r.takePipe(&s.pipe) {
		s.stop()
		return 0
	}
	n, e := r.kernel.Splice(c.fd, s.pipe.w, s.room())
	switch {
	case n > 0:
		s.inPipe = n
		s.left -= int64(n)
		s.small = n < r.opts.ReadSize/spliceReadDivisor
		r.stats.BytesIn += uint64(n)
		r.stats.BytesSpliced += uint64(n)
		return n
	case e == syscall.EAGAIN:
		c.can &^= poller.CanRead
		r.givePipe(&s.pipe)
	case cannotSplice(e):
		c.flags |= noSplice
		s.stop()
	case e != 0:
		c.drop(e)
	default: // EOF: the next read tells
		s.stop()
	}
	return 0
}

// room is how much may be pulled at once: no more than a send queue takes, for copyOut.
func (s *Splice) room() int {
	return int(min(s.left, int64(s.pipe.size), int64(s.from.reactor.opts.SendMax)))
}

// push empties the pipe as far as the destination takes it, after what is queued there.
func (s *Splice) push() int {
	c, r := s.to, s.to.reactor
	if c.queued > 0 {
		c.flush()
	}
	switch {
	case !s.active:
		return 0
	case c.writeClosed(): // it takes nothing any more; its own read tells why
		s.stop()
		return 0
	case c.queued > 0 || c.can&poller.CanWrite == 0:
		s.wait()
		return 0
	}
	n, e := r.kernel.Splice(s.pipe.r, c.fd, s.inPipe)
	switch {
	case n > 0:
		s.took(n)
		r.stats.BytesOut += uint64(n)
		return n
	case e == syscall.EAGAIN || e == 0:
		c.can &^= poller.CanWrite
		s.wait()
	case cannotSplice(e):
		c.flags |= noSplice
		return s.copyOut()
	default:
		c.sendFailed(e)
		s.stop()
	}
	return 0
}

// copyOut writes what the pipe holds to the destination in the ordinary way, and ends the splice.
func (s *Splice) copyOut() (out int) {
	r := s.to.reactor
	for s.active && s.inPipe > 0 {
		n, e := r.kernel.Read(s.pipe.r, r.scratch)
		if n <= 0 || s.to.Write(r.scratch[:n]) != nil {
			s.to.drop(e)
			return out
		}
		out += n
		if s.active {
			s.took(n)
		}
	}
	s.stop()
	return out
}

// took notes that n bytes have left the pipe.
func (s *Splice) took(n int) {
	s.inPipe -= n
	if s.waits {
		s.waits = false
		s.from.flags |= wantRead
	}
	if s.inPipe == 0 {
		s.from.reactor.givePipe(&s.pipe)
	}
}

// wait pauses the source until the destination takes more.
func (s *Splice) wait() {
	s.waits = true
	s.from.flags &^= wantRead
}

// stop ends s. Reading of the source goes on in the ordinary way.
func (s *Splice) stop() {
	if !s.active {
		return
	}
	s.active = false
	c, r := s.from, s.from.reactor
	c.extra.spliceIn, s.to.extra.spliceOut = nil, nil
	if s.inPipe > 0 {
		r.breakPipe(&s.pipe)
	} else {
		r.givePipe(&s.pipe)
	}
	s.inPipe = 0
	if s.waits {
		s.waits = false
		c.flags |= wantRead
	}
	s.check()
	if c.state == open {
		c.readyIfReadable()
	}
}

// check panics when the invariants of Splice do not hold at the end of a turn.
func (s *Splice) check() {
	if !invariant.On {
		return
	}
	if !s.active {
		ended := (s.from.extra == nil || s.from.extra.spliceIn != s) && (s.to.extra == nil || s.to.extra.spliceOut != s)
		invariant.That(ended, "a splice has ended, and a conn has it")
	} else {
		invariant.That(s.from.extra.spliceIn == s && s.to.extra.spliceOut == s, "a conn does not know of its splice")
	}
	invariant.That((s.inPipe > 0) == (s.pipe != pipe{}), "%d bytes in a pipe of %d", s.inPipe, s.pipe.size)
	invariant.That(!s.waits || s.inPipe > 0 && s.from.flags&wantRead == 0, "a splice waits with %d bytes", s.inPipe)
}

// pipes are the pipes of one reactor. Owned by it.
type pipes struct {
	free    []pipe // empty ones
	out     int    // in use
	refused bool   // the kernel refused to open one
}

// takePipe sets p to an empty pipe, unless there is none.
func (r *Reactor) takePipe(p *pipe) bool {
	if n := len(r.pipes.free); n > 0 {
		*p = r.pipes.free[n-1]
		r.pipes.free = r.pipes.free[:n-1]
		r.pipes.out++
		r.Account(p.size)
		return true
	}
	if r.pipes.out >= pipesMax || r.Pressure() >= PressureAccept {
		r.stats.PipesRefused++
		return false
	}
	out, in, size, e := r.kernel.Pipe(pipeSize)
	if e != 0 {
		r.stats.PipesRefused++
		r.pipes.refused = r.pipes.refused || cannotSplice(e)
		return false
	}
	*p = pipe{r: out, w: in, size: size}
	r.pipes.out++
	r.Account(size) // the pipe's bytes are kernel memory, which the cgroup counts as well
	return true
}

// givePipe takes an empty pipe back.
func (r *Reactor) givePipe(p *pipe) {
	switch {
	case p.size == 0:
		return
	case len(r.pipes.free) >= pipesFree:
		r.breakPipe(p)
		return
	}
	r.pipes.free = append(r.pipes.free, *p)
	r.Account(-p.size)
	*p = pipe{}
	r.pipes.out--
	invariant.That(r.pipes.out >= 0, "%d pipes are out", r.pipes.out)
}

// breakPipe closes a pipe that holds bytes: its next user must not find what another connection left.
func (r *Reactor) breakPipe(p *pipe) {
	r.kernel.Close(p.r)
	r.kernel.Close(p.w)
	r.Account(-p.size)
	*p = pipe{}
	r.pipes.out--
}

// closePipes closes the empty pipes.
func (r *Reactor) closePipes() {
	for i := range r.pipes.free {
		r.pipes.out++
		r.Account(r.pipes.free[i].size)
		r.breakPipe(&r.pipes.free[i])
	}
	r.pipes.free = nil
}
