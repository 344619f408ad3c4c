package sim

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// pong is a reactor that sends back each datagram.
type pong struct {
	k      poller.Kernel
	fd     poller.FD
	events [4]poller.Event
	in     poller.Batch
	out    poller.SendBatch
	from   int  // of out
	unread bool // ReadBatch may have more
	waits  bool // for CanWrite
	lost   int  // datagrams that could not leave
	again  int  // how often the socket was full
	split  int
	deaf   bool // breaks it: CanWrite is not heard
}

func newPong(t testing.TB, k poller.Kernel) (*pong, poller.Addr) {
	t.Helper()
	fd, a, err := k.ListenDatagrams(tcp(443), &poller.DatagramOptions{})
	testutil.Must(t, err)
	k.Add(fd, 7)
	return &pong{k: k, fd: fd}, a
}

func (p *pong) Tick() {
	until := int64(-1)
	if p.unread && !p.waits {
		until = 0
	}
	for _, ev := range p.events[:p.k.Wait(p.events[:], until)] {
		p.unread = p.unread || ev.Ready&poller.CanRead != 0
		p.waits = p.waits && (p.deaf || ev.Ready&poller.CanWrite == 0)
	}
	if p.waits || !p.flush() || !p.unread {
		return
	}
	n, _ := p.k.ReadBatch(p.fd, &p.in)
	p.unread = n == poller.BatchMax
	for i := range n {
		d := p.in.At(i)
		for s := range d.Segments() {
			b := p.out.Reserve(len(s))
			if b == nil && p.flush() {
				b = p.out.Reserve(len(s))
			}
			if b == nil {
				p.lost++
				continue
			}
			p.out.Commit(append(b, s...), d.Peer, d.Local)
		}
	}
	p.flush()
}

// flush reports whether nothing is left to send.
func (p *pong) flush() bool {
	for p.from < p.out.Len() {
		n, e := p.k.WriteBatch(p.fd, &p.out, p.from)
		p.from += n
		switch {
		case e == 0:
		case e == syscall.EAGAIN:
			p.again++
			p.waits = true
			return false
		case e == syscall.EIO || e == syscall.EINVAL:
			p.split++
			p.out.Split(p.from)
		default:
			for range p.out.At(p.from).Segments() {
				p.lost++
			}
			p.from++
		}
	}
	p.out.Reset()
	p.from = 0
	return true
}

func numbered(i, size int) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(i)), make([]byte, size-4)...)
}

// ping has a client send n datagrams, some now and then, and returns how often each came back.
func ping(t testing.TB, w *World, p *pong, a poller.Addr, n int) []int {
	t.Helper()
	w.Add(p)
	c, back, sent := w.DialDatagrams(a), make([]int, n), 0
	c.Handle = func(c *DatagramPeer) {
		for _, d := range c.Take() {
			if d.Peer != a.IP || d.Local != c.Addr().Addr() {
				t.Errorf("from %v to %v", d.Peer, d.Local)
			}
			back[binary.BigEndian.Uint32(d.Data)]++
		}
	}
	var send func()
	send = func() {
		for range min(n-sent, 1+w.Rand().IntN(20)) {
			c.Send(numbered(sent, 200+sent/16%3))
			sent++
		}
		if sent < n {
			w.After(time.Millisecond, send)
		}
	}
	send()
	testutil.Must(t, w.Run(func() bool { return sent == n && w.stuck() }, 100000))
	return back
}

// Without faults of the network each datagram comes back once, however full the socket is, or was seen to be lost.
func TestDatagrams_echo(t *testing.T) {
	again, split, lost := 0, 0, 0
	Run(t, 300, func(t testing.TB, w *World) {
		if w.Seed()%2 == 0 {
			w.Faults = Faults{ShortWrite: 0.3, RunInvalid: 0.2, DatagramRefused: 0.02}
		}
		p, a := newPong(t, w.Kernel(0))
		back := ping(t, w, p, a, 300)
		got := 0
		for i, n := range back {
			if got += n; n > 1 {
				t.Fatalf("datagram %d came %d times", i, n)
			}
		}
		if got+p.lost != len(back) {
			t.Fatalf("%d came back, %d were seen to be lost", got, p.lost)
		}
		again, split, lost = again+p.again, split+p.split, lost+p.lost
	})
	if again == 0 || split == 0 || lost == 0 {
		t.Fatalf("full %d times, split %d times, lost %d", again, split, lost)
	}
}

func TestDatagrams_aReactorDeafToRoomIsFound(t *testing.T) {
	MustFail(t, 100, func(t testing.TB, w *World) {
		p, a := newPong(t, w.Kernel(0))
		p.deaf = true
		for i, n := range ping(t, w, p, a, 300) {
			if n != 1 {
				t.Errorf("datagram %d came %d times", i, n)
			}
		}
	})
}

// The same seed has the same happen.
func TestDatagrams_repeat(t *testing.T) {
	run := func(seed uint64) ([]int, int64) {
		w := NewWorld(seed)
		w.Net.Loss, w.Net.Duplicate, w.Net.Rate, w.Net.Queue = 0.1, 0.1, 1<<20, 1<<14
		p, a := newPong(t, w.Kernel(0))
		return ping(t, w, p, a, 300), w.Now()
	}
	for seed := range uint64(5) {
		one, then := run(seed)
		two, now := run(seed)
		if then != now || !slices.Equal(one, two) {
			t.Fatalf("seed %d: %v at %d, and %v at %d", seed, one, then, two, now)
		}
	}
}

// far is a network with two ends and no reactor.
func far(w *World, n Net) (from, to *DatagramPeer) {
	w.Net = n
	to = w.DialDatagrams(tcp(443))
	return w.DialDatagrams(poller.Addr{IP: to.Addr()}), to
}

// arrivals steps until nothing moves, and returns the numbers of the datagrams that came, each with its time.
func arrivals(w *World, to *DatagramPeer) (numbers []int, at []int64) {
	for {
		if _, more := w.next(); !more {
			return numbers, at
		}
		w.Step()
		for _, d := range to.Take() {
			numbers, at = append(numbers, int(binary.BigEndian.Uint32(d.Data))), append(at, w.Now())
		}
	}
}

func TestDatagrams_network(t *testing.T) {
	const ms = int64(time.Millisecond)
	for name, c := range map[string]struct {
		net   Net
		check func(numbers []int, took []int64) bool
	}{
		"nothing": {Net{}, func(n []int, _ []int64) bool { return len(n) == 1000 && slices.IsSorted(n) }},
		"loss": {Net{Loss: 0.3}, func(n []int, _ []int64) bool {
			return len(n) > 600 && len(n) < 800 && slices.IsSorted(n)
		}},
		"duplicate": {Net{Duplicate: 0.3}, func(n []int, _ []int64) bool { return len(n) > 1200 && len(n) < 1400 }},
		"latency": {Net{Latency: 20 * time.Millisecond}, func(n []int, at []int64) bool {
			return slices.Min(at) >= 20*ms && slices.Max(at) <= 21*ms && slices.IsSorted(n)
		}},
		"spread": {Net{Latency: 20 * time.Millisecond, Spread: 10 * time.Millisecond}, func(n []int, at []int64) bool {
			return len(n) == 1000 && slices.Min(at) >= 20*ms && slices.Max(at) > 25*ms && slices.Max(at) <= 31*ms &&
				!slices.IsSorted(n)
		}},
		// A packet of 128 bytes takes 1 ms, and ten wait.
		"rate": {Net{Rate: 128000, Queue: 1280}, func(n []int, at []int64) bool {
			return len(n) == 11 && at[0]/ms == 1 && at[10]/ms == 11 && slices.IsSorted(n)
		}},
		"MTU":       {Net{MTU: 128}, func(n []int, _ []int64) bool { return len(n) == 1000 }},
		"lower MTU": {Net{MTU: 127}, func(n []int, _ []int64) bool { return len(n) == 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			Run(t, 10, func(t testing.TB, w *World) {
				from, to := far(w, c.net)
				for i := range 1000 {
					from.Send(numbered(i, 100))
				}
				begun := w.Now()
				numbers, at := arrivals(w, to)
				for i := range at {
					at[i] -= begun
				}
				if !c.check(numbers, at) {
					t.Fatalf("%d came: %v at %v", len(numbers), numbers, at)
				}
			})
		})
	}
}

func TestDatagrams_corrupt(t *testing.T) {
	Run(t, 10, func(t testing.TB, w *World) {
		from, to := far(w, Net{Corrupt: 1, Duplicate: 1})
		sent := bytes.Repeat([]byte("x"), 100)
		from.Send(sent)
		from.Send(nil)
		arrive := func() (got []poller.Datagram) {
			for len(w.events) > 0 {
				w.Step()
			}
			return to.Take()
		}
		got := arrive()
		slices.SortFunc(got, func(a, b poller.Datagram) int { return len(b.Data) - len(a.Data) })
		if len(got) != 4 || len(got[1].Data) != 100 || len(got[2].Data) != 0 {
			t.Fatalf("%v", got)
		}
		ones := 0
		for i, c := range got[0].Data {
			ones += bits.OnesCount8(c ^ sent[i])
		}
		if ones != 1 || !bytes.Equal(got[0].Data, got[1].Data) {
			t.Fatalf("%d bits changed, %v", ones, got)
		}
		if got[0].Data[0]++; bytes.Equal(got[0].Data, got[1].Data) {
			t.Fatal("two datagrams share their memory")
		}
	})
}

// After a rebinding answers to the old address are lost, and what comes next is from the new one.
func TestDatagrams_rebind(t *testing.T) {
	Run(t, 20, func(t testing.TB, w *World) {
		w.Net.Spread = 0
		k := w.Kernel(0)
		fd, a, err := k.ListenDatagrams(poller.Addr{IP: netip.MustParseAddrPort("[::]:443")}, &poller.DatagramOptions{})
		testutil.Must(t, err)
		k.Add(fd, 1)
		var in poller.Batch
		var out poller.SendBatch
		asked := poller.Addr{IP: addrPort(netip.MustParseAddr("192.0.2.80"), a.IP.Port())}
		c := w.DialDatagrams(asked)
		addresses := []netip.AddrPort{c.Addr(), netip.MustParseAddrPort("198.51.100.7:9"), c.Addr()}
		for i, at := range addresses {
			w.Rebind(c, at)
			c.Send([]byte("ask"))
			var ev [1]poller.Event
			for k.Wait(ev[:], -1) == 0 {
			}
			n, e := k.ReadBatch(fd, &in)
			if d := in.At(0); n != 1 || e != 0 || d.Peer != at || d.Local != asked.IP.Addr() {
				t.Fatalf("%d, %v, %v", n, e, d)
			}
			for _, to := range addresses[:2] {
				out.Commit(append(out.Reserve(9), "answer"...), to, in.At(0).Local)
			}
			for from := 0; from < 2; {
				n, e := k.WriteBatch(fd, &out, from)
				if from += n; e == syscall.EAGAIN {
					for k.Wait(ev[:], -1) == 0 || ev[0].Ready != poller.CanWrite {
					}
				}
			}
			out.Reset()
			for len(w.events) > 0 {
				k.Wait(ev[:], -1)
			}
			if got := c.Take(); len(got) != 1 || got[0].Local != at.Addr() || got[0].Peer != asked.IP {
				t.Fatalf("round %d: %v", i, got)
			}
		}
	})
}

func TestDatagrams_misuse(t *testing.T) {
	for name, call := range map[string]func(k *Kernel, udp, tcp poller.FD){
		"read":   func(k *Kernel, udp, _ poller.FD) { k.Read(udp, make([]byte, 9)) },
		"batch":  func(k *Kernel, _, tcp poller.FD) { k.ReadBatch(tcp, &poller.Batch{}) },
		"write":  func(k *Kernel, _, tcp poller.FD) { k.WriteBatch(tcp, &poller.SendBatch{}, 0) },
		"closed": func(k *Kernel, udp, _ poller.FD) { k.Close(udp); k.WriteBatch(udp, &poller.SendBatch{}, 0) },
		"intake": func(k *Kernel, udp, _ poller.FD) { k.SetIntake(udp, poller.IntakeAll) },
		"adopt":  func(k *Kernel, udp, _ poller.FD) { k.Add(udp, 1); k.AdoptDatagrams(udp) },
		"stream": func(k *Kernel, _, tcp poller.FD) { k.AdoptDatagrams(tcp) },
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWorld(1)
			k := w.Kernel(0)
			udp, _, err := k.ListenDatagrams(tcp(443), &poller.DatagramOptions{})
			testutil.Must(t, err)
			l, _, err := k.Listen(tcp(443), &poller.ListenOptions{})
			testutil.Must(t, err)
			if _, err := k.Adopt(udp, &poller.ListenOptions{}); err == nil {
				t.Error("adopted as a listening socket")
			}
			if call(k, udp, l); w.Err() == nil {
				t.Error("not noticed")
			}
		})
	}
}
