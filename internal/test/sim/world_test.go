package sim

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

func tcp(port int) poller.Addr {
	return poller.Addr{IP: addrPort(netipLocal, uint16(port))}
}

var netipLocal = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// echo is a reactor in a hundred lines: it sends back what comes, and FIN after FIN. bug breaks it on purpose.
type echo struct {
	k        poller.Kernel
	listener poller.FD
	conns    map[uint32]*echoConn
	next     uint32
	again    int64 // when to accept again
	events   [16]poller.Event
	buf      [512]byte
	bug      string
}

type echoConn struct {
	fd          poller.FD
	canRead     bool
	canWrite    bool
	ended, done bool
	owed        []byte
}

const slotListener = 1

func newEcho(t testing.TB, k poller.Kernel, at poller.Addr, o poller.ListenOptions, bug string) (*echo, poller.Addr) {
	fd, addr, err := k.Listen(at, &o)
	testutil.Must(t, err)
	if errno := k.Add(fd, poller.MakeToken(1, slotListener)); errno != 0 {
		t.Fatal(errno)
	}
	return &echo{k: k, listener: fd, conns: map[uint32]*echoConn{}, next: slotListener + 1, bug: bug}, addr
}

func (e *echo) Tick() {
	until := int64(-1)
	if e.again != 0 {
		until = e.again
	}
	n := e.k.Wait(e.events[:], until)
	if e.again != 0 && e.k.Now() >= e.again {
		e.again = 0
		e.accept()
	}
	for _, ev := range e.events[:n] {
		if ev.Token.Slot() == slotListener {
			e.accept()
			continue
		}
		c := e.conns[ev.Token.Slot()]
		if c == nil {
			continue
		}
		c.canRead = c.canRead || ev.Ready&(poller.CanRead|poller.PeerClosed|poller.Broken) != 0
		c.canWrite = c.canWrite || ev.Ready&(poller.CanWrite|poller.Broken) != 0
		e.run(ev.Token.Slot(), c)
	}
}

func (e *echo) accept() {
	for {
		fd, _, errno := e.k.Accept(e.listener)
		switch errno {
		case 0:
			c := &echoConn{fd: fd, canRead: true, canWrite: true}
			e.conns[e.next] = c
			e.k.Add(fd, poller.MakeToken(1, e.next))
			e.run(e.next, c)
			e.next++
		case syscall.ECONNABORTED:
		case syscall.EMFILE:
			if e.bug != "forgets the backlog" {
				e.again = e.k.Now() + int64(time.Millisecond)
			}
			return
		default:
			return
		}
	}
}

func (e *echo) run(slot uint32, c *echoConn) {
	for {
		for len(c.owed) > 0 && c.canWrite {
			n, errno := e.k.Writev(c.fd, [][]byte{c.owed[:len(c.owed)/2], c.owed[len(c.owed)/2:]})
			if errno != 0 && errno != syscall.EAGAIN {
				e.close(slot, c)
				return
			}
			c.canWrite = n == len(c.owed)
			c.owed = c.owed[max(n, 0):]
			if e.bug == "drops the rest" {
				c.owed = nil
			}
		}
		if len(c.owed) > 0 {
			return
		}
		if c.ended {
			if !c.done {
				c.done = true
				e.k.CloseWrite(c.fd)
			}
			e.close(slot, c)
			return
		}
		if !c.canRead {
			return
		}
		n, errno := e.k.Read(c.fd, e.buf[:])
		switch {
		case errno == syscall.EAGAIN:
			c.canRead = false
		case errno != 0:
			e.close(slot, c)
			return
		case n == 0:
			c.ended = true
		case n < len(e.buf) && e.bug == "takes a short read for the end":
			c.ended = true
		}
		c.owed = append(c.owed, e.buf[:max(n, 0)]...)
	}
}

func (e *echo) close(slot uint32, c *echoConn) {
	delete(e.conns, slot)
	e.k.Close(c.fd)
	if e.bug == "closes twice" {
		e.k.Close(c.fd)
	}
}

// dialogue runs clients against an echo reactor and checks that each gets back what it sent.
func dialogue(t testing.TB, w *World, faults Faults, at poller.Addr, bug string) {
	w.Faults = faults
	o := poller.ListenOptions{DeferAccept: w.Rand().IntN(2) == 0}
	e, addr := newEcho(t, w.Kernel(0), at, o, bug)
	w.Add(e)
	type client struct {
		*Peer
		sent []byte
	}
	var clients []client
	for i := range 1 + w.Rand().IntN(4) {
		p := w.Dial(addr)
		msg := bytes.Repeat([]byte{byte('a' + i)}, w.size(1, 20000))
		for i := range msg {
			msg[i] = byte(w.Rand().Uint32())
		}
		cut := w.Rand().IntN(len(msg))
		p.Send(msg[:cut])
		w.After(time.Duration(w.delay()), func() {
			p.Send(msg[cut:])
			p.CloseWrite()
		})
		if w.Rand().IntN(4) == 0 {
			p.StopReading()
			w.After(50*time.Millisecond, p.StartReading)
		}
		clients = append(clients, client{p, msg})
	}
	err := w.Run(func() bool {
		for _, c := range clients {
			if !c.Closed() {
				return false
			}
		}
		return len(e.conns) == 0
	}, 1_000_000)
	testutil.Must(t, err)
	for i, c := range clients {
		if c.Err() != nil && faults.Reset+faults.AcceptAborted > 0 {
			continue
		}
		if c.Err() != nil || !bytes.Equal(c.Received(), c.sent) {
			t.Fatalf("client %d: got %d bytes of %d, err %v", i, len(c.Received()), len(c.sent), c.Err())
		}
	}
	if open := w.OpenFDs(); len(open) != 1 {
		t.Fatalf("descriptors left open: %v", open)
	}
}

func TestEcho_returnsEveryByte(t *testing.T) {
	Run(t, 500, func(t testing.TB, w *World) { dialogue(t, w, Faults{}, tcp(0), "") })
}

func TestEcho_returnsEveryByteOverUnixSockets(t *testing.T) {
	Run(t, 300, func(t testing.TB, w *World) { dialogue(t, w, Faults{}, poller.Addr{Path: "/run/echo"}, "") })
}

func TestEcho_survivesFaults(t *testing.T) {
	faults := Faults{AcceptAborted: 0.1, AcceptFull: 0.2, ShortWrite: 0.3, Reset: 0.01}
	Run(t, 500, func(t testing.TB, w *World) { dialogue(t, w, faults, tcp(0), "") })
}

// The canaries: servers that are wrong must not get through.
func TestCanary_mustFail(t *testing.T) {
	faults := Faults{AcceptFull: 0.2}
	for _, bug := range []string{
		"drops the rest", "takes a short read for the end", "forgets the backlog", "closes twice",
	} {
		seed := MustFail(t, 50, func(t testing.TB, w *World) { dialogue(t, w, faults, tcp(0), bug) })
		t.Logf("a server that %s: seed %d", bug, seed)
	}
}

func TestRun_isTheSameForASeed(t *testing.T) {
	for seed := range uint64(20) {
		var dumps [2]string
		for i := range dumps {
			w := NewWorld(seed)
			dialogue(t, w, Faults{ShortWrite: 0.2}, tcp(0), "")
			dumps[i] = w.Dump()
		}
		if dumps[0] != dumps[1] {
			t.Fatalf("seed %d:\n%s\nand then\n%s", seed, dumps[0], dumps[1])
		}
	}
}

func TestRun_tellsADeadlock(t *testing.T) {
	w := NewWorld(1)
	e, addr := newEcho(t, w.Kernel(0), tcp(0), poller.ListenOptions{}, "")
	w.Add(e)
	p := w.Dial(addr)
	err := w.Run(p.EOF, 10000)
	if err == nil || !strings.Contains(err.Error(), "deadlock") || !strings.Contains(err.Error(), "peer 0") {
		t.Fatalf("got %v", err)
	}
}

// fdReactor waits on a kernel and remembers what it was told.
type fdReactor struct {
	k    *Kernel
	seen map[poller.Token]poller.Ready
	dst  [8]poller.Event
}

func (r *fdReactor) Tick() {
	for _, ev := range r.dst[:r.k.Wait(r.dst[:], -1)] {
		r.seen[ev.Token] |= ev.Ready
	}
}

func TestKernel_handsADescriptorOver(t *testing.T) {
	Run(t, 100, func(t testing.TB, w *World) {
		a, b := w.Kernel(0), w.Kernel(1)
		from := &fdReactor{k: a, seen: map[poller.Token]poller.Ready{}}
		to := &fdReactor{k: b, seen: map[poller.Token]poller.Ready{}}
		w.Add(from)
		w.Add(to)
		l, addr, _ := a.Listen(tcp(0), nil)
		a.Add(l, 1)
		p := w.Dial(addr)
		testutil.Must(t, w.Run(func() bool { return from.seen[1] != 0 }, 1000))
		fd, _, errno := a.Accept(l)
		if errno != 0 {
			t.Fatal(errno)
		}
		a.Add(fd, 2)
		p.SendString("before")
		for range w.Rand().IntN(10) {
			w.Step()
		}
		a.Del(fd)
		delete(from.seen, 2)
		w.Step()
		b.Add(fd, 3)
		p.SendString("after")
		var got []byte
		err := w.Run(func() bool {
			if to.seen[3]&poller.CanRead != 0 {
				to.seen[3] = 0
				var buf [3]byte
				for n, errno := b.Read(fd, buf[:]); errno == 0; n, errno = b.Read(fd, buf[:]) {
					got = append(got, buf[:n]...)
				}
			}
			return string(got) == "beforeafter"
		}, 1000)
		if err != nil {
			t.Fatalf("%q: %v", got, err)
		}
		if from.seen[2] != 0 {
			t.Fatal("an event after Del")
		}
	})
}

func TestKernel_refusesForeignHands(t *testing.T) {
	w := NewWorld(1)
	a, b := w.Kernel(0), w.Kernel(1)
	l, _, _ := a.Listen(tcp(0), nil)
	a.Add(l, 1)
	b.Accept(l)
	if w.Err() == nil {
		t.Fatal("a call by another reactor went unnoticed")
	}
}

func TestKernel_clockWaitsForEverybody(t *testing.T) {
	w := NewWorld(1)
	a, b := w.Kernel(0), w.Kernel(1)
	var dst [1]poller.Event
	a.Wait(dst[:], 5*clockStart)
	if w.Now() >= 5*clockStart {
		t.Fatal("the clock ran past a reactor that had not gone to sleep")
	}
	b.Wait(dst[:], 3*clockStart)
	if w.Now() < 3*clockStart || w.Now() >= 5*clockStart {
		t.Fatalf("the clock is at %v, not at the earlier deadline", w.Now())
	}
	b.Wait(dst[:], -1)
	a.Wait(dst[:], 5*clockStart)
	if w.Now() < 5*clockStart {
		t.Fatalf("the clock stands at %v", w.Now())
	}
}

func TestKernel_wakeEndsASleep(t *testing.T) {
	w := NewWorld(1)
	k := w.Kernel(0)
	done := make(chan struct{})
	go func() { k.Wake(); close(done) }()
	<-done
	k.Wait(make([]poller.Event, 1), 60*clockStart)
	if w.Now() > 2*clockStart {
		t.Fatal("slept although woken")
	}
	k.Wait(make([]poller.Event, 1), 60*clockStart)
	if w.Now() < 60*clockStart {
		t.Fatal("one Wake ended two sleeps")
	}
}

func TestConnect_failsInEachWay(t *testing.T) {
	for name, c := range map[string]struct {
		faults Faults
		listen bool
		want   syscall.Errno
		took   time.Duration
	}{
		"nobody listens": {Faults{}, false, syscall.ECONNREFUSED, 0},
		"refused":        {Faults{ConnectRefused: 1}, true, syscall.ECONNREFUSED, 0},
		"timed out":      {Faults{ConnectTimeout: 1}, true, syscall.ETIMEDOUT, synTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWorld(7)
			w.Faults = c.faults
			k, to := w.Kernel(0), tcp(99)
			if c.listen {
				to = w.Serve(tcp(0)).Addr()
			}
			fd, errno := k.Connect(to, nil)
			if errno != syscall.EINPROGRESS {
				t.Fatal(errno)
			}
			k.Add(fd, 1)
			r := &fdReactor{k: k, seen: map[poller.Token]poller.Ready{}}
			w.Add(r)
			testutil.Must(t, w.Run(func() bool { return r.seen[1]&poller.Broken != 0 }, 100))
			if errno := k.SockError(fd); errno != c.want || w.Now()-clockStart < int64(c.took) {
				t.Fatalf("got %v after %v", errno, time.Duration(w.Now()-clockStart))
			}
		})
	}
	w := NewWorld(7)
	w.Faults = Faults{ConnectUnreachable: 1, UnixAgain: 1}
	w.Serve(poller.Addr{Path: "/run/x"})
	if fd, errno := w.Kernel(0).Connect(tcp(99), nil); errno != syscall.ENETUNREACH || fd != poller.NoFD {
		t.Fatal(fd, errno)
	}
	fd, errno := w.Kernel(0).Connect(poller.Addr{Path: "/run/x"}, nil)
	if errno != syscall.EAGAIN || fd != poller.NoFD {
		t.Fatal(fd, errno)
	}
}

// An origin in three lines, and both kinds of connect.
func TestServe_answers(t *testing.T) {
	Run(t, 100, func(t testing.TB, w *World) {
		l := w.Serve(tcp(0))
		l.Handle = func(p *Peer) {
			if string(p.Received()) == "ping" {
				p.Take()
				p.SendString("pong")
				p.CloseWrite()
			}
		}
		k := w.Kernel(0)
		r := &fdReactor{k: k, seen: map[poller.Token]poller.Ready{}}
		w.Add(r)
		fd, errno := k.Connect(l.Addr(), nil)
		if errno != 0 && errno != syscall.EINPROGRESS {
			t.Fatal(errno)
		}
		k.Add(fd, 1)
		testutil.Must(t, w.Run(func() bool { return r.seen[1]&poller.CanWrite != 0 }, 100))
		if n, errno := k.Write(fd, []byte("ping")); n != 4 {
			t.Fatal(n, errno)
		}
		testutil.Must(t, w.Run(func() bool { return r.seen[1]&poller.PeerClosed != 0 }, 1000))
		var buf [10]byte
		if n, _ := k.Read(fd, buf[:]); string(buf[:n]) != "pong" {
			t.Fatalf("got %q", buf[:n])
		}
		if n, errno := k.Read(fd, buf[:]); n != 0 || errno != 0 {
			t.Fatal(n, errno)
		}
		k.Close(fd)
		testutil.Must(t, w.Run(l.Accepted()[0].EOF, 1000))
	})
}

func TestListen_takesAnAddressOnce(t *testing.T) {
	w := NewWorld(1)
	k := w.Kernel(0)
	_, a, err := k.Listen(tcp(0), &poller.ListenOptions{ReusePort: true})
	if err != nil || a.IP.Port() == 0 {
		t.Fatal(a, err)
	}
	if _, _, err := k.Listen(a, nil); err == nil {
		t.Fatal("two on one address without ReusePort")
	}
	if _, _, err := k.Listen(a, &poller.ListenOptions{ReusePort: true}); err != nil {
		t.Fatal(err)
	}
	fd, _, _ := k.Listen(tcp(0), nil)
	p := w.Dial(w.files[fd].door.addr)
	w.Run(func() bool { return len(w.files[fd].door.waiting) > 0 }, 100) //nolint:errcheck
	k.Close(fd)
	if err := w.Run(func() bool { return p.Err() == syscall.ECONNRESET }, 100); err != nil {
		t.Fatal("a waiting connection outlived its listener: ", err)
	}
}

func TestMustFail_failsWhenNothingIsFound(t *testing.T) {
	q := &quiet{TB: t}
	MustFail(q, 3, func(testing.TB, *World) {})
	if !q.failed {
		t.Fatal("a canary that sings was taken for dead")
	}
}

// setSeeds sets how many seeds Run takes, whatever this run of tests was asked for.
func setSeeds(t *testing.T, n string) {
	t.Setenv(envSeed, "")
	t.Setenv(envSeeds, n)
	t.Setenv(envTimes, "")
	t.Setenv(envFirst, "")
}

func TestRun_printsTheSeed(t *testing.T) {
	setSeeds(t, "")
	rec := &recorder{quiet: quiet{TB: t}}
	Run(rec, 100, func(t testing.TB, w *World) {
		if w.Seed() == 2 {
			t.Error("no")
		}
	})
	if !strings.Contains(rec.log.String(), "EDGE_SIM_SEED=2") {
		t.Fatalf("logged %q", rec.log.String())
	}
}

type recorder struct {
	quiet
	log strings.Builder
}

func (r *recorder) Log(args ...any) { fmt.Fprintln(&r.log, args...) }

func TestRun_cleansUpAfterEachSeed(t *testing.T) {
	setSeeds(t, "3")
	order := ""
	Run(t, 1, func(t testing.TB, w *World) {
		order += fmt.Sprint(w.seed)
		t.Cleanup(func() { order += "a" })
		t.Cleanup(func() { t.Cleanup(func() { order += "b" }) })
	})
	if order != "1ba2ba3ba" {
		t.Errorf("%s, not 1ba2ba3ba", order)
	}
}

func BenchmarkWorld_echo(b *testing.B) {
	seed := uint64(0)
	for b.Loop() {
		seed++
		dialogue(b, NewWorld(seed), Faults{}, tcp(0), "")
	}
}

// helped is a reactor whose work is done by another goroutine.
type helped struct {
	fdReactor
	done chan struct{}
}

func TestRun_waitsForWorkOutside(t *testing.T) {
	w := NewWorld(1)
	h := &helped{fdReactor{k: w.Kernel(0), seen: map[poller.Token]poller.Ready{}}, make(chan struct{})}
	w.Add(h)
	finished := func() bool {
		select {
		case <-h.done:
			return true
		default:
			return false
		}
	}
	w.Outside = func() bool { return !finished() }
	go func() {
		for range 1000 {
			h.k.Wake()
		}
		close(h.done)
	}()
	testutil.Must(t, w.Run(finished, 1<<40))
}
