package poller_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

var (
	peerA  = netip.MustParseAddrPort("192.0.2.1:1000")
	peerB  = netip.MustParseAddrPort("192.0.2.1:1001")
	localA = netip.MustParseAddr("192.0.2.8")
	localB = netip.MustParseAddr("192.0.2.9")
)

// sending is one datagram of a test.
type sending struct {
	size  int
	peer  netip.AddrPort
	local netip.Addr
}

func commit(b *poller.SendBatch, s sending, fill byte) bool {
	d := b.Reserve(s.size)
	if d == nil {
		return false
	}
	b.Commit(append(d, bytes.Repeat([]byte{fill}, s.size)...), s.peer, s.local)
	return true
}

func TestSendBatch_joinsRuns(t *testing.T) {
	one := sending{100, peerA, localA}
	short, long, empty, max := one, one, one, one
	short.size, long.size, empty.size, max.size = 99, 101, 0, poller.DatagramMax
	half, rest := one, one
	half.size, rest.size = poller.DatagramMax/2+1, poller.DatagramMax/2
	other, away := one, one
	other.peer, away.local = peerB, localB
	for name, c := range map[string]struct {
		sent []sending
		want [][2]int // length and segment
	}{
		"one":                  {[]sending{one}, [][2]int{{100, 0}}},
		"equal":                {[]sending{one, one, one}, [][2]int{{300, 100}}},
		"a shorter one ends":   {[]sending{one, one, short, short}, [][2]int{{299, 100}, {99, 0}}},
		"two of two lengths":   {[]sending{one, short, one}, [][2]int{{199, 100}, {100, 0}}},
		"a longer one":         {[]sending{one, long, long}, [][2]int{{100, 0}, {202, 101}}},
		"empty ones":           {[]sending{empty, empty, one, empty}, [][2]int{{0, 0}, {0, 0}, {100, 0}, {0, 0}}},
		"another peer":         {[]sending{one, other, one}, [][2]int{{100, 0}, {100, 0}, {100, 0}}},
		"another local":        {[]sending{one, away, away}, [][2]int{{100, 0}, {200, 100}}},
		"many":                 {slices.Repeat([]sending{one}, 65), [][2]int{{6400, 100}, {100, 0}}},
		"as much as fits":      {[]sending{half, rest, one}, [][2]int{{poller.DatagramMax, half.size}, {100, 0}}},
		"more than fits":       {[]sending{half, half}, [][2]int{{half.size, 0}, {half.size, 0}}},
		"the longest datagram": {[]sending{max, one}, [][2]int{{poller.DatagramMax, 0}, {100, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			var b poller.SendBatch
			for i, s := range c.sent {
				if !commit(&b, s, byte(i)) {
					t.Fatalf("no room for datagram %d", i)
				}
			}
			var got [][2]int
			for i := range b.Len() {
				got = append(got, [2]int{len(b.At(i).Data), b.At(i).Segment})
			}
			if !slices.Equal(got, c.want) {
				t.Fatalf("%v, want %v", got, c.want)
			}
		})
	}
}

// Whatever is committed comes out, in order and cut as it was, also when the runs are split in the middle of sending.
func TestSendBatch_keepsDatagrams(t *testing.T) {
	var b poller.SendBatch
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		b.Reset()
		sizes := []int{0, 1, 100, 1200, 1452, 20000}[rng.IntN(3):][:1+rng.IntN(3)]
		var sent []sending
		for {
			s := sending{sizes[rng.IntN(len(sizes))], peerA, localA}
			if rng.IntN(8) == 0 {
				s.peer = peerB
			}
			if !commit(&b, s, byte(len(sent))) {
				break
			}
			sent = append(sent, s)
		}
		from := rng.IntN(b.Len() + 1)
		var got []sending
		collect := func(i int) {
			d := b.At(i)
			for s := range d.Segments() {
				if bytes.Count(s, []byte{byte(len(got))}) != len(s) {
					t.Fatalf("datagram %d of %v has other bytes", len(got), sent)
				}
				got = append(got, sending{len(s), d.Peer, d.Local})
			}
		}
		for i := range from {
			collect(i)
		}
		if rng.IntN(2) == 0 {
			b.Split(from)
			for i := from; i < b.Len(); i++ {
				if b.At(i).Segment != 0 {
					t.Fatal("a run is left")
				}
			}
		}
		for i := from; i < b.Len(); i++ {
			collect(i)
		}
		if !slices.Equal(got, sent) {
			t.Fatalf("%v, want %v", got, sent)
		}
	}
}

func TestSendBatch_full(t *testing.T) {
	var b poller.SendBatch
	for i := range poller.BatchMax {
		if !commit(&b, sending{100 + i, peerA, localA}, 0) {
			t.Fatalf("no room for message %d", i)
		}
	}
	if b.Reserve(1) != nil {
		t.Fatal("room for another message")
	}
	b.Reset()
	for left := poller.SendBytes; left > 0; left -= 1 << 15 {
		if !commit(&b, sending{1 << 15, peerA, localA}, 0) {
			t.Fatalf("no room for the last %d bytes", left)
		}
	}
	if b.Reserve(1) != nil {
		t.Fatal("room for another byte")
	}
	b.Reset()
	if d := b.Reserve(1200); len(d) != 0 || cap(d) != 1200 {
		t.Fatalf("%d bytes of %d", len(d), cap(d))
	}
}

// Bytes that lie elsewhere than Reserve said would leave as another datagram, to another peer.
func TestSendBatch_takesNoBytesFromElsewhere(t *testing.T) {
	if !invariant.On {
		t.Skip("only a checked build looks")
	}
	for name, commit := range map[string]func(b *poller.SendBatch){
		"outgrown": func(b *poller.SendBatch) {
			b.Commit(append(b.Reserve(3), "four"...), peerA, localA)
		},
		"no room":   func(b *poller.SendBatch) { b.Commit([]byte("x"), peerA, localA) },
		"the front": func(b *poller.SendBatch) { b.Commit(append(b.Reserve(3), "abc"...)[1:], peerA, localA) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error(name, " is taken")
				}
			}()
			commit(&poller.SendBatch{})
		}()
	}
}

func TestSendBatch_allocs(t *testing.T) {
	var b poller.SendBatch
	if n := testutil.Allocs(100, func() {
		for range 100 {
			d := b.Reserve(1200)
			b.Commit(d[:1000], peerA, localA)
		}
		b.Reset()
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// The run that a simulated kernel makes is as one of the network.
func TestBatch_fill(t *testing.T) {
	var b poller.Batch
	for i, c := range []struct {
		size int
		join bool
		n    int
	}{
		{10, true, 1}, {10, true, 1}, {7, true, 1}, {7, true, 2},
		{7, false, 3}, {8, true, 4}, {0, true, 5}, {8, true, 6},
	} {
		if !b.Fill(bytes.Repeat([]byte{byte(i)}, c.size), peerA, localA, c.join) || b.Len() != c.n {
			t.Fatalf("after datagram %d there are %d messages, want %d", i, b.Len(), c.n)
		}
	}
	if d := b.At(0); d.Segment != 10 || !bytes.Equal(d.Data, []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"+
		"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x02\x02\x02\x02\x02\x02\x02")) {
		t.Fatalf("%v", d)
	}
	for b.Len() < poller.BatchMax {
		b.Fill(make([]byte, poller.DatagramMax), peerA, localA, true)
	}
	if b.Fill(nil, peerA, localA, true) {
		t.Fatal("room for another message")
	}
	b.Reset()
	if b.Len() != 0 {
		t.Fatal("not empty")
	}
}
