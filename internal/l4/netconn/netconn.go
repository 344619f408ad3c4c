package netconn

import (
	"cmp"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
)

// bufBytes is what a Conn holds each way, besides what its engine.Conn holds.
const bufBytes = 32 << 10

// Conn is an engine.Conn as a net.Conn, for code that blocks. Its goroutine and the reactor meet in two bounded
// buffers.
//
//	            goroutine │ reactor
//	Read  ◄── in, 32 KiB ◄┼─ OnData       in full: PauseRead; half read: a task resumes
//	Write ──► out, 32 KiB ┼► conn.Write   queue congested: Write waits for OnSendable
//
// Safe for any goroutine but a reactor's, which must not wait. Read and Write may run at the same time; of two Reads or
// two Writes one waits for the other.
type Conn struct {
	conn   *engine.Conn // used by its reactor only
	task   engine.Task
	remote net.Addr

	writing sync.Mutex // held by the one Write that may fill out
	mu      sync.Mutex
	reader  sync.Cond // in has bytes, the end came, or the deadline passed
	writer  sync.Cond
	in, out buffer   // guarded by mu, as all below
	readBy  deadline // of Read
	writeBy deadline // of Write
	local   net.Addr
	err     error // why conn was closed
	eof     bool  // the peer sent FIN
	broken  bool  // writing fails, reading may go on
	paused  bool  // the reactor does not read
	posted  bool  // task was posted and has not begun
	finish  bool  // CloseWrite was called
	closed  bool  // Close was called
}

var _ net.Conn = (*Conn)(nil)

// New takes c over and returns it as a net.Conn, which gets the unread bytes, and those that a present OnData leaves.
// Inside a callback of c only; c must not be used by others from then on.
func New(c *engine.Conn) *Conn {
	s := &Conn{conn: c, local: c.Local().Net(), remote: c.Peer().Net(), eof: c.EOF()}
	s.reader.L, s.writer.L = &s.mu, &s.mu
	s.task.Run = s.run
	if !c.Open() {
		s.err = engine.ErrClosed
		return s
	}
	if !c.Connecting() {
		c.SetTimeout(0)
	}
	c.SetHandler((*events)(s))
	c.ResumeRead()
	return s
}

// Read waits for bytes, the peer's end (io.EOF), the deadline (os.ErrDeadlineExceeded) or Close (net.ErrClosed).
func (s *Conn) Read(p []byte) (int, error) {
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
			if s.paused && s.in.len() <= bufBytes/2 {
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
func (s *Conn) Write(p []byte) (n int, err error) {
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
func (s *Conn) Close() error {
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

// CloseWrite sends FIN after what was written; reading goes on.
func (s *Conn) CloseWrite() error {
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
func (s *Conn) SetDeadline(t time.Time) error { return s.setDeadline(t, &s.readBy, &s.writeBy) }

// SetReadDeadline sets the deadline of Read, of a pending one too.
func (s *Conn) SetReadDeadline(t time.Time) error { return s.setDeadline(t, &s.readBy) }

// SetWriteDeadline sets the deadline of Write, of a pending one too.
func (s *Conn) SetWriteDeadline(t time.Time) error { return s.setDeadline(t, &s.writeBy) }

func (s *Conn) setDeadline(t time.Time, deadlines ...*deadline) error {
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
func (s *Conn) LocalAddr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.local
}

// RemoteAddr returns the address of the peer.
func (s *Conn) RemoteAddr() net.Addr { return s.remote }

func (s *Conn) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake()
}

// wake lets all calls that wait look again.
func (s *Conn) wake() {
	s.reader.Broadcast()
	s.writer.Broadcast()
}

// ask makes the reactor run the task. mu is held.
func (s *Conn) ask() {
	if !s.posted {
		s.posted = true
		s.conn.Reactor().Post(&s.task)
	}
}

// run is the task.
func (s *Conn) run(*engine.Reactor) {
	s.mu.Lock()
	s.posted = false
	resume := s.paused && s.in.len() <= bufBytes/2
	if resume {
		s.paused = false
	}
	closing := s.closed
	s.mu.Unlock()
	if resume {
		s.conn.ResumeRead()
	}
	if closing {
		s.conn.SetTimeout(s.conn.Reactor().Engine().SendTimeout())
	}
	s.flush()
}

// flush moves out to conn as long as its queue is not congested, and ends writing when that was asked for.
func (s *Conn) flush() {
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

// events is a Conn as its engine.Conn sees it.
type events Conn

func (h *events) OnOpen(c *engine.Conn) {
	s := (*Conn)(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.local = c.Local().Net()
}

func (h *events) OnData(c *engine.Conn, in []byte) int {
	s := (*Conn)(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return len(in)
	}
	n := s.in.fill(in)
	if s.in.len() == bufBytes {
		s.paused = true
		c.PauseRead()
	}
	s.reader.Signal()
	return n
}

func (h *events) OnSendable(*engine.Conn) { (*Conn)(h).flush() }

// OnTimeout ends a Conn that was closed and whose peer takes nothing.
func (h *events) OnTimeout(c *engine.Conn) { c.Close(engine.ErrTimeout) }

func (h *events) OnEOF(*engine.Conn) {
	s := (*Conn)(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eof = true
	s.reader.Broadcast()
}

func (h *events) OnClose(_ *engine.Conn, cause error) {
	s := (*Conn)(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	cause = cmp.Or(cause, net.ErrClosed)
	s.err = cause
	s.out.release()
	s.wake()
}

// buffer is a bounded queue of bytes that holds memory only while it holds bytes.
//
//	data == nil <=> r == w == 0; data != nil => 0 <= r < w <= bufBytes
type buffer struct {
	data *[bufBytes]byte
	r, w int
}

var buffers = sync.Pool{New: func() any { return new([bufBytes]byte) }}

func (b *buffer) len() int { return b.w - b.r }

// bytes returns what b holds. Borrowed until b changes.
func (b *buffer) bytes() []byte {
	if b.data == nil {
		return nil
	}
	return b.data[b.r:b.w]
}

// fill copies as much of p as there is room for.
func (b *buffer) fill(p []byte) int {
	if len(p) == 0 {
		return 0
	}
	if b.data == nil {
		b.data = buffers.Get().(*[bufBytes]byte)
	}
	if b.r > 0 && len(p) > bufBytes-b.w {
		b.r, b.w = 0, copy(b.data[:], b.data[b.r:b.w])
	}
	n := copy(b.data[b.w:], p)
	b.w += n
	b.check()
	return n
}

// take copies to p and forgets what it copied.
func (b *buffer) take(p []byte) int {
	n := copy(p, b.bytes())
	b.skip(n)
	return n
}

func (b *buffer) skip(n int) {
	if b.r += n; b.r == b.w {
		b.release()
	}
	b.check()
}

func (b *buffer) release() {
	if b.data != nil {
		buffers.Put(b.data)
	}
	*b = buffer{}
}

// check panics when the invariants of buffer do not hold, in a checked build.
func (b *buffer) check() {
	if invariant.On && *b != (buffer{}) && (b.data == nil || b.r < 0 || b.r >= b.w || b.w > bufBytes) {
		invariant.That(false, "a buffer holds %d to %d, of memory: %v", b.r, b.w, b.data != nil)
	}
}

// deadline is a time after which calls fail.
// Guarded by the mu of its Conn.
type deadline struct {
	at    time.Time // zero: none
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// set arranges for wake to be called at t. A wake of an earlier deadline may come too: the calls that wait ask passed.
func (d *deadline) set(t time.Time, wake func()) {
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

func (d *deadline) stop() {
	d.at = time.Time{}
	if d.timer != nil {
		d.timer.Stop()
	}
}
