package sim

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/poller"
)

// end is one end of a connection: a reactor's, reached through a file, or the test's, reached through a Peer. What is
// written waits in out until segments carry it to the in of the other end; room is free again when it has landed there.
//
//	write → out ──flight, one at a time──▶ other.in → read
//
//	                FIN landed            RST landed
//	connecting ──▶ open ──────▶ read side shut ──────▶ dead
//	     └──────────────── refused, timed out ───────────▲
//
//	dead     => shutRead && shutWrite
//	closed   => file == nil: the descriptor is gone, out and FIN may still be leaving
//	flying  <=> one flight of this end is in the World's queue; there are never two
//
// Once it is dead nothing leaves but a RST that is due, and what was under way before it.
type end struct {
	w             *World
	other         *end
	file          *file
	peer          *Peer
	hidden        *door // a connection that waits for its first bytes (TCP_DEFER_ACCEPT)
	local, remote poller.Addr
	unix          bool

	in, out       buffer
	inMax, outMax int
	segmentMax    int
	notBefore     int64 // no flight lands earlier
	err           syscall.Errno

	connecting, closed, dead, flying bool
	shutRead, shutWrite              bool
	finQueued, finSent, rstQueued    bool
	noSpace                          bool // a writer met a full out: report when there is room
	corked                           bool // what is written waits for FIN
}

// synTimeout and synRetry are Linux's: how long a connect tries, and when it tries first again.
const (
	synTimeout = 127 * time.Second
	synRetry   = time.Second
)

func (w *World) newEnd(unix bool) *end {
	n := &w.Net
	return &end{
		w: w, unix: unix, connecting: true,
		inMax: w.size(n.BufferMin, n.BufferMax), outMax: w.size(n.BufferMin, n.BufferMax),
		segmentMax: w.size(n.SegmentMin, n.SegmentMax),
	}
}

// Pair is socketpair(2) of two Unix sockets.
func (w *World) Pair() (a, b poller.FD) {
	e, other := w.newEnd(true), w.newEnd(true)
	e.connecting, other.connecting = false, false
	e.other, other.other = other, e
	e.file, other.file = w.open(&file{end: e}), w.open(&file{end: other})
	return e.file.fd, other.file.fd
}

// syn arrives where e wants to.
func (w *World) syn(e *end) {
	if e.dead {
		return
	}
	switch d := w.doorAt(e.remote); {
	case d == nil:
		w.after(w.delay(), func() { e.fail(syscall.ECONNREFUSED) })
	case !d.room():
		w.after(int64(synRetry), func() { w.syn(e) })
	default:
		w.join(e, d, w.delay())
	}
}

// join connects e with a new end that d accepts; e hears of it after delay.
func (w *World) join(e *end, d *door, delay int64) {
	s := w.newEnd(e.unix)
	s.connecting = false
	s.local, s.remote = e.remote, e.local
	s.other, e.other = e, s
	s.notBefore = w.now + delay + 1
	if delay == 0 {
		e.establish()
	} else {
		w.after(delay, e.establish)
	}
	d.offer(s)
}

func (e *end) establish() {
	if e.dead {
		return
	}
	e.connecting = false
	e.edge()
	e.kick()
}

func (e *end) fail(errno syscall.Errno) {
	if !e.dead {
		e.connecting = false
		e.die(errno)
	}
}

// read is recv(2).
func (e *end) read(p []byte) (int, syscall.Errno) {
	switch {
	case len(p) == 0:
		return 0, 0
	case e.connecting:
		return -1, syscall.EAGAIN
	case e.in.len() > 0:
		n := e.in.read(p)
		e.other.kick()
		return n, 0
	case e.err != 0 && (e.unix || !e.gotFIN()): // after FIN, TCP does not look at the error any more
		return -1, e.takeError()
	case e.shutRead:
		return 0, 0
	}
	return -1, syscall.EAGAIN
}

// write is sendmsg(2).
func (e *end) write(bufs ...[]byte) (int, syscall.Errno) {
	total := 0
	for _, p := range bufs {
		total += len(p)
	}
	switch {
	case e.connecting:
		return -1, syscall.EAGAIN
	case e.err != 0:
		return -1, e.takeError()
	case e.shutWrite:
		return -1, syscall.EPIPE
	case total == 0:
		return 0, 0
	}
	n := min(total, e.outMax-e.out.len())
	if n > 1 && e.w.chance(e.w.Faults.ShortWrite) {
		n = 1 + e.w.rng.IntN(n)
	}
	e.noSpace = e.noSpace || n < total
	if n <= 0 {
		return -1, syscall.EAGAIN
	}
	for left, i := n, 0; left > 0; i++ {
		p := bufs[i][:min(len(bufs[i]), left)]
		e.out.append(p)
		left -= len(p)
	}
	if !e.corked || n < total {
		e.kick()
	}
	return n, 0
}

// closeWrite is shutdown(SHUT_WR), which makes an edge of its own.
func (e *end) closeWrite() syscall.Errno {
	if e.connecting || e.dead {
		return syscall.ENOTCONN
	}
	e.shutWrite, e.finQueued = true, true
	e.edge()
	e.kick()
	return 0
}

// close is close(2). What was written still leaves, unless there are unread bytes: then RST tells the other end that
// they were never seen.
func (e *end) close() {
	e.closed = true
	switch {
	case e.dead:
	case e.connecting && e.other == nil:
		e.giveUp()
	case e.connecting || e.in.len() > 0:
		e.connecting = false
		e.abort()
	case e.unix && e.finSent:
		e.w.after(0, func() { e.other.arriveFIN(true) })
	default:
		e.shutWrite, e.finQueued = true, true
		e.kick()
	}
}

// reset is close(2) with SO_LINGER set to no time.
func (e *end) reset() {
	if e.connecting || e.unix {
		e.close()
		return
	}
	e.closed = true
	e.abort()
}

// giveUp ends a connect that was not answered.
func (e *end) giveUp() {
	e.connecting = false
	e.dead, e.shutRead, e.shutWrite = true, true, true
}

// abort kills the connection from this side: RST. What is under way may still get there.
func (e *end) abort() {
	if e.dead {
		return
	}
	if !e.unix {
		under := 0
		if e.flying && e.w.rng.IntN(2) == 0 {
			under = min(e.out.len(), e.segmentMax)
		}
		e.out.truncate(under)
	}
	e.dead, e.shutRead, e.shutWrite = true, true, true
	e.rstQueued = true
	e.kick()
}

// die is what a RST or a failed connect does to this side.
func (e *end) die(errno syscall.Errno) {
	if e.dead {
		return
	}
	e.dead, e.shutRead, e.shutWrite = true, true, true
	e.err = errno
	e.out.truncate(0)
	e.edge()
}

// hit is the arrival of a RST.
func (e *end) hit() {
	if e.gotFIN() && !e.unix {
		e.die(syscall.EPIPE)
	} else {
		e.die(syscall.ECONNRESET)
	}
}

// kick starts a flight if there is something to carry and room for it.
func (e *end) kick() {
	q := e.other
	if e.flying || e.connecting || q == nil || e.dead && !e.rstQueued {
		return
	}
	data := e.out.len() > 0 && (q.room() > 0 || q.closed)
	fin := e.out.len() == 0 && e.finQueued && !e.finSent
	if !data && !fin && !e.rstQueued {
		return
	}
	e.flying = true
	at := e.w.now
	if !e.unix {
		at += e.w.delay()
	}
	e.w.events.push(e.w, event{at: max(at, e.notBefore), flight: e})
}

// land is the arrival of a flight: a segment, else a RST, else FIN.
func (e *end) land() {
	e.flying = false
	q := e.other
	if q.dead || e.dead && !e.rstQueued {
		return
	}
	if e.out.len() > 0 && e.landBytes(q) {
		e.kick()
		return
	}
	switch {
	case e.rstQueued:
		e.rstQueued = false
		q.hit()
	case e.out.len() == 0 && e.finQueued && !e.finSent:
		e.finSent = true
		q.arriveFIN(e.unix && e.closed)
		e.edge() // the acknowledgement of a FIN is a change of state
	}
}

// landBytes carries a segment over and reports whether that was this flight.
func (e *end) landBytes(q *end) bool {
	if q.closed {
		q.abort() // RFC 9293 §3.10.7.1: what comes to a closed socket is answered with RST
		return false
	}
	if e.w.chance(e.w.Faults.Reset) && !e.unix {
		e.die(syscall.ECONNRESET)
		q.hit()
		return true
	}
	n := e.out.len()
	if !e.unix || !e.rstQueued {
		n = min(n, q.room(), e.segment())
	}
	if n <= 0 {
		return !e.rstQueued
	}
	q.arrive(e.out.next(n))
	if e.noSpace && e.writable() {
		e.noSpace = false
		e.edge()
	}
	return true
}

func (e *end) segment() int {
	if e.w.rng.IntN(16) == 0 {
		return 1
	}
	return 1 + e.w.rng.IntN(e.segmentMax)
}

func (e *end) arrive(p []byte) {
	e.reveal()
	if e.peer == nil || !e.peer.take(p) {
		e.in.append(p)
	}
	e.edge()
}

// arriveFIN takes the other end's FIN. A Unix socket that was closed takes nothing any more, and that is known at once.
func (e *end) arriveFIN(both bool) {
	e.reveal()
	e.shutRead = true
	e.shutWrite = e.shutWrite || both
	e.edge()
}

// reveal hands a connection over that waited for its first bytes.
func (e *end) reveal() {
	d := e.hidden
	e.hidden = nil
	if d != nil && !e.dead {
		d.queue(e)
	}
}

// edge tells the owner that something happened.
func (e *end) edge() {
	if e.file != nil {
		e.file.edge()
	}
	if e.peer != nil {
		e.peer.notify()
	}
}

// poll reports what holds, as tcp_poll does: HUP when both directions are shut, OUT also when writing would only fail.
// A writer that found no room is told when there is some.
func (e *end) poll() poller.Ready {
	if e.connecting {
		return 0
	}
	var r poller.Ready
	if e.shutRead {
		r |= poller.CanRead | poller.PeerClosed
	}
	if e.in.len() > 0 {
		r |= poller.CanRead
	}
	if e.shutWrite || e.writable() {
		r |= poller.CanWrite
	} else {
		e.noSpace = true
	}
	if e.shutRead && e.shutWrite || e.err != 0 {
		r |= poller.Broken
	}
	return r
}

// writable is not just room: Linux reports it when a third of the buffer is free.
func (e *end) writable() bool { return 2*(e.outMax-e.out.len()) >= e.out.len() }

// room is what in can still take.
func (e *end) room() int { return e.inMax - e.in.len() }

func (e *end) gotFIN() bool { return e.other != nil && e.other.finSent }

func (e *end) takeError() syscall.Errno {
	errno := e.err
	e.err = 0
	return errno
}

// String describes e for a dump.
func (e *end) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s→%s in %d/%d out %d/%d", e.local, e.remote, e.in.len(), e.inMax, e.out.len(), e.outMax)
	for _, s := range []struct {
		on   bool
		name string
	}{
		{e.connecting, "connecting"}, {e.hidden != nil, "deferred"}, {e.gotFIN(), "got FIN"},
		{e.finQueued, "FIN queued"}, {e.finSent, "FIN sent"}, {e.noSpace, "was full"},
		{e.closed, "closed"}, {e.dead, "dead"},
	} {
		if s.on {
			b.WriteString(", " + s.name)
		}
	}
	if e.err != 0 {
		b.WriteString(", " + e.err.Error())
	}
	return b.String()
}

// buffer is a queue of bytes.
type buffer struct {
	b   []byte
	off int
}

func (q *buffer) len() int { return len(q.b) - q.off }

func (q *buffer) append(p []byte) {
	if q.off > len(q.b)/2 {
		q.b, q.off = q.b[:copy(q.b, q.b[q.off:])], 0
	}
	q.b = append(q.b, p...)
}

// next takes n bytes, which are good until the next append.
func (q *buffer) next(n int) []byte {
	q.off += n
	return q.b[q.off-n : q.off]
}

func (q *buffer) read(p []byte) int { return copy(p, q.next(min(len(p), q.len()))) }

func (q *buffer) truncate(n int) { q.b = q.b[:q.off+n] }
