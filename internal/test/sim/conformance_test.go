package sim

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// The table below says what a kernel does. It is run against World, with many seeds, and against the kernel of the
// machine: what both agree on, the simulation may rely on.

const (
	rd     = poller.CanRead
	wr     = poller.CanWrite
	rdhup  = poller.PeerClosed | poller.CanRead
	broken = poller.Broken | poller.CanRead | poller.CanWrite
)

// rig is a kernel with a far side.
type rig interface {
	kernel() poller.Kernel
	dial(a poller.Addr) remote
	serve(unix bool) (poller.Addr, func() remote) // an origin; the function waits for its next connection
	// settle returns all reports until nothing happens any more, but not before those of r have come for t.
	settle(t poller.Token, r poller.Ready) map[poller.Token]poller.Ready
	address(unix bool) poller.Addr // where nobody listens
	slow() bool                    // what has not happened may still happen: ask again
}

// remote is a far end.
type remote interface {
	send(p string)
	closeWrite()
	close()
	reset()
	// drain reads all there is. end is "" while more may come, else "FIN" or "RST".
	drain() (n int, end string)
	// holds waits until n bytes lie there.
	holds(n int)
}

// script is one row at work.
type script struct {
	t testing.TB
	rig
	unix bool
}

func (s *script) want(step string, got map[poller.Token]poller.Ready, t poller.Token, r poller.Ready) {
	s.t.Helper()
	if got[t] != r {
		s.t.Fatalf("%s: ready is %04b, want %04b", step, got[t], r)
	}
}

// ready settles and checks the reports of the connection.
func (s *script) ready(step string, r poller.Ready) {
	s.t.Helper()
	s.want(step, s.settle(2, r), 2, r)
}

func (s *script) read(fd poller.FD, size, n int, errno syscall.Errno) {
	s.t.Helper()
	got, e := s.kernel().Read(fd, make([]byte, size))
	for e == syscall.EAGAIN && e != errno && s.slow() {
		got, e = s.kernel().Read(fd, make([]byte, size))
	}
	if got != n || e != errno {
		s.t.Fatalf("read gave %d %v, want %d %v", got, e, n, errno)
	}
}

func (s *script) write(fd poller.FD, p string, n int, errno syscall.Errno) {
	s.t.Helper()
	if got, e := s.kernel().Write(fd, []byte(p)); got != n || e != errno {
		s.t.Fatalf("write gave %d %v, want %d %v", got, e, n, errno)
	}
}

func (s *script) splice(from, to poller.FD, size, n int, errno syscall.Errno) {
	s.t.Helper()
	got, e := s.kernel().Splice(from, to, size)
	for e == syscall.EAGAIN && e != errno && s.slow() {
		got, e = s.kernel().Splice(from, to, size)
	}
	if got != n || e != errno {
		s.t.Fatalf("splice gave %d %v, want %d %v", got, e, n, errno)
	}
}

func (s *script) ends(r remote, bytes int, end string) {
	s.t.Helper()
	n, e := r.drain()
	for n <= bytes && e == "" && (n < bytes || end != "") && s.slow() {
		more := 0
		more, e = r.drain()
		n += more
	}
	if n != bytes || e != end {
		s.t.Fatalf("far side got %d bytes, %q; want %d, %q", n, e, bytes, end)
	}
}

func (s *script) listen(o poller.ListenOptions) (poller.FD, poller.Addr) {
	s.t.Helper()
	at := tcp(0)
	if s.unix {
		at = s.address(true)
	}
	fd, a, err := s.kernel().Listen(at, &o)
	testutil.Must(s.t, err)
	s.ok(s.kernel().Add(fd, 1))
	return fd, a
}

// accept takes the next connection of l.
func (s *script) accept(l poller.FD) poller.FD {
	s.t.Helper()
	fd, _, errno := s.kernel().Accept(l)
	s.ok(errno)
	return fd
}

func (s *script) ok(errno syscall.Errno) {
	s.t.Helper()
	if errno != 0 {
		s.t.Fatal(errno)
	}
}

// accepted opens a connection from the far side.
func (s *script) accepted() (poller.FD, remote) {
	s.t.Helper()
	l, a := s.listen(poller.ListenOptions{})
	r := s.dial(a)
	s.want("listener", s.settle(1, rd), 1, rd)
	fd := s.accept(l)
	return fd, r
}

// added is accepted, registered and settled.
func (s *script) added() (poller.FD, remote) {
	s.t.Helper()
	fd, r := s.accepted()
	s.kernel().Add(fd, 2)
	s.ready("add", wr)
	return fd, r
}

var conformance = []struct {
	name string
	tcp  bool // makes sense for TCP
	unix bool // and for Unix sockets
	run  func(s *script)
}{
	{"bytes make an edge even while others are unread", true, true, func(s *script) {
		fd, r := s.added()
		s.ready("silence", 0)
		r.send("one")
		s.ready("bytes", rd|wr)
		s.ready("silence", 0)
		r.send("two")
		s.ready("more bytes", rd|wr)
		s.read(fd, 4, 4, 0)
		s.ready("a partial read", 0)
		s.read(fd, 4, 2, 0)
		s.read(fd, 4, -1, syscall.EAGAIN)
	}},
	{"add reports what holds already", true, true, func(s *script) {
		fd, r := s.accepted()
		r.send("hello")
		s.settle(2, 0)
		s.kernel().Add(fd, 2)
		s.ready("add", rd|wr)
		s.read(fd, 9, 5, 0)
	}},
	{"what was read before Wait is not reported", true, true, func(s *script) {
		fd, r := s.accepted()
		r.send("hello")
		s.settle(2, 0)
		s.kernel().Add(fd, 2)
		s.read(fd, 9, 5, 0)
		s.ready("add, then read", wr)
	}},
	{"del silences, add speaks again", true, true, func(s *script) {
		fd, r := s.added()
		s.kernel().Del(fd)
		r.send("hello")
		s.ready("bytes after del", 0)
		s.kernel().Add(fd, 2)
		s.ready("add", rd|wr)
	}},
	{"a listening socket has two descriptors, and ends with the last", true, true, func(s *script) {
		l, a := s.listen(poller.ListenOptions{})
		k := s.kernel()
		again, errno := k.Duplicate(l)
		s.ok(errno)
		if at, err := k.Adopt(again, &poller.ListenOptions{}); err != nil || at != a {
			s.t.Fatalf("adopted at %v: %v; it is at %v", at, err, a)
		}
		k.Del(l)
		k.Close(l)
		s.dial(a)
		s.settle(1, 0)
		s.ok(k.Add(again, 3))
		s.want("the other descriptor", s.settle(3, rd), 3, rd)
		s.accept(again)
		k.Close(again)
		l, _, err := k.Listen(a, &poller.ListenOptions{})
		if err != nil {
			s.t.Fatal("it still listens: ", err)
		}
		k.Close(l)
	}},
	{"a connection is adopted with its peer and what it has not read", true, true, func(s *script) {
		fd, r := s.added()
		k := s.kernel()
		r.send("hello")
		s.ready("bytes", rd|wr)
		k.Del(fd)
		if peer, err := k.Adopt(fd, nil); err != nil || !s.unix && peer.IP.Port() == 0 {
			s.t.Fatalf("adopted from %v: %v", peer, err)
		}
		k.Add(fd, 2)
		s.ready("add", rd|wr)
		s.read(fd, 9, 5, 0)
	}},
	{"a connection that was reset is not adopted", true, false, func(s *script) {
		fd, r := s.added()
		r.reset()
		s.ready("reset", rdhup|broken)
		s.kernel().Del(fd)
		if _, err := s.kernel().Adopt(fd, nil); err == nil {
			s.t.Fatal("adopted")
		}
	}},
	{"close silences", true, true, func(s *script) {
		fd, r := s.added()
		r.send("hello")
		s.kernel().Close(fd)
		s.ready("close", 0)
	}},
	{"splice moves bytes and tells the end", true, true, func(s *script) {
		fd, r := s.added()
		out, in, size, errno := s.kernel().Pipe(64 << 10)
		if errno != 0 || size < 8 {
			s.t.Skip("a small pipe")
		}
		defer s.kernel().Close(in)
		defer s.kernel().Close(out)
		s.splice(fd, in, 8, -1, syscall.EAGAIN)
		s.splice(out, fd, 8, -1, syscall.EAGAIN)
		r.send("hello")
		s.settle(2, 0)
		s.splice(fd, in, 3, 3, 0)
		s.splice(fd, in, 8, 2, 0)
		s.read(out, 1, 1, 0)
		s.splice(out, fd, 3, 3, 0)
		s.splice(out, fd, 8, 1, 0)
		s.settle(2, 0)
		s.ends(r, 4, "")
		r.closeWrite()
		s.settle(2, 0)
		s.splice(fd, in, 8, 0, 0)
		s.splice(fd, fd, 8, -1, syscall.EINVAL)
	}},
	{"splice tells of RST", true, false, func(s *script) {
		fd, r := s.added()
		out, in, _, errno := s.kernel().Pipe(64 << 10)
		s.ok(errno)
		defer s.kernel().Close(in)
		defer s.kernel().Close(out)
		r.reset()
		s.settle(2, 0)
		s.splice(fd, in, 8, -1, syscall.ECONNRESET)
	}},
	{"reset is RST", true, false, func(s *script) {
		fd, r := s.added()
		s.kernel().Reset(fd)
		s.ready("reset", 0)
		s.ends(r, 0, "RST")
	}},
	{"reset behind bytes that arrived", true, false, func(s *script) {
		fd, r := s.added()
		s.write(fd, "hello", 5, 0)
		s.settle(2, 0)
		s.ends(r, 5, "")
		s.kernel().Reset(fd)
		s.settle(2, 0)
		s.ends(r, 0, "RST")
	}},
	{"reset of a Unix socket is its end", false, true, func(s *script) {
		fd, r := s.added()
		s.write(fd, "hello", 5, 0)
		s.kernel().Reset(fd)
		s.settle(2, 0)
		s.ends(r, 5, "FIN")
	}},
	{"FIN comes behind the bytes and stays", true, true, func(s *script) {
		fd, r := s.added()
		r.send("bye")
		r.closeWrite()
		s.ready("FIN", rdhup|wr)
		s.read(fd, 9, 3, 0)
		s.read(fd, 9, 0, 0)
		s.read(fd, 9, 0, 0)
		s.write(fd, "late", 4, 0)
		s.settle(2, 0)
		s.ends(r, 4, "")
	}},
	{"RST is an error once", true, false, func(s *script) {
		fd, r := s.added()
		r.reset()
		s.ready("RST", broken|rdhup)
		s.read(fd, 9, -1, syscall.ECONNRESET)
		s.read(fd, 9, 0, 0)
		s.write(fd, "x", -1, syscall.EPIPE)
	}},
	{"RST is told to who writes", true, false, func(s *script) {
		fd, r := s.added()
		r.reset()
		s.ready("RST", broken|rdhup)
		s.write(fd, "x", -1, syscall.ECONNRESET)
		s.write(fd, "x", -1, syscall.EPIPE)
		s.read(fd, 9, 0, 0)
	}},
	{"RST leaves unread bytes readable", true, false, func(s *script) {
		fd, r := s.added()
		r.send("hello")
		s.ready("bytes", rd|wr)
		r.reset()
		s.ready("RST", broken|rdhup)
		s.read(fd, 3, 3, 0)
		s.read(fd, 9, 2, 0)
		s.read(fd, 9, -1, syscall.ECONNRESET)
	}},
	{"RST after FIN reads as the end", true, false, func(s *script) {
		fd, r := s.added()
		r.closeWrite()
		s.ready("FIN", rdhup|wr)
		r.reset()
		s.ready("RST", broken|rdhup)
		s.read(fd, 9, 0, 0)
		if errno := s.kernel().SockError(fd); errno != syscall.EPIPE {
			s.t.Fatalf("SO_ERROR is %v", errno)
		}
		s.write(fd, "x", -1, syscall.EPIPE)
	}},
	{"a peer that is gone answers with RST", true, false, func(s *script) {
		fd, r := s.added()
		r.close()
		s.ready("FIN", rdhup|wr)
		s.write(fd, "x", 1, 0)
		s.ready("RST", broken|rdhup)
		s.write(fd, "x", -1, syscall.EPIPE)
		s.read(fd, 9, 0, 0)
	}},
	{"a peer that is gone breaks the pipe", false, true, func(s *script) {
		fd, r := s.added()
		r.send("bye")
		s.settle(2, 0)
		r.close()
		s.ready("close", broken|rdhup)
		s.write(fd, "x", -1, syscall.EPIPE)
		s.read(fd, 9, 3, 0)
		s.read(fd, 9, 0, 0)
	}},
	{"a peer that half closed and then closes breaks the pipe", false, true, func(s *script) {
		fd, r := s.added()
		r.closeWrite()
		s.ready("FIN", rdhup|wr)
		r.close()
		s.ready("close", broken|rdhup)
		s.write(fd, "x", -1, syscall.EPIPE)
	}},
	{"a peer that leaves with unread bytes resets", true, true, func(s *script) {
		fd, r := s.added()
		s.write(fd, "never read", 10, 0)
		s.settle(2, 0)
		r.holds(10)
		r.close()
		s.ready("close", broken|rdhup)
		s.read(fd, 9, -1, syscall.ECONNRESET)
		s.read(fd, 9, 0, 0)
	}},
	{"shutdown makes an edge and ends writing", true, true, func(s *script) {
		fd, r := s.added()
		s.ok(s.kernel().CloseWrite(fd))
		s.ready("shutdown", wr)
		s.write(fd, "x", -1, syscall.EPIPE)
		s.ends(r, 0, "FIN")
		r.send("still")
		s.ready("bytes", rd|wr)
		s.read(fd, 9, 5, 0)
		r.closeWrite()
		s.ready("both shut", broken|rdhup)
		s.read(fd, 9, 0, 0)
	}},
	{"shutdown of a dead connection", true, false, func(s *script) {
		fd, r := s.added()
		r.reset()
		s.ready("RST", broken|rdhup)
		if errno := s.kernel().CloseWrite(fd); errno != syscall.ENOTCONN {
			s.t.Fatal(errno)
		}
	}},
	{"close sends FIN behind the bytes", true, true, func(s *script) {
		fd, r := s.added()
		s.write(fd, "bye", 3, 0)
		s.kernel().Close(fd)
		s.settle(2, 0)
		s.ends(r, 3, "FIN")
	}},
	{"the last bytes leave with FIN", true, true, func(s *script) {
		fd, r := s.added()
		s.write(fd, "good ", 5, 0)
		if n, errno := s.kernel().WriteLast(fd, []byte("bye")); n != 3 || errno != 0 {
			s.t.Fatal(n, errno)
		}
		s.ok(s.kernel().CloseWrite(fd))
		s.ready("shutdown", wr)
		s.ends(r, 8, "FIN")
	}},
	{"close with unread bytes sends RST", true, true, func(s *script) {
		fd, r := s.added()
		r.send("hello")
		s.ready("bytes", rd|wr)
		s.kernel().Close(fd)
		s.settle(2, 0)
		s.ends(r, 0, "RST")
	}},
	{"bytes to a closed socket are answered with RST", true, false, func(s *script) {
		fd, r := s.added()
		s.kernel().Close(fd)
		s.settle(2, 0)
		r.send("hello")
		s.settle(2, 0)
		r.send("hello?")
		s.settle(2, 0)
		if n, _ := r.drain(); n != 0 {
			s.t.Fatal("bytes from nowhere")
		}
	}},
	{"a full socket tells when there is room", true, true, func(s *script) {
		fd, r := s.added()
		total, stop := 0, syscall.Errno(0)
		chunk := make([]byte, 16<<10)
		for range 10000 {
			n, errno := s.kernel().Writev(fd, [][]byte{chunk[:1], chunk[1:]})
			if stop = errno; errno != 0 {
				break
			}
			if total += n; n < len(chunk) {
				s.settle(2, 0)
			}
		}
		if stop != syscall.EAGAIN {
			s.t.Fatalf("%d bytes written, then %v", total, stop)
		}
		drained := s.drainAll(r, total)
		s.want("drained", drained, 2, wr)
		if n, errno := s.kernel().Write(fd, chunk); n <= 0 {
			s.t.Fatal(errno)
		}
	}},
	{"a short write is enough for the edge to come", true, true, func(s *script) {
		fd, r := s.added()
		total, chunk := 0, make([]byte, 1<<20)
		n, errno := len(chunk), syscall.Errno(0)
		for n == len(chunk) {
			if n, errno = s.kernel().Write(fd, chunk); errno != 0 {
				return // it was full to the byte: the row above
			}
			total += n
		}
		got := s.settle(2, 0) // far side's buffers may still take some
		for t, ready := range s.drainAll(r, total) {
			got[t] |= ready
		}
		s.want("drained", got, 2, wr)
	}},
	{"a listener makes an edge for each connection", true, true, func(s *script) {
		l, a := s.listen(poller.ListenOptions{})
		s.want("nobody", s.settle(1, 0), 1, 0)
		s.dial(a)
		s.want("one", s.settle(1, rd), 1, rd)
		s.dial(a)
		s.want("two", s.settle(1, rd), 1, rd)
		s.want("silence", s.settle(1, 0), 1, 0)
		for range 2 {
			s.accept(l)
		}
		if _, _, errno := s.kernel().Accept(l); errno != syscall.EAGAIN {
			s.t.Fatal(errno)
		}
	}},
	{"a deferred connection is seen with its bytes", true, false, func(s *script) {
		_, a := s.listen(poller.ListenOptions{DeferAccept: true})
		begun := s.kernel().Now()
		r := s.dial(a)
		got := s.peek()
		// The kernel waits for bytes for a second.
		if took := s.kernel().Now() - begun; got[1] != 0 && took < int64(500*time.Millisecond) {
			s.t.Fatal("reported without bytes")
		}
		r.send("hello")
		s.want("bytes", s.settle(1, rd&^got[1]), 1, rd&^got[1])
	}},
	{"who was reset before accept is accepted all the same", true, false, func(s *script) {
		l, a := s.listen(poller.ListenOptions{})
		r := s.dial(a)
		s.want("one", s.settle(1, rd), 1, rd)
		r.reset()
		s.settle(2, 0)
		fd := s.accept(l)
		s.kernel().Add(fd, 2)
		s.ready("add", broken|rdhup)
		s.read(fd, 9, -1, syscall.ECONNRESET)
	}},
	{"closing a listener resets who waits", true, false, func(s *script) {
		l, a := s.listen(poller.ListenOptions{})
		r := s.dial(a)
		s.want("one", s.settle(1, rd), 1, rd)
		s.kernel().Close(l)
		s.settle(2, 0)
		s.ends(r, 0, "RST")
	}},
	{"a listener that takes no new client keeps those that wait", true, false, func(s *script) {
		l, a := s.listen(poller.ListenOptions{})
		r := s.dial(a)
		s.want("one", s.settle(1, rd), 1, rd)
		s.kernel().SetIntake(l, poller.IntakeBegun)
		fd, errno := s.kernel().Connect(a, &poller.ConnectOptions{})
		if errno != syscall.EINPROGRESS {
			s.t.Fatal(errno)
		}
		s.kernel().Add(fd, 2)
		if got := s.peek(); got[1]|got[2] != 0 {
			s.t.Fatalf("a connect was answered: %v", got)
		}
		s.accept(l)
		s.ends(r, 0, "")
		if _, _, errno := s.kernel().Accept(l); errno != syscall.EAGAIN {
			s.t.Fatal(errno)
		}
		s.kernel().SetIntake(l, poller.IntakeAll)
		got := s.settle(2, wr) // a second later
		s.want("the client tries again", got, 2, wr)
		s.want("the client tries again", got, 1, rd)
	}},
	{"a connect above the backlog is answered when the backlog grows", true, false, func(s *script) {
		l, a := s.listen(poller.ListenOptions{})
		s.dial(a)
		s.want("one", s.settle(1, rd), 1, rd)
		s.kernel().SetBacklog(l, 1)
		for t := range poller.Token(2) { // Linux takes one more than it was told
			fd, errno := s.kernel().Connect(a, &poller.ConnectOptions{})
			if errno != 0 && errno != syscall.EINPROGRESS {
				s.t.Fatal(errno)
			}
			s.kernel().Add(fd, 2+t)
		}
		all := s.peek()
		if all[2]&all[3]&wr != 0 {
			s.t.Fatalf("two more connects were answered: %v", all)
		}
		s.kernel().SetBacklog(l, 0)
		for t := range poller.Token(2) {
			if all[2+t]&wr == 0 {
				maps.Copy(all, s.settle(2+t, wr)) // a second later
			}
		}
	}},
	{"a Unix listener that takes no new client refuses it", false, true, func(s *script) {
		l, a := s.listen(poller.ListenOptions{})
		r := s.dial(a)
		s.want("one", s.settle(1, rd), 1, rd)
		s.kernel().SetIntake(l, poller.IntakeBegun)
		if _, errno := s.kernel().Connect(a, &poller.ConnectOptions{}); errno != syscall.ECONNREFUSED {
			s.t.Fatal(errno)
		}
		s.accept(l)
		s.ends(r, 0, "")
	}},
	{"a client that says nothing is seen when its listener defers no more", true, false, func(s *script) {
		l, a := s.listen(poller.ListenOptions{DeferAccept: true})
		s.dial(a)
		s.kernel().SetIntake(l, poller.IntakeAll)
		s.dial(a)
		s.settle(1, rd)
		for range 2 {
			_, _, errno := s.kernel().Accept(l)
			for errno == syscall.EAGAIN {
				s.settle(1, rd)
				_, _, errno = s.kernel().Accept(l)
			}
			s.ok(errno)
		}
	}},
	{"connect, then bytes", true, true, func(s *script) {
		a, accept := s.serve(s.unix)
		fd, errno := s.kernel().Connect(a, &poller.ConnectOptions{})
		if errno != 0 && (s.unix || errno != syscall.EINPROGRESS) {
			s.t.Fatal(errno)
		}
		s.kernel().Add(fd, 2)
		s.ready("connected", wr)
		s.ok(s.kernel().SockError(fd))
		r := accept()
		r.send("220 hello")
		s.ready("greeting", rd|wr)
		s.read(fd, 99, 9, 0)
	}},
	{"connect to where nobody listens", true, false, func(s *script) {
		fd, errno := s.kernel().Connect(s.address(false), &poller.ConnectOptions{})
		if errno == syscall.ECONNREFUSED {
			return // told at once
		}
		if errno != syscall.EINPROGRESS {
			s.t.Fatal(errno)
		}
		s.kernel().Add(fd, 2)
		s.ready("refused", broken|rdhup)
		if errno := s.kernel().SockError(fd); errno != syscall.ECONNREFUSED {
			s.t.Fatal(errno)
		}
		s.read(fd, 9, 0, 0)
		s.write(fd, "x", -1, syscall.EPIPE)
	}},
	{"connect to a path that is not there", false, true, func(s *script) {
		fd, errno := s.kernel().Connect(s.address(true), &poller.ConnectOptions{})
		if errno != syscall.ENOENT || fd != poller.NoFD {
			s.t.Fatal(fd, errno)
		}
	}},
	{"Wait ends with the time, and with Wake", true, false, func(s *script) {
		k := s.kernel()
		var dst [1]poller.Event
		for until := k.Now() + int64(3*time.Millisecond); k.Now() < until; {
			if n := k.Wait(dst[:], until); n != 0 {
				s.t.Fatal(n)
			}
		}
		k.Wake()
		k.Wake()
		before := k.Now()
		k.Wait(dst[:], before+int64(time.Minute))
		if k.Now()-before > int64(30*time.Second) {
			s.t.Fatal("slept although woken")
		}
	}},
}

func (s *script) drainAll(r remote, total int) map[poller.Token]poller.Ready {
	s.t.Helper()
	all := map[poller.Token]poller.Ready{}
	for got := 0; got < total; {
		n, end := r.drain()
		got += n
		due := poller.Ready(0)
		if got >= total && all[2] == 0 {
			due = wr
		}
		for t, ready := range s.settle(2, due) {
			all[t] |= ready
		}
		if end != "" {
			s.t.Fatalf("%s after %d bytes", end, got)
		}
	}
	return all
}

// peek looks what is reported soon, without a deferred connection's timeout.
func (s *script) peek() map[poller.Token]poller.Ready {
	all := map[poller.Token]poller.Ready{}
	var dst [8]poller.Event
	k := s.kernel()
	for until := k.Now() + int64(30*time.Millisecond); k.Now() < until; {
		for _, ev := range dst[:k.Wait(dst[:], until)] {
			all[ev.Token] |= ev.Ready
		}
	}
	return all
}

func TestConformance_world(t *testing.T) {
	for _, c := range conformance {
		t.Run(c.name, func(t *testing.T) {
			Run(t, 40, func(t testing.TB, w *World) {
				w.Net.Stall = 0
				if c.tcp {
					c.run(&script{t: t, rig: &simRig{w: w, k: w.Kernel(0)}})
				}
			})
			Run(t, 40, func(t testing.TB, w *World) {
				w.Net.Stall = 0
				if c.unix {
					c.run(&script{t: t, rig: &simRig{w: w, k: w.Kernel(0)}, unix: true})
				}
			})
		})
	}
}

func TestConformance_linux(t *testing.T) {
	for _, c := range conformance {
		for _, unix := range []bool{false, true} {
			if unix && !c.unix || !unix && !c.tcp {
				continue
			}
			t.Run(fmt.Sprintf("%s/unix=%v", c.name, unix), func(t *testing.T) {
				t.Parallel()
				k, err := poller.NewEpoll(poller.ParkRuntime)
				testutil.Must(t, err)
				t.Cleanup(k.Shut)
				real := &realRig{t: t, Kernel: k, ends: time.Now().Add(testutil.Patience)}
				c.run(&script{t: t, rig: real, unix: unix})
			})
		}
	}
}

type simRig struct {
	w     *World
	k     *Kernel
	paths int
}

func (s *simRig) kernel() poller.Kernel { return s.k }

func (s *simRig) dial(a poller.Addr) remote {
	p := s.w.Dial(a)
	p.StopReading()
	return &simRemote{p, s}
}

func (s *simRig) serve(unix bool) (poller.Addr, func() remote) {
	at := tcp(0)
	if unix {
		at = s.address(true)
	}
	l := s.w.Serve(at)
	return l.Addr(), func() remote { return &simRemote{l.Accepted()[0], s} }
}

func (s *simRig) address(unix bool) poller.Addr {
	s.paths++
	if unix {
		return poller.Addr{Path: fmt.Sprintf("/run/%d", s.paths)}
	}
	return tcp(s.paths)
}

func (s *simRig) slow() bool { return false }

func (s *simRig) settle(poller.Token, poller.Ready) map[poller.Token]poller.Ready {
	all := map[poller.Token]poller.Ready{}
	var dst [8]poller.Event
	for {
		n := s.k.Wait(dst[:], -1)
		for _, ev := range dst[:n] {
			all[ev.Token] |= ev.Ready
		}
		if _, more := s.w.next(); n == 0 && !more && len(s.k.ready) == 0 {
			return all
		}
	}
}

type simRemote struct {
	p *Peer
	s *simRig
}

func (r *simRemote) send(p string) { r.p.SendString(p) }
func (r *simRemote) closeWrite()   { r.p.CloseWrite() }
func (r *simRemote) close()        { r.p.Close() }
func (r *simRemote) reset()        { r.p.Reset() }
func (r *simRemote) holds(int)     {}

func (r *simRemote) drain() (int, string) {
	// As the real far side: what lies there is read, and if that makes room, what comes then is read by the next call.
	r.p.StartReading()
	r.p.StopReading()
	n := len(r.p.Take())
	switch {
	case r.p.EOF():
		return n, "FIN"
	case r.p.Err() != nil:
		return n, "RST"
	}
	return n, ""
}

type realRig struct {
	poller.Kernel
	t    testing.TB
	ends time.Time // of all patience
}

func (s *realRig) kernel() poller.Kernel { return s.Kernel }

func network(a poller.Addr) (string, string) {
	if a.IsUnix() {
		return "unix", a.Path
	}
	return "tcp", a.IP.String()
}

func (s *realRig) dial(a poller.Addr) remote {
	kind, name := network(a)
	c, err := net.Dial(kind, name)
	testutil.Must(s.t, err)
	s.t.Cleanup(func() { c.Close() }) //nolint:errcheck
	return &realRemote{s.t, c}
}

func (s *realRig) serve(unix bool) (poller.Addr, func() remote) {
	at := tcp(0)
	if unix {
		at = s.address(true)
	}
	kind, name := network(at)
	l, err := net.Listen(kind, name)
	testutil.Must(s.t, err)
	s.t.Cleanup(func() { l.Close() }) //nolint:errcheck
	if !unix {
		at.IP = l.Addr().(*net.TCPAddr).AddrPort()
	}
	return at, func() remote {
		c, err := l.Accept()
		testutil.Must(s.t, err)
		s.t.Cleanup(func() { c.Close() }) //nolint:errcheck
		return &realRemote{s.t, c}
	}
}

func (s *realRig) address(unix bool) poller.Addr {
	if unix {
		dir, err := os.MkdirTemp("", "sim") // TempDir is longer than a socket's path may be
		testutil.Must(s.t, err)
		s.t.Cleanup(func() { os.RemoveAll(dir) }) //nolint:errcheck
		return poller.Addr{Path: filepath.Join(dir, "s")}
	}
	return poller.Addr{IP: netip.MustParseAddrPort(testutil.FreeAddr(s.t))}
}

// quietTime is how long the real kernel must be silent to count as settled. Loopback is instant, but for a machine with
// more to do than it can.
const quietTime = 20 * time.Millisecond

// slow lets others work.
func (s *realRig) slow() bool {
	runtime.Gosched()
	return time.Now().Before(s.ends)
}

func (s *realRig) settle(t poller.Token, r poller.Ready) map[poller.Token]poller.Ready {
	all := map[poller.Token]poller.Ready{}
	var dst [8]poller.Event
	until := s.Now() + int64(quietTime)
	for {
		n := s.Wait(dst[:], until)
		for _, ev := range dst[:n] {
			all[ev.Token] |= ev.Ready
		}
		now := s.Now()
		switch due := all[t]&r != r; {
		case n > 0 || due && now >= until && s.slow():
			until = now + int64(quietTime)
		case now >= until:
			return all
		}
	}
}

type realRemote struct {
	t testing.TB
	c net.Conn
}

func (r *realRemote) send(p string) { r.c.Write([]byte(p)) } //nolint:errcheck

func (r *realRemote) closeWrite() {
	testutil.Must(r.t, r.c.(interface{ CloseWrite() error }).CloseWrite())
}

func (r *realRemote) close() { r.c.Close() } //nolint:errcheck

func (r *realRemote) holds(n int) {
	raw, err := r.c.(syscall.Conn).SyscallConn()
	testutil.Must(r.t, err)
	testutil.Eventually(r.t, testutil.Patience, func() (there bool) {
		err := raw.Control(func(fd uintptr) {
			got, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
			there = err == nil && got == n
		})
		return err == nil && there
	})
}

func (r *realRemote) reset() {
	testutil.Must(r.t, r.c.(*net.TCPConn).SetLinger(0))
	r.c.Close() //nolint:errcheck
}

func (r *realRemote) drain() (int, string) {
	r.c.SetReadDeadline(time.Now().Add(quietTime)) //nolint:errcheck
	n, err := io.Copy(io.Discard, r.c)
	switch {
	case err == nil:
		return int(n), "FIN"
	case errors.Is(err, syscall.ECONNRESET):
		return int(n), "RST"
	}
	return int(n), ""
}
