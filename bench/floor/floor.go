package floor

import (
	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/bench/rawio"
)

const readBytes = 64 << 10

// Options say where a Relay listens and carries to. The zero Park is rawio.ParkRuntime.
type Options struct {
	Listen string
	Origin string
	Park   rawio.Park
}

// Calls counts the system calls of a Relay.
type Calls struct {
	Reads, Writes, Waits uint64
	Again                uint64 // reads and writes among them that gave EAGAIN
}

// Relay is the floor. Owned by the goroutine in Serve; Addr and Stop are safe for any.
type Relay struct {
	*rawio.Server
	dialer *rawio.Dialer
	ends   []*end   // by slot; slot 0 is the listener, then client and origin end by turns
	free   []uint32 // slots of client ends
	buf    [readBytes]byte
	calls  Calls
}

// end is one of the two sockets of a relayed connection. Owned by its Relay.
//
//	fd < 0 <=> the pair is closed: neither has a descriptor, and it waits in free for its next use
//	len(owed) > 0 => canWrite is false; the peer is not read meanwhile
//	ended => the FIN was passed on, after everything read: nothing is owed to the peer
type end struct {
	fd         int
	generation uint32
	canRead    bool
	canWrite   bool
	last       bool // FIN or an error follows the bytes: a short read is not the last
	ended      bool // read to its end
	owed       []byte
	store      []byte // backing of owed, kept for the next time
	peer       *end
	slot       uint32
}

// New listens and is ready to Serve.
func New(o Options) (*Relay, error) {
	d, err := rawio.NewDialer(o.Origin)
	if err != nil {
		return nil, err
	}
	r := &Relay{dialer: d, ends: []*end{nil}}
	r.Server, err = rawio.NewServer(o.Listen, o.Park, r.ready)
	return r, err
}

// Close closes every descriptor; Serve has returned.
func (r *Relay) Close() {
	for _, e := range r.ends {
		if e != nil && e.fd >= 0 {
			rawio.Close(e.fd)
		}
	}
	r.Server.Close()
}

// Calls returns the counts; Serve has returned.
func (r *Relay) Calls() Calls {
	c := r.calls
	c.Waits = r.Epoll.Waits()
	return c
}

func (r *Relay) ready(ev rawio.Event) {
	if ev.Slot == rawio.ListenSlot {
		r.accept()
		return
	}
	e := r.ends[ev.Slot]
	if e.fd < 0 || e.generation != ev.Generation {
		return // the pair was closed by an event before this one
	}
	e.canRead = e.canRead || ev.CanRead()
	e.canWrite = e.canWrite || ev.CanWrite()
	e.last = e.last || ev.Ended()
	// When e can take bytes again, its peer is read again. Bytes of e go to the peer.
	if e.canWrite && !r.pump(e.peer, e) || !r.pump(e, e.peer) {
		r.closePair(e)
	}
}

// pump carries bytes from one end to the other while both can. False: the pair is over.
func (r *Relay) pump(from, to *end) bool {
	if len(to.owed) > 0 && !r.flush(to) {
		return false
	}
	for from.canRead && !from.ended && len(to.owed) == 0 {
		n, errno := rawio.Read(from.fd, r.buf[:])
		r.calls.Reads++
		if errno == unix.EAGAIN {
			r.calls.Again++
			from.canRead = false
			break
		}
		if errno != 0 {
			return false
		}
		if n == 0 {
			return r.passEnd(from, to)
		}
		if n < len(r.buf) && !from.last {
			from.canRead = false
		}
		if !r.write(to, r.buf[:n]) {
			return false
		}
	}
	return true
}

// passEnd passes a FIN on. False: both directions have ended.
func (r *Relay) passEnd(from, to *end) bool {
	if to.ended {
		return false
	}
	if !to.canWrite {
		return true // still connecting: FIN is read again when it is there
	}
	from.ended = true
	rawio.CloseWrite(to.fd)
	return true
}

// write sends p, which is borrowed until return, and owes what the kernel did not take.
func (r *Relay) write(to *end, p []byte) bool {
	n, errno := rawio.Write(to.fd, p)
	r.calls.Writes++
	if errno == unix.EAGAIN {
		r.calls.Again++
		n, errno = 0, 0
	}
	if errno != 0 {
		return false
	}
	if n < len(p) {
		to.canWrite = false
		to.store = append(to.store[:0], p[n:]...)
		to.owed = to.store
	}
	return true
}

// flush sends what is owed to e, as far as the kernel takes it.
func (r *Relay) flush(e *end) bool {
	for e.canWrite && len(e.owed) > 0 {
		n, errno := rawio.Write(e.fd, e.owed)
		r.calls.Writes++
		switch errno {
		case 0:
			e.owed = e.owed[n:]
		case unix.EAGAIN:
			r.calls.Again++
			e.canWrite = false
		default:
			return false
		}
	}
	return true
}

func (r *Relay) accept() {
	for {
		fd, errno := r.Listener.Accept()
		if errno != 0 {
			return
		}
		up, errno := r.dialer.Dial()
		if errno != 0 {
			rawio.Close(fd)
			continue
		}
		client := r.takePair()
		client.fd, client.peer.fd = fd, up
		// The listener defers accepting until there is something to read.
		client.canRead, client.canWrite = true, true
		if !r.add(client) || !r.add(client.peer) || !r.pump(client, client.peer) {
			r.closePair(client)
		}
	}
}

func (r *Relay) add(e *end) bool { return r.Epoll.Add(e.fd, e.slot, e.generation) == 0 }

func (r *Relay) takePair() *end {
	if n := len(r.free); n > 0 {
		slot := r.free[n-1]
		r.free = r.free[:n-1]
		return r.ends[slot]
	}
	slot := uint32(len(r.ends))
	pair := &[2]end{{fd: -1, slot: slot}, {fd: -1, slot: slot + 1}}
	pair[0].peer, pair[1].peer = &pair[1], &pair[0]
	r.ends = append(r.ends, &pair[0], &pair[1])
	return &pair[0]
}

func (r *Relay) closePair(e *end) {
	r.closeEnd(e)
	r.closeEnd(e.peer)
	r.free = append(r.free, min(e.slot, e.peer.slot))
}

// closeEnd closes e and makes the events that are still on their way stale.
func (r *Relay) closeEnd(e *end) {
	rawio.Close(e.fd)
	*e = end{fd: -1, generation: e.generation + 1, store: e.store[:0], peer: e.peer, slot: e.slot}
}
