package quicconn

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/quic"
)

// What is put into frames comes out, however the stream is cut.
func TestFrame(t *testing.T) {
	var sent []byte
	paths := []quic.Path{
		{Peer: netip.MustParseAddrPort("192.0.2.9:4433"), Local: netip.MustParseAddr("192.0.2.1")},
		{Peer: netip.MustParseAddrPort("[fe80::1%eth0]:1"), Local: netip.MustParseAddr("fe80::2%eth0")},
		{Peer: netip.MustParseAddrPort("[::ffff:192.0.2.9]:65535")}, // on which address it came is not known
	}
	datagrams := [][]byte{{1}, bytes.Repeat([]byte("x"), quic.DatagramMax), make([]byte, passMax)}
	for i, p := range paths {
		sent = appendFrame(sent, datagrams[i], p)
	}
	for _, step := range []int{1, 2, 3, 1000, len(sent)} {
		var kept []byte
		next := 0
		for at := 0; at < len(sent); at += step {
			kept = append(kept, sent[at:min(at+step, len(sent))]...)
			for {
				d, p, n, err := cutFrame(kept)
				if err != nil {
					t.Fatal(err)
				}
				if n == 0 {
					break
				}
				if p != paths[next] || !bytes.Equal(d, datagrams[next]) {
					t.Fatalf("frame %d: %v, %d octets", next, p, len(d))
				}
				kept = kept[n:]
				next++
			}
		}
		if next != len(paths) || len(kept) > 0 {
			t.Fatalf("%d frames, %d octets are left", next, len(kept))
		}
	}
}

func TestFrame_allocatesNothing(t *testing.T) {
	p := quic.Path{Peer: netip.MustParseAddrPort("[2001:db8::9]:4433"), Local: netip.MustParseAddr("2001:db8::1")}
	b := make([]byte, 0, 2*quic.DatagramMax)
	n := testutil.Allocs(100, func() {
		b = appendFrame(b[:0], []byte("datagram"), p)
		if _, _, n, err := cutFrame(b); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Frames come from another program, which may be a later one.
func FuzzFrame(f *testing.F) {
	p := quic.Path{Peer: netip.MustParseAddrPort("192.0.2.9:4433"), Local: netip.MustParseAddr("192.0.2.1")}
	whole := appendFrame(nil, []byte("datagram"), p)
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte{0, 0})
	f.Add([]byte{0, 2, 0, 0})
	f.Add([]byte{0, 3, 200, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, p, n, err := cutFrame(b)
		switch {
		case err != nil && n != 0, n < 0, n > len(b):
			t.Fatal(n, err)
		case n == 0 && err == nil && len(b) >= 2 && len(b) >= 2+int(b[0])<<8+int(b[1]):
			t.Fatal("a whole frame is awaited for ever")
		case n == 0:
			return
		}
		d2, p2, n2, err := cutFrame(appendFrame(nil, d, p))
		if err != nil || n2 == 0 || p2 != p || !bytes.Equal(d, d2) {
			t.Fatal(p, p2, err)
		}
	})
}
