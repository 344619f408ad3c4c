package quicconn

import (
	"encoding"
	"encoding/binary"
	"errors"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/quic"
)

// link is how one reactor passes datagrams on to the process before this one: an upgrade has handed the sockets over,
// and connections stay where they are. It is a stream of frames, and as a connection of the engine it has bounds: a
// datagram that its queue does not take is lost.
//
//	client ─► port ─► door ── another generation ─► link ══ socketpair ══► served ─► door ─► Conn      in the process
//	   ▲                                                                                      │        before
//	   └──────────────────────────────────── its copy of the port ◄──────────────────────────┘
//
//	┌──────┬──────────────┬──────┬───────────────┬───────┬──────────┐
//	│ size │ size of peer │ peer │ size of local │ local │ datagram │   size counts the octets after it, in 2 octets
//	└──────┴──────────────┴──────┴───────────────┴───────┴──────────┘   the sizes of the addresses have 1 octet each
//
// Owned by its reactor.
type link struct {
	engine.NopHandler
	door  *door
	conn  *engine.Conn
	frame []byte // that was sent last, for its memory
}

// passMax is the longest datagram that is passed on: no packet of QUIC in use is longer.
const passMax = 16 << 10

var errFrame = errors.New("a frame between processes is malformed")

// Inherit makes fds the ends of links to the process before, which has served the others: see Serve. It is called
// before there are ports. Safe for any goroutine but a reactor's.
func (s *Server) Inherit(fds []poller.FD) {
	s.links = min(len(fds), len(s.doors))
	s.linked.Store(int32(s.links))
	for i, fd := range fds {
		l := &s.doors[i%len(s.doors)]
		l.reactor.Post(&engine.Task{Run: func(r *engine.Reactor) {
			k := &link{door: l}
			c, err := r.Adopt(engine.Inherited(fd), k)
			switch k.conn = c; {
			case err == nil && i < s.links:
				l.link = k
			case err == nil:
				c.Close(nil) // a reactor needs one
			case i < s.links:
				s.linked.Add(-1)
			}
		}})
	}
}

// Linked reports whether datagrams can be passed on to the process before: engine.Steering. Safe for any goroutine.
func (s *Server) Linked() bool { return s.linked.Load() > 0 }

// OnClose notes that the process before has ended.
func (k *link) OnClose(*engine.Conn, error) {
	if k.door.link == k {
		k.door.link = nil
		k.door.server.linked.Add(-1)
	}
}

// pass passes a datagram on where its id names an older generation, and reports whether it does.
func (l *door) pass(d []byte, h *quic.Header, p quic.Path) bool {
	s := l.server
	if len(h.Dest) != quic.IDLen || !s.Linked() {
		return false
	}
	generation, _ := s.keys.placeOf(h.Dest)
	age := (s.generation + generations - generation) % generations
	if age == 0 || age == generations-1 {
		return false
	}
	if l.link != nil {
		l.passHere(d, p)
	} else {
		s.doors[l.reactor.Index()%s.links].mail(l, d, p, outwards)
	}
	return true
}

// passHere passes a datagram on by the link of l.
func (l *door) passHere(d []byte, p quic.Path) {
	k := l.link
	if k == nil || len(d) > passMax {
		l.stats.PassLost++
		return
	}
	k.frame = appendFrame(k.frame[:0], d, p)
	if k.conn.Write(k.frame) != nil {
		l.stats.PassLost++
		return
	}
	l.stats.Passed++
}

// Serve takes the datagrams that come by fd, for reactor i modulo their number: the process that takes over from this
// one has the other end. Safe for any goroutine but a reactor's.
func (s *Server) Serve(i int, fd poller.FD) {
	l := &s.doors[i%len(s.doors)]
	l.reactor.Post(&engine.Task{Run: func(r *engine.Reactor) {
		r.Adopt(engine.Inherited(fd), &served{door: l}) //nolint:errcheck // the other end hears of it
	}})
}

// served is the end of a link in the process before. Owned by its reactor.
type served struct {
	engine.NopHandler
	door *door
}

// OnData gives datagrams to their connections.
func (s *served) OnData(c *engine.Conn, in []byte) (used int) {
	defer s.door.endCurrent()
	for {
		d, p, n, err := cutFrame(in[used:])
		if err != nil {
			c.Close(err)
			return len(in)
		}
		if n == 0 {
			return used
		}
		s.take(d, p)
		used += n
	}
}

// take gives a datagram to its connection. A panic costs this datagram, not the link.
func (s *served) take(d []byte, p quic.Path) {
	defer func() {
		if v := recover(); v != nil {
			s.door.reactor.Panicked(v)
		}
	}()
	s.door.take(d, p, byLink)
}

// appendFrame appends the frame of a datagram of passMax octets at most.
func appendFrame(b, d []byte, p quic.Path) []byte {
	begin := len(b)
	b = append(b, 0, 0)
	b = appendField(b, p.Peer)
	b = appendField(b, p.Local)
	b = append(b, d...)
	binary.BigEndian.PutUint16(b[begin:], uint16(len(b)-begin-2))
	return b
}

// appendField appends an address after an octet that tells its length.
func appendField[A encoding.BinaryAppender](b []byte, a A) []byte {
	at := len(b)
	b, _ = a.AppendBinary(append(b, 0)) // addresses never fail
	b[at] = byte(len(b) - at - 1)
	return b
}

// cutFrame reads the frame at the front of b, of n octets; 0: it has not come whole.
func cutFrame(b []byte) (d []byte, p quic.Path, n int, err error) {
	if len(b) < 2 {
		return nil, p, 0, nil
	}
	n = 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < n {
		return nil, p, 0, nil
	}
	peer, rest, ok := cutField(b[2:n])
	local, d, whole := cutField(rest)
	if !ok || !whole || p.Peer.UnmarshalBinary(peer) != nil || p.Local.UnmarshalBinary(local) != nil {
		return nil, p, 0, errFrame
	}
	return d, p, n, nil
}

// cutField cuts an address from the front of b, where appendField has put it.
func cutField(b []byte) (field, rest []byte, ok bool) {
	if len(b) == 0 || len(b) <= int(b[0]) {
		return nil, nil, false
	}
	return b[1 : 1+b[0]], b[1+b[0]:], true
}
