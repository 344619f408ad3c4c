package sim

import (
	"fmt"
	"syscall"

	"github.com/edge-proxy/edge/poller"
)

// Peer is the far end of a connection, driven by the test: a client (World.Dial) or an origin's side (World.Serve).
// Whatever it does travels through the simulated network. It reads all that comes until told to stop, and what it
// sends waits without limit until the other side takes it. Owned by its World's goroutine.
type Peer struct {
	// Handle, if set, is called after something happened to the Peer: connected, bytes, end, error. It runs as At's do.
	Handle func(p *Peer)

	e        *end
	number   int
	received []byte
	stopped  bool // by the test
	stalled  bool // by chance
	pending  bool // Handle will be called
	failure  syscall.Errno
}

// unlimited is the send buffer of a Peer.
const unlimited = 1 << 40

// Dial connects a client to a, where a reactor listens. Whether it gets there shows later: Connected, Err.
func (w *World) Dial(a poller.Addr) *Peer { return w.DialFrom(w.ephemeral(a), a) }

// DialFrom is Dial from a given address.
func (w *World) DialFrom(from, to poller.Addr) *Peer {
	e := w.newEnd(to.IsUnix())
	e.local, e.remote = from, to
	p := w.newPeer(e)
	w.after(w.delay(), func() { p.connect() })
	return p
}

func (p *Peer) connect() {
	w, e := p.e.w, p.e
	if !e.unix {
		w.syn(e)
		return
	}
	if e.dead {
		return
	}
	if errno := w.connectUnix(e); errno == syscall.EAGAIN {
		w.after(int64(synRetry), p.connect)
	} else if errno != 0 {
		e.fail(errno)
	}
}

func (w *World) newPeer(e *end) *Peer {
	p := &Peer{e: e, number: len(w.peers)}
	e.peer, e.outMax = p, unlimited
	w.peers = append(w.peers, p)
	return p
}

// Send sends b, which is copied. After CloseWrite, Close, Reset or a failure nothing is sent.
func (p *Peer) Send(b []byte) {
	if p.e.shutWrite {
		return
	}
	p.e.out.append(b)
	p.e.kick()
}

// SendString is Send.
func (p *Peer) SendString(s string) { p.Send([]byte(s)) }

// CloseWrite sends FIN after what was sent.
func (p *Peer) CloseWrite() {
	if !p.e.dead {
		p.e.shutWrite, p.e.finQueued = true, true
		p.e.kick()
	}
}

// Close is what close(2) does: FIN after what was sent, or RST when there are unread bytes. What arrives later is
// answered with RST.
func (p *Peer) Close() {
	if p.e.closed {
		return
	}
	if p.e.connecting { // as a program that connects, sends and closes, each in its turn
		p.e.closed, p.e.shutWrite, p.e.finQueued = true, true, true
		return
	}
	p.e.close()
}

// Reset sends RST. What was sent and has not arrived is lost.
func (p *Peer) Reset() {
	p.e.closed = true
	if p.e.connecting && p.e.other == nil {
		p.e.giveUp()
	}
	p.e.connecting = false
	p.e.abort()
}

// StopReading leaves bytes where they are: buffers fill up.
func (p *Peer) StopReading() { p.stopped = true }

// StartReading reads on.
func (p *Peer) StartReading() {
	p.stopped = false
	p.resume()
}

// Take returns Received and empties it. The caller owns the bytes.
func (p *Peer) Take() []byte {
	b := p.received
	p.received = nil
	return b
}

// Received is what was read and not taken. Borrowed until the clock moves.
func (p *Peer) Received() []byte { return p.received }

// Connected reports whether the connection stands, or stood.
func (p *Peer) Connected() bool { return p.e.other != nil && !p.e.connecting }

// EOF reports whether FIN came and everything before it was read.
func (p *Peer) EOF() bool { return p.e.gotFIN() && p.e.in.len() == 0 }

// Closed reports whether nothing more can come: EOF, an error, or Close.
func (p *Peer) Closed() bool { return p.EOF() || p.e.closed || p.Err() != nil }

// Err is why the connection died: ECONNREFUSED, ETIMEDOUT, ECONNRESET. Nil while it lives, and after an orderly end.
func (p *Peer) Err() error {
	switch {
	case p.failure == 0 && p.e.err == 0:
		return nil
	case p.failure == 0:
		p.failure = p.e.takeError()
	}
	if p.failure == syscall.EPIPE {
		p.failure = syscall.ECONNRESET // Linux's name for a RST after FIN
	}
	return p.failure
}

// Unsent is how many bytes of what was sent have not arrived.
func (p *Peer) Unsent() int { return p.e.out.len() }

// Unread is how many bytes arrived and lie unread, since the Peer does not read.
func (p *Peer) Unread() int { return p.e.in.len() }

// LocalAddr is the Peer's address.
func (p *Peer) LocalAddr() poller.Addr { return p.e.local }

// RemoteAddr is the address of the reactor's end.
func (p *Peer) RemoteAddr() poller.Addr { return p.e.remote }

// String describes p for a dump.
func (p *Peer) String() string {
	return fmt.Sprintf("peer %d: received %d, stopped %v, %s", p.number, len(p.received), p.stopped, p.e)
}

// take reads a segment as it arrives, or leaves it.
func (p *Peer) take(b []byte) bool {
	if p.stopped || p.stalled {
		return false
	}
	p.received = append(p.received, b...)
	if w := p.e.w; w.chance(w.Net.Stall) {
		p.stalled = true
		w.after(w.rng.Int64N(int64(w.Net.DelayMax)+1), func() {
			p.stalled = false
			p.resume()
		})
	}
	return true
}

func (p *Peer) resume() {
	if p.stopped || p.stalled || p.e.in.len() == 0 || p.e.closed {
		return
	}
	p.received = append(p.received, p.e.in.next(p.e.in.len())...)
	p.e.other.kick()
	p.notify()
}

// notify arranges a call of Handle soon, one for all that happens at this moment.
func (p *Peer) notify() {
	if p.pending || p.Handle == nil {
		return
	}
	p.pending = true
	p.e.w.At(p.e.w.now, func() {
		p.pending = false
		if p.Handle != nil {
			p.Handle(p)
		}
	})
}
