package engine

import (
	"errors"
	"net/netip"
	"strconv"
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/timerwheel"
)

// Handler receives the events of one Conn. Every method runs on the Conn's reactor, never nested in another callback.
type Handler interface {
	// OnOpen says that the connection is established. It is the first event, unless a dial failed.
	OnOpen(c *Conn)
	// OnData consumes bytes from the front of in and reports how many it used; used < len(in) means: need more.
	// in is borrowed until return.
	OnData(c *Conn, in []byte) (used int)
	// OnSendable says that the send queue, which had grown above its low mark, is at or below it again.
	OnSendable(c *Conn)
	// OnTimeout says that the time of SetTimeout has passed. It is not armed again by itself.
	OnTimeout(c *Conn)
	// OnEOF says that the peer sent FIN, after all its bytes were delivered; writing is still allowed.
	OnEOF(c *Conn)
	// OnClose is the last event and comes exactly once; without OnOpen when a dial failed. cause is nil after
	// Close(nil) went through.
	OnClose(c *Conn, cause error)
}

// NopHandler does nothing on every event and takes all data. Embed it to write a Handler of a few methods.
type NopHandler struct{}

// OnOpen does nothing.
func (NopHandler) OnOpen(*Conn) {}

// OnData takes everything.
func (NopHandler) OnData(_ *Conn, in []byte) int { return len(in) }

// OnSendable does nothing.
func (NopHandler) OnSendable(*Conn) {}

// OnTimeout closes the connection with ErrTimeout.
func (NopHandler) OnTimeout(c *Conn) { c.Close(ErrTimeout) }

// OnEOF closes the connection once what is queued has left.
func (NopHandler) OnEOF(c *Conn) { c.Close(nil) }

// OnClose does nothing.
func (NopHandler) OnClose(*Conn, error) {}

// state of a Conn. It only grows.
//
//	connecting ──► open ──► closing ──► closed
//	     └───────────┴────── error ───────▲
//
// open with the flag eof is what TCP calls half closed: the peer sent FIN, we did not. closing: Close(nil) was
// called; the queue leaves, then FIN, then input is read and thrown away. closed: waits for the reap step, in which
// OnClose comes.
type state uint8

const (
	connecting state = iota
	open
	closing
	closed
)

type flags uint32

const (
	onReady    flags = 1 << iota // on the ready list
	dirty                        // on the dirty list: something was queued or the Conn began to close
	wantRead                     // reading is not paused
	redeliver                    // unread bytes are to be offered again
	sendable                     // OnSendable is due
	congested                    // the queue has been above its low mark since the last OnSendable
	timedOut                     // OnTimeout is due
	openDue                      // OnOpen is due
	eof                          // the peer sent FIN and all before it was read
	finDue                       // CloseWrite was called: FIN follows what is queued
	finAwaited                   // the last segment waits for FIN: WriteLast
	finSent                      // we sent FIN, or the socket takes no more bytes
	late                         // reading is put off by memory pressure
	finished                     // Finish was called: no lingering
	bulk                         // the last read was full: the next one asks for more
	unwatched                    // accepted a moment ago and not registered with the kernel yet
	reaping                      // OnClose was called
	resetting                    // close(2) is to send RST
	moreComes                    // other bytes follow those that are sent at once
	partSent                     // SendFile has sent a part: OnSendable is due when the socket takes more
	givable                      // it goes to another process once nothing of it is known here: see Give
	told                         // its addresses were told: they are not the socket's
	noSplice                     // the kernel refused to splice its socket, or to send a file to it
)

// Conn is one connection.
// Owned by its reactor: no method is safe for any other goroutine, which keeps a Ref instead. A Conn is never used
// again for another connection; after OnClose its methods do nothing or return ErrClosed.
//
//	queued == bytes in out, with those that its layer sealed; in == nil or it holds bytes
//	can without CanRead => the next read would have said EAGAIN when we last looked
//	state == closed <=> on the dead list or reaped
//	connecting <=> dialing != nil; from open on fd is a descriptor, unless c is carried
//	at the end of a tick: want AND can => on the ready or the dirty list
type Conn struct {
	// What a request touches, in two lines of the caches.

	reactor *Reactor
	handler Handler
	flags   flags
	fd      poller.FD // NoFD while a dial waits to be tried again, and for a Carried
	in      *Buf      // bytes that OnData left; nil when there are none
	out     bufChain  // send queue
	queued  int

	deadline int64 // 0: none. The wheel's entry may be earlier: then it does nothing
	can      poller.Ready
	state    state
	layer    *layered         // nil for a plain connection
	extra    *extra           // nil until it has a Splice, was told its addresses, or AtEnd was called
	listener *Listener        // nil for a dialled connection
	timer    timerwheel.Timer // as far as its links, which the wheel touches

	// What few events need.

	dialing  *dialing // nil unless connecting
	cause    error
	lingered int32 // bytes thrown away while closing
	slot     uint32
	gen      uint32
	peer     poller.Addr
}

// extra is what few connections have.
type extra struct {
	spliceIn, spliceOut *Splice // of its input, and of its output; nil: none is active

	socket, local poller.Addr // see Told

	ends []func() // see AtEnd
}

// newConn makes a Conn with a slot: it can have a Ref, and shut finds it.
func (r *Reactor) newConn(fd poller.FD, peer poller.Addr) *Conn {
	c := &Conn{reactor: r, fd: fd, peer: peer, flags: wantRead | openDue}
	c.timer.Owner = (*connTimer)(c)
	c.slot, c.gen = r.takeSlot()
	r.slots[c.slot].conn = c
	return c
}

func (c *Conn) mustOwn() {
	if invariant.On {
		invariant.OnReactor(&c.reactor.owner)
	}
}

// Reactor returns the reactor that owns c. Safe for any goroutine.
func (c *Conn) Reactor() *Reactor { return c.reactor }

// Suspended reports whether c came by a Listener that is suspended: another process may have the new connections.
func (c *Conn) Suspended() bool { return c.listener != nil && c.listener.Suspended() }

// Peer returns the address of the other end: the socket's, or the address that it was told.
func (c *Conn) Peer() poller.Addr { return c.peer }

// Socket returns the address of the other end of the socket, whatever was told.
func (c *Conn) Socket() poller.Addr {
	if c.flags&told != 0 {
		return c.extra.socket
	}
	return c.peer
}

// AtEnd registers f to be called when c is over, whatever ends it and whichever handler it has by then: after OnClose,
// or without it where c goes on in another process or on another reactor. The peer cannot see before f that the
// descriptor is closed. Functions of several calls all run, on c's reactor; they take next to no time, and do not
// panic.
func (c *Conn) AtEnd(f func()) {
	c.mustOwn()
	if c.extra == nil {
		c.extra = &extra{}
	}
	c.extra.ends = append(c.extra.ends, f)
}

// PeerIP returns the IP of c.Peer, in fewer instructions; invalid on a Unix socket.
func PeerIP(c *Conn) netip.AddrPort { return c.peer.IP }

// Local returns the address of our end, for which it asks the kernel, or the address that it was told.
func (c *Conn) Local() poller.Addr {
	c.mustOwn()
	if c.flags&told != 0 {
		return c.extra.local
	}
	if c.layer.isCarried() {
		return c.layer.carried.local
	}
	if c.fd == poller.NoFD {
		return poller.Addr{}
	}
	return c.reactor.kernel.LocalAddr(c.fd)
}

// SetHandler makes h the receiver of all further events. Unread bytes are offered to it after the present callback,
// what that one leaves included.
func (c *Conn) SetHandler(h Handler) {
	c.mustOwn()
	if c.inHandshake() {
		c.layer.next = h
		return
	}
	c.handler = h
	c.readyIfReadable()
}

// PauseRead stops reading. Bytes that OnData did not use stay where they are.
func (c *Conn) PauseRead() {
	c.mustOwn()
	if c.inHandshake() {
		c.layer.paused = true
		return
	}
	c.flags &^= wantRead
}

// ResumeRead reads again; unread bytes are offered again first. After OnEOF it offers what is left of them.
func (c *Conn) ResumeRead() {
	c.mustOwn()
	if c.inHandshake() {
		c.layer.paused = false
		return
	}
	if c.flags&wantRead != 0 {
		return
	}
	c.flags |= wantRead
	c.readyIfReadable()
}

// readyIfReadable makes c ready if something can be read or unread bytes can be offered again.
func (c *Conn) readyIfReadable() {
	c.flags |= redeliver // set also without unread bytes: the callback that runs now may leave some
	if c.flags&wantRead != 0 && (c.in != nil || c.can&poller.CanRead != 0 || c.layer != nil && c.layer.deliverable()) {
		c.reactor.makeReady(c)
	}
}

// OfferLater arranges that what OnData leaves unread is offered again after all ready connections have had a turn.
// It is for a handler that has much to do for few bytes. Inside OnData only.
func (c *Conn) OfferLater() {
	c.mustOwn()
	if c.state == open && c.flags&wantRead != 0 {
		c.flags |= redeliver
		c.turnLater()
	}
}

// Reading reports whether reading is not paused.
func (c *Conn) Reading() bool { return c.flags&wantRead != 0 }

// Quiet reports whether c is open and nothing came that was not delivered. An idle connection must be quiet to be
// used again. The event that an adopted connection can be written to does not count.
func (c *Conn) Quiet() bool {
	return c.state == open && c.flags&(openDue|timedOut|eof|finDue|finSent) == 0 && c.in == nil &&
		c.can&(poller.CanRead|poller.PeerClosed|poller.Broken) == 0 && (c.layer == nil || c.layer.allDelivered())
}

// Unread reports whether bytes that OnData did not use are kept.
func (c *Conn) Unread() bool { return c.in != nil && c.state <= open }

// Open reports whether c is connecting or open, so that Write may take bytes.
func (c *Conn) Open() bool { return c.state <= open }

// Connecting reports whether c was dialled and is not connected yet.
func (c *Conn) Connecting() bool { return c.state == connecting }

// EOF reports whether the peer sent FIN and all that came before it was read.
func (c *Conn) EOF() bool { return c.flags&eof != 0 }

// writeClosed reports whether nothing more can be queued: c closes, FIN was asked for, or c has no socket.
func (c *Conn) writeClosed() bool {
	return c.state > open || c.flags&(finDue|finSent) != 0 || c.layer.isCarried()
}

// SetTimeout arranges for OnTimeout in d from now; 0 or less for no OnTimeout. It replaces the time set before.
// Moving it later costs a few nanoseconds: the wheel is not touched. While c connects it replaces the time to connect,
// and OnOpen begins without one. Once Close was called it does nothing: the time to close is the engine's.
func (c *Conn) SetTimeout(d time.Duration) {
	c.mustOwn()
	if c.state <= open {
		c.setTimeout(d)
	}
}

// Deadline returns when OnTimeout comes, in the time of the reactor; 0 for never.
func (c *Conn) Deadline() int64 { return c.deadline }

func (c *Conn) setTimeout(d time.Duration) {
	c.flags &^= timedOut
	if d <= 0 {
		c.deadline = 0
		return
	}
	c.deadline = c.reactor.now + int64(d)
	c.reactor.wheel.Arm(&c.timer, c.deadline)
}

// connTimer is a Conn as the wheel sees it.
type connTimer Conn

// OnTimer runs inside the wheel: it makes no callback, it makes the Conn ready.
func (t *connTimer) OnTimer(*timerwheel.Timer, int64) {
	c := (*Conn)(t)
	if c.deadline == 0 || c.state == closed {
		return
	}
	if c.deadline > c.reactor.now {
		c.reactor.wheel.Arm(&c.timer, c.deadline)
		return
	}
	c.deadline = 0
	c.flags |= timedOut
	c.reactor.makeReady(c)
}

// The causes with which a Conn closes, beside the errors of the kernel (syscall.Errno) and the causes of handlers.
var (
	ErrClosed         = errors.New("connection is closed")
	ErrReadFull       = errors.New("read buffer is full and its reader takes nothing")
	ErrQueueFull      = errors.New("send queue is full")
	ErrConnectTimeout = errors.New("connect timed out")
	ErrTimeout        = errors.New("timed out")
	ErrUnasked        = errors.New("bytes came that nobody had asked for")
	ErrPanic          = errors.New("handler panicked")
	ErrStopped        = errors.New("engine is stopped")
	ErrNoDescriptors  = errors.New("no descriptor left")
	ErrOffloadFull    = errors.New("offload queue is full")
)

// Ref names a Conn for other goroutines, without keeping it alive. The zero Ref names none.
// Immutable; safe for any goroutine.
type Ref struct {
	reactor *Reactor
	slot    uint32
	gen     uint32
}

func (c *Conn) token() poller.Token { return poller.MakeToken(c.gen, c.slot) }

// Ref returns the name of c.
func (c *Conn) Ref() Ref { return Ref{c.reactor, c.slot, c.gen} }

// Reactor returns where the Conn lives; nil for the zero Ref.
func (f Ref) Reactor() *Reactor { return f.reactor }

// String names the Conn for people, as "reactor-slot-generation".
func (f Ref) String() string {
	if f.reactor == nil {
		return "none"
	}
	return strconv.Itoa(f.reactor.index) + "-" + strconv.Itoa(int(f.slot)) + "-" + strconv.Itoa(int(f.gen))
}

// Conn returns the Conn, or nil when it has been closed. On its reactor only.
func (f Ref) Conn() *Conn {
	if f.reactor == nil {
		return nil
	}
	f.reactor.MustOwn()
	if s := &f.reactor.slots[f.slot]; s.gen == f.gen {
		return s.conn
	}
	return nil
}
