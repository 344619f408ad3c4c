package origin

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/bench/rawio"
)

const (
	headMax      = 64 << 10
	scratchBytes = 64 << 10
	// An answer above batchMax is written by itself; the others of one read leave together.
	batchMax = 4 << 10
)

// Server is the origin. Owned by the goroutine in Serve; Addr and Stop are safe for any.
type Server struct {
	*rawio.Server
	counter *Counter
	answers *answers
	conns   []*conn // by slot; slot 0 is the listener
	free    []uint32
	scratch []byte
	batch   []byte
}

// conn is one connection. Owned by its Server.
//
//	kept holds a whole request, or bytes of a body => len(owed) > 0: nothing is parsed meanwhile
//	skip > 0 => len(after) > 0: the next skip bytes are a body, then after is sent
type conn struct {
	fd         int
	generation uint32
	canRead    bool
	ended      bool // FIN or an error follows the bytes
	closing    bool // an answer said Connection: close
	echoes     bool // it is a WebSocket
	skip       int
	after      []byte
	afterClose bool   // after says Connection: close
	kept       []byte // bytes of requests that are not whole
	owed       []byte // the rest of answers that the kernel did not take
}

// New listens on addr and counts requests in counter.
func New(addr string, counter *Counter) (*Server, error) {
	s := &Server{counter: counter, answers: newAnswers(time.Now()), conns: []*conn{nil},
		scratch: make([]byte, scratchBytes)}
	var err error
	s.Server, err = rawio.NewServer(addr, rawio.ParkThread, s.ready)
	return s, err
}

// Close closes every descriptor; Serve has returned.
func (s *Server) Close() {
	for _, c := range s.conns {
		if c != nil && c.fd >= 0 {
			rawio.Close(c.fd)
		}
	}
	s.Server.Close()
}

func (s *Server) accept() {
	for {
		fd, errno := s.Listener.Accept()
		if errno != 0 {
			return
		}
		slot := s.takeSlot()
		c := s.conns[slot]
		c.fd, c.canRead = fd, true
		if s.Epoll.Add(fd, slot, c.generation) != 0 {
			s.drop(slot, c)
			continue
		}
		s.run(slot, c)
	}
}

func (s *Server) takeSlot() uint32 {
	if n := len(s.free); n > 0 {
		slot := s.free[n-1]
		s.free = s.free[:n-1]
		return slot
	}
	s.conns = append(s.conns, &conn{fd: -1})
	return uint32(len(s.conns) - 1)
}

func (s *Server) ready(ev rawio.Event) {
	if ev.Slot == rawio.ListenSlot {
		s.accept()
		return
	}
	c := s.conns[ev.Slot]
	if c.generation != ev.Generation || c.fd < 0 {
		return // it was closed by an event before this one
	}
	c.canRead = c.canRead || ev.CanRead()
	c.ended = c.ended || ev.Ended()
	s.run(ev.Slot, c)
}

func (s *Server) run(slot uint32, c *conn) {
	if len(c.owed) > 0 && !s.flushOwed(c) {
		s.drop(slot, c)
		return
	}
	if len(c.owed) == 0 && len(c.kept) > 0 {
		kept := c.kept
		c.kept = nil
		if !s.consume(c, kept) {
			s.drop(slot, c)
			return
		}
	}
	for c.canRead && len(c.owed) == 0 && !c.closing {
		if !s.read(c) {
			s.drop(slot, c)
			return
		}
	}
	if c.closing && len(c.owed) == 0 {
		s.drop(slot, c)
	}
}

// read reads once; false means that the connection is over.
func (s *Server) read(c *conn) bool {
	n, errno := rawio.Read(c.fd, s.scratch)
	if errno == unix.EAGAIN {
		c.canRead = false
		return true
	}
	if errno != 0 || n == 0 {
		return false
	}
	if n < len(s.scratch) && !c.ended {
		c.canRead = false
	}
	in := s.scratch[:n]
	if len(c.kept) > 0 {
		in = append(c.kept, in...)
		c.kept = nil
	}
	return s.consume(c, in)
}

// consume answers the requests in in, which is borrowed until return, and keeps what is left over.
func (s *Server) consume(c *conn, in []byte) bool {
	s.batch = s.batch[:0]
	for len(in) > 0 && !c.closing && len(c.owed) == 0 {
		if c.echoes {
			n, ok := s.echo(c, in)
			if !ok {
				return false
			}
			if n == 0 {
				break
			}
			in = in[n:]
			continue
		}
		if c.skip > 0 {
			n := min(c.skip, len(in))
			c.skip -= n
			in = in[n:]
			if c.skip > 0 {
				break
			}
			c.closing = c.afterClose
			if !s.answer(c, c.after) {
				return false
			}
			continue
		}
		r := s.answers.readRequest(in)
		if r.headLen == 0 {
			break
		}
		in = in[r.headLen:]
		if r.key != nil {
			s.batch = appendSwitch(s.batch, r.key)
			c.echoes = true
			continue
		}
		bytes := r.answer.keep
		if r.close {
			bytes = r.answer.close
		}
		if r.bodyLen > 0 {
			c.skip, c.after, c.afterClose = r.bodyLen, bytes, r.close
			continue
		}
		c.closing = r.close
		if !s.answer(c, bytes) {
			return false
		}
	}
	if len(in) > 0 && !c.closing {
		c.kept = append([]byte(nil), in...)
	}
	return len(c.kept) <= headMax+scratchBytes && s.flushBatch(c)
}

// answer sends p or lays it into the batch. p is immutable.
func (s *Server) answer(c *conn, p []byte) bool {
	s.counter.Add(1)
	if len(p) <= batchMax {
		s.batch = append(s.batch, p...)
		return true
	}
	return s.flushBatch(c) && s.send(c, p)
}

func (s *Server) flushBatch(c *conn) bool {
	if len(s.batch) == 0 {
		return true
	}
	n, errno := rawio.Write(c.fd, s.batch)
	if errno != 0 && errno != unix.EAGAIN {
		return false
	}
	if errno != 0 {
		n = 0
	}
	if n < len(s.batch) {
		c.owed = append([]byte(nil), s.batch[n:]...)
	}
	s.batch = s.batch[:0]
	return true
}

// send writes p, which is immutable, after what is owed.
func (s *Server) send(c *conn, p []byte) bool {
	if len(c.owed) > 0 {
		c.owed = append(c.owed, p...)
		return true
	}
	c.owed = p
	return s.flushOwed(c)
}

func (s *Server) flushOwed(c *conn) bool {
	for len(c.owed) > 0 {
		n, errno := rawio.Write(c.fd, c.owed)
		if errno == unix.EAGAIN {
			return true
		}
		if errno != 0 {
			return false
		}
		c.owed = c.owed[n:]
	}
	return true
}

func (s *Server) drop(slot uint32, c *conn) {
	rawio.Close(c.fd)
	*c = conn{fd: -1, generation: c.generation + 1}
	s.free = append(s.free, slot)
}
