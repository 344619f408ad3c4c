package engine

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/poller"
)

// streamBytes is what a Stream holds each way, beside what its Conn holds.
const streamBytes = 32 << 10

// Stream is a Conn as a net.Conn, for code that blocks: handshakes, hijackers, net/http. Its goroutine and the reactor
// meet in two bounded buffers; a full one pauses whoever fills it.
//
//	            goroutine │ reactor
//	Read  ◄── in, 32 KiB ◄┼─ OnData      in full: PauseRead; half read: a task resumes
//	Write ──► out, 32 KiB ┼► Conn.Write  queue congested: Write waits for OnSendable
//
// Safe for any goroutine but a reactor's, since all that waits waits for one. Read and Write may run at the same time;
// two of the same kind take turns.
type Stream struct {
	conn   *Conn // touched by its reactor only
	task   Task
	remote net.Addr

	writing sync.Mutex // held by the one Write that may fill out
	mu      sync.Mutex
	reader  sync.Cond // in has bytes, the end came, or the deadline passed
	writer  sync.Cond
	in, out streamBuf      // guarded by mu, as all below
	readBy  streamDeadline // of Read
	writeBy streamDeadline // of Write
	local   net.Addr
	err     error // why the Conn was closed
	eof     bool  // the peer sent FIN
	broken  bool  // writing fails, reading may go on
	paused  bool  // the reactor does not read
	posted  bool  // task is on its way
	finish  bool  // CloseWrite was called
	closed  bool  // Close was called
}

var _ net.Conn = (*Stream)(nil)

// NewStream takes c over and returns it as a net.Conn. Unread bytes go to the Stream, those that a present OnData
// leaves included. On c's reactor; c must not be used by others from then on.
func NewStream(c *Conn) *Stream {
	s := &Stream{conn: c, local: netAddr(c.Local()), remote: netAddr(c.peer), eof: c.flags&eof != 0}
	s.reader.L, s.writer.L = &s.mu, &s.mu
	s.task.Run = s.run
	if c.flags&reaping != 0 {
		s.err = ErrClosed
		return s
	}
	if c.state == open {
		c.SetTimeout(0)
	}
	c.SetHandler((*streamEvents)(s))
	c.ResumeRead()
	return s
}

// Read waits for bytes, the peer's end (io.EOF), the deadline (os.ErrDeadlineExceeded) or Close (net.ErrClosed).
func (s *Stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, net.ErrClosed
		case s.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case s.in.len() > 0:
			n := s.in.take(p)
			if s.paused && s.in.len() <= streamBytes/2 {
				s.ask()
			}
			return n, nil
		case s.eof:
			return 0, io.EOF
		case s.err != nil:
			return 0, s.err
		}
		s.reader.Wait()
	}
}

// Write waits until all of p was taken over, the deadline passed, or the connection ended. What it took leaves in
// order, also when Close follows.
func (s *Stream) Write(p []byte) (n int, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.closed:
			return n, net.ErrClosed
		case s.writeBy.passed():
			return n, os.ErrDeadlineExceeded
		case s.err != nil:
			return n, s.err
		case s.finish || s.broken:
			return n, syscall.EPIPE
		}
		if m := s.out.fill(p[n:]); m > 0 {
			n += m
			s.ask()
		}
		if n == len(p) {
			return n, nil
		}
		s.writer.Wait()
	}
}

// Close ends the connection: what was written is sent first, in the background and for at most SendTimeout. Pending
// calls return net.ErrClosed, and so does a second Close.
func (s *Stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.closed = true
	s.in.release()
	s.readBy.stop()
	s.writeBy.stop()
	s.wake()
	s.ask()
	return nil
}

// CloseWrite sends FIN behind what was written; reading goes on.
func (s *Stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.finish = true
	s.writer.Broadcast()
	s.ask()
	return nil
}

// SetDeadline sets the deadlines of Read and of Write; the zero time means none.
func (s *Stream) SetDeadline(t time.Time) error { return s.setDeadline(t, &s.readBy, &s.writeBy) }

// SetReadDeadline sets the deadline of Read, of a pending one too.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.setDeadline(t, &s.readBy) }

// SetWriteDeadline sets the deadline of Write, of a pending one too.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.setDeadline(t, &s.writeBy) }

func (s *Stream) setDeadline(t time.Time, deadlines ...*streamDeadline) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	for _, d := range deadlines {
		d.set(t, s.expire)
	}
	s.wake()
	return nil
}

// LocalAddr returns the address of our end.
func (s *Stream) LocalAddr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.local
}

// RemoteAddr returns the address of the peer.
func (s *Stream) RemoteAddr() net.Addr { return s.remote }

func (s *Stream) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake()
}

// wake lets everybody who waits look again.
func (s *Stream) wake() {
	s.reader.Broadcast()
	s.writer.Broadcast()
}

// ask has the reactor look at what there is to do. mu is held.
func (s *Stream) ask() {
	if !s.posted {
		s.posted = true
		s.conn.reactor.Post(&s.task)
	}
}

// run is what the reactor does when asked.
func (s *Stream) run(*Reactor) {
	s.mu.Lock()
	s.posted = false
	resume := s.paused && s.in.len() <= streamBytes/2
	if resume {
		s.paused = false
	}
	closing := s.closed
	s.mu.Unlock()
	if resume {
		s.conn.ResumeRead()
	}
	if closing {
		s.conn.SetTimeout(s.conn.reactor.opts.SendTimeout)
	}
	s.flush()
}

// flush moves out to the Conn as far as its queue is not congested, and ends writing when that was asked for.
func (s *Stream) flush() {
	c := s.conn
	s.mu.Lock()
	before := s.out.len()
	for s.out.len() > 0 && !c.Congested() {
		p := s.out.bytes()
		p = p[:min(len(p), c.Room())]
		if len(p) == 0 || c.Write(p) != nil { // the socket takes nothing any more
			s.broken = true
			s.out.release()
			break
		}
		s.out.skip(len(p))
	}
	if s.out.len() < before {
		s.writer.Broadcast()
	}
	done := s.out.len() == 0
	finish, closed := done && s.finish, done && s.closed
	s.mu.Unlock()
	switch {
	case closed:
		c.Close(nil)
	case finish:
		c.CloseWrite()
	}
}

// streamEvents is a Stream as its Conn sees it.
type streamEvents Stream

func (h *streamEvents) OnOpen(c *Conn) {
	s := (*Stream)(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.local = netAddr(c.Local())
}

func (h *streamEvents) OnData(c *Conn, in []byte) int {
	s := (*Stream)(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return len(in)
	}
	n := s.in.fill(in)
	if s.in.len() == streamBytes {
		s.paused = true
		c.PauseRead()
	}
	s.reader.Signal()
	return n
}

func (h *streamEvents) OnSendable(*Conn) { (*Stream)(h).flush() }

// OnTimeout ends a Stream that was closed and whose peer takes nothing.
func (h *streamEvents) OnTimeout(c *Conn) { c.Close(ErrTimeout) }

func (h *streamEvents) OnEOF(*Conn) {
	s := (*Stream)(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eof = true
	s.reader.Broadcast()
}

func (h *streamEvents) OnClose(_ *Conn, cause error) {
	s := (*Stream)(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if cause == nil {
		cause = net.ErrClosed
	}
	s.err = cause
	s.out.release()
	s.wake()
}

// streamBuf is a bounded queue of bytes that holds memory only while it holds bytes.
//
//	data == nil <=> r == w == 0
type streamBuf struct {
	data *[streamBytes]byte
	r, w int
}

var streamBufs = sync.Pool{New: func() any { return new([streamBytes]byte) }}

func (b *streamBuf) len() int { return b.w - b.r }

// bytes returns what b holds. Borrowed until b changes.
func (b *streamBuf) bytes() []byte {
	if b.data == nil {
		return nil
	}
	return b.data[b.r:b.w]
}

// fill copies as much of p as there is room for.
func (b *streamBuf) fill(p []byte) int {
	if len(p) == 0 {
		return 0
	}
	if b.data == nil {
		b.data = streamBufs.Get().(*[streamBytes]byte)
	}
	if b.r > 0 && len(p) > streamBytes-b.w {
		b.r, b.w = 0, copy(b.data[:], b.data[b.r:b.w])
	}
	n := copy(b.data[b.w:], p)
	b.w += n
	return n
}

// take copies to p and forgets what it copied.
func (b *streamBuf) take(p []byte) int {
	n := copy(p, b.bytes())
	b.skip(n)
	return n
}

func (b *streamBuf) skip(n int) {
	if b.r += n; b.r == b.w {
		b.release()
	}
}

func (b *streamBuf) release() {
	if b.data != nil {
		streamBufs.Put(b.data)
	}
	*b = streamBuf{}
}

// streamDeadline is a time after which calls fail.
// Guarded by the mu of its Stream.
type streamDeadline struct {
	at    time.Time // zero: none
	timer *time.Timer
}

func (d *streamDeadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// set arranges for wake to be called at t. A wake of an earlier deadline may come too: whoever waits looks at passed.
func (d *streamDeadline) set(t time.Time, wake func()) {
	d.stop()
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	d.at = time.Now().Add(left) // with the monotonic clock, whichever clock t was made of
	switch {
	case left <= 0:
	case d.timer == nil:
		d.timer = time.AfterFunc(left, wake)
	default:
		d.timer.Reset(left)
	}
}

func (d *streamDeadline) stop() {
	d.at = time.Time{}
	if d.timer != nil {
		d.timer.Stop()
	}
}

// netAddr is a as package net has it.
func netAddr(a poller.Addr) net.Addr {
	if a.IsUnix() {
		return &net.UnixAddr{Name: a.Path, Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(a.IP)
}
