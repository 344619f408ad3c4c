package engine

import (
	"fmt"
	"log/slog"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/poller"
)

// PortHandler receives the datagrams of one Port.
type PortHandler interface {
	// OnDatagrams delivers datagrams in the order in which they came, before connections have their turns. b is
	// borrowed until return. Runs on p's reactor, never nested in another callback.
	OnDatagrams(p *Port, b *poller.Batch)
}

// Port is one of a Listener's UDP sockets, on its reactor. The datagrams of a tick leave together at its flush step. A
// datagram that the kernel does not send for a reason of the path (ENETUNREACH, EPERM, EMSGSIZE, ENOBUFS) is lost, as
// it may be on the way: it is counted.
// Owned by its reactor.
//
//	messages of out before from have left
//	unsent => in ports.unsent; blocked: the kernel says when it takes more, or retry is armed
//	at the end of a tick: out holds messages, or a Carried waits => blocked
type Port struct {
	reactor *Reactor
	handler PortHandler
	socket  *acceptor
	out     poller.SendBatch
	from    int
	refusal syscall.Errno // of a run that was split: the next call tells whether its datagrams are refused as well
	waiting []*Carried    // have something to send, for which out has no room
	lost    uint64
	retry   Timer // while it is blocked and suspended
	unsent  bool
	blocked bool
	closed  bool
}

// ports is what the ports of one reactor share. Owned by it.
type ports struct {
	batch  poller.Batch // what one of them reads
	unsent []*Port      // have messages to send
}

// batchesPerTick bounds what is read by one port in a tick.
const batchesPerTick = 4

// ListenDatagrams is Listen for UDP: each reactor has a socket, with a Port whose handler h makes; h runs on the
// reactor. Of o it uses Addr, V6Only, ConnsMax, Gate, Share, Suspended and Steering. The connections of the Listener
// are those that Port.Accept makes. The address is taken until the last socket is closed: a Listener that closes has
// connections, see Reopen. Safe for any goroutine but a reactor's.
func (e *Engine) ListenDatagrams(o ListenOptions, h func(*Port) PortHandler) (*Listener, error) {
	l := e.newListener(o, nil)
	l.newPortHandler = h
	if err := e.listen(l); err != nil {
		return nil, err
	}
	return l, nil
}

// AdoptDatagrams is Adopt for UDP sockets: see ListenDatagrams. Of o it uses Held as well. A reactor may have several
// of them, each with its Port, or none: no further sockets are opened, which would move clients.
func (e *Engine) AdoptDatagrams(sockets []poller.FD, o ListenOptions, h func(*Port) PortHandler) (*Listener, error) {
	l := e.newListener(o, nil)
	l.newPortHandler = h
	if err := e.adopt(l, sockets); err != nil {
		return nil, err
	}
	return l, nil
}

// steer tells k to give each datagram to the socket that Steering chooses, for all sockets of l: fd is the first.
func (l *Listener) steer(k poller.Kernel, fd poller.FD) {
	if e := k.Steer(fd, l.opts.Steering.Steer(len(l.engine.reactors))); e != 0 { // EPERM of a seccomp filter
		slog.Info("steering refused ("+unix.ErrnoName(e)+"): datagrams go between event loops by mail",
			"address", l.addr.String())
	}
}

// checkRoom logs that the sockets of l keep fewer bytes than they asked for: datagrams that come beyond that, while a
// reactor is busy, are lost.
func (l *Listener) checkRoom(bytes int) {
	if bytes < poller.ReceiveWanted {
		slog.Warn(fmt.Sprintf("UDP %d: %d bytes of receive buffer, %d MiB wanted: sysctl -w net.core.rmem_max=%d",
			l.addr.IP.Port(), bytes, poller.ReceiveWanted>>20, poller.ReceiveWanted), "address", l.addr.String())
	}
}

// Reactor returns the reactor that owns p. Safe for any goroutine.
func (p *Port) Reactor() *Reactor { return p.reactor }

// Listener returns the Listener that p belongs to. Safe for any goroutine.
func (p *Port) Listener() *Listener { return p.socket.listener }

// Lost returns how many messages did not leave: datagrams, or runs of them.
func (p *Port) Lost() uint64 { return p.lost }

// Reserve returns an empty slice with room for a datagram of n bytes, at most poller.DatagramMax; nil where the kernel
// takes no more now: see Carried.AwaitRoom. Append to it and hand the result to Commit before any other method of p is
// called.
func (p *Port) Reserve(n int) []byte {
	p.reactor.MustOwn()
	if p.closed {
		return nil
	}
	b := p.out.Reserve(n)
	if b == nil && !p.blocked {
		p.send()
		b = p.out.Reserve(n)
	}
	return b
}

// Commit sends b, the slice of Reserve with bytes appended, at the flush step of this tick. by is the address that it
// leaves by; where it is not valid, the kernel chooses. Datagrams of one length that follow each other to one address
// leave as one message.
func (p *Port) Commit(b []byte, to netip.AddrPort, by netip.Addr) {
	p.out.Commit(b, to, by)
	if !p.unsent && !p.blocked {
		p.unsent = true
		p.reactor.ports.unsent = append(p.reactor.ports.unsent, p)
	}
}

// read delivers the datagrams that have come to the ports among acceptors, and reports whether more may have.
func (s *ports) read(acceptors []*acceptor) (more bool) {
	for _, a := range acceptors {
		if a.port != nil && a.ready && !a.suspended && !a.port.read() {
			more = true
		}
	}
	return more
}

// read delivers what has come, as much as one tick may. It reports true when nothing more has. A panic of the handler
// costs the datagrams of one batch.
func (p *Port) read() (drained bool) {
	r := p.reactor
	defer func() {
		if v := recover(); v != nil {
			r.Panicked(v)
		}
	}()
	b := &r.ports.batch
	for range batchesPerTick {
		n, e := r.kernel.ReadBatch(p.socket.fd, b)
		if n > 0 {
			p.handler.OnDatagrams(p, b)
		}
		for i := 0; invariant.On && i < n; i++ {
			poison(b.At(i).Data)
		}
		switch {
		case e == syscall.EAGAIN, e == 0 && n < poller.BatchMax:
			p.socket.ready = false
			return true
		case e != 0: // ENOMEM and the like
			r.pauseAccept()
			return true
		}
	}
	return false
}

// flush sends what the ports have.
func (s *ports) flush() {
	for len(s.unsent) > 0 {
		last := len(s.unsent) - 1
		p := s.unsent[last]
		s.unsent[last] = nil
		s.unsent = s.unsent[:last]
		p.flush()
	}
}

// flush sends what was committed, and flushes the connections that wait for room.
func (p *Port) flush() {
	p.unsent = false
	if !p.blocked {
		p.send()
	}
	if p.blocked {
		return
	}
	for i, c := range p.waiting {
		p.waiting[i] = nil
		c.waits = false
		c.AskFlush()
	}
	p.waiting = p.waiting[:0]
}

// send sends what was committed, as far as the kernel takes it.
func (p *Port) send() {
	for p.from < p.out.Len() && !p.closed {
		n, e := p.reactor.kernel.WriteBatch(p.socket.fd, &p.out, p.from)
		p.from += n
		switch {
		case e == 0:
			if p.refusal != 0 {
				slog.Warn("UDP segmentation is off: the network device refuses it",
					"address", p.socket.listener.addr.String(), "error", p.refusal.Error())
				p.refusal = 0
			}
		case e == syscall.EAGAIN:
			p.blocked = true
			p.retryLater()
			return
		case (e == syscall.EIO || e == syscall.EINVAL) && p.out.At(p.from).Segment > 0:
			p.refusal = e
			p.out.Split(p.from)
		default:
			if p.refusal != 0 { // it was not the run: any peer could turn runs off by its port 0
				p.refusal = 0
				p.out.Join()
			}
			p.from++
			p.lost++
		}
	}
	p.out.Reset()
	p.from = 0
}

// retryLater tries again in a moment what the kernel does not take: it tells nothing of a suspended socket.
func (p *Port) retryLater() {
	if p.blocked && p.socket.suspended {
		p.retry.Run = func(*Reactor) { p.unblock() }
		p.reactor.Arm(&p.retry, p.reactor.kernel.Now()+int64(blockedPause))
	}
}

// blockedPause is between two tries to send by a socket that the kernel does not watch.
const blockedPause = time.Millisecond

// unblock notes that the kernel takes messages again.
func (p *Port) unblock() {
	if p.blocked {
		p.blocked, p.unsent = false, true
		p.reactor.ports.unsent = append(p.reactor.ports.unsent, p)
	}
}

// close closes p once the last connection of its listener is over.
func (p *Port) close() {
	a, r := p.socket, p.reactor
	if !r.stopping && !a.listener.endPorts() {
		r.Arm(&a.end.timer, r.kernel.Now()+int64(portCheckEvery))
		return
	}
	p.flush()
	a.remove(r)
}

// endPorts reports whether the ports of l may close: all of them, or none, since the kernel goes on to spread datagrams
// over the sockets that are left.
func (l *Listener) endPorts() bool {
	l.engine.mu.Lock()
	defer l.engine.mu.Unlock()
	if l.closed.Load() && l.conns.Load() == 0 && !l.isLinked() {
		l.portsEnd = true
	}
	return l.portsEnd
}

// isInUse reports whether l has to be waited for: ports that are open for another process alone are not.
func (l *Listener) isInUse() bool { return !l.Closed() && !(l.closed.Load() && l.isLinked()) }

// isLinked reports whether datagrams for another process come by the ports of l.
func (l *Listener) isLinked() bool {
	return l.newPortHandler != nil && l.opts.Steering != nil && l.opts.Steering.Linked()
}

// keepPorts takes Close back for ports, and reports whether it comes in time.
func (l *Listener) keepPorts() bool {
	l.engine.mu.Lock()
	defer l.engine.mu.Unlock()
	if l.portsEnd {
		return false
	}
	l.closed.Store(false)
	return true
}

// portCheckEvery is how often a port that closes looks whether connections are left.
const portCheckEvery = 50 * time.Millisecond
