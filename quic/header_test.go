package quic

import (
	"bytes"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func makeID(t testing.TB, s string) *ID {
	id, ok := MakeID([]byte(s))
	if !ok {
		t.Fatalf("id %q", s)
	}
	return &id
}

// longPacket is a packet with n octets after its header.
func longPacket(t testing.TB, kind PacketKind, dest, source, token string, n int) []byte {
	d := appendLong(nil, kind, makeID(t, dest), makeID(t, source), []byte(token))
	number := len(d)
	d = append(d, make([]byte, n)...)
	setLength(d, number, n)
	return d
}

func TestParse_longHeaders(t *testing.T) {
	for _, kind := range []PacketKind{InitialPacket, ZeroRTTPacket, HandshakePacket} {
		token := ""
		if kind == InitialPacket {
			token = string(bytes.Repeat([]byte("t"), 70))
		}
		d := longPacket(t, kind, "destination", "s", token, 30)
		size := len(d)
		d = append(d, "the next packet of the datagram"...)
		h, ok := Parse(d)
		if !ok || h.Kind != kind || h.Version != Version1 || string(h.Dest) != "destination" ||
			string(h.Source) != "s" || string(h.Token) != token || h.size != size || h.number != size-30 {
			t.Errorf("%v: %+v, %v", kind, h, ok)
		}
		for n := range size {
			if h, ok := Parse(d[:n]); ok {
				t.Errorf("%v cut to %d octets: %+v", kind, n, h)
			}
		}
		d[0] &^= 0x40
		if _, ok := Parse(d); ok {
			t.Errorf("%v without the fixed bit", kind)
		}
	}
	if _, ok := Parse(longPacket(t, HandshakePacket, "d", "s", "", 19)); ok {
		t.Error("a packet too short for a sample")
	}
}

func TestParse_shortHeader(t *testing.T) {
	d := append(appendShort(nil, makeID(t, "12345678"), false), make([]byte, 12)...)
	h, ok := Parse(d)
	if !ok || h.Kind != OneRTTPacket || string(h.Dest) != "12345678" || h.number != 9 || h.size != 21 ||
		h.Version != 0 {
		t.Errorf("%+v, %v", h, ok)
	}
	if _, ok := Parse(d[:20]); ok {
		t.Error("20 octets")
	}
	d[0] = 0
	if _, ok := Parse(d); ok {
		t.Error("without the fixed bit")
	}
	if _, ok := Parse(nil); ok {
		t.Error("nothing")
	}
}

// RFC 8999: ids of other versions may be longer, and nothing else of them is known.
func TestParse_unknownVersionIsAnswered(t *testing.T) {
	dest, source := bytes.Repeat([]byte{1}, 255), bytes.Repeat([]byte{2}, 200)
	d := appendIDs([]byte{0x80, 9, 9, 9, 9}, dest, source)
	h, ok := Parse(d)
	if !ok || h.Kind != UnknownPacket || h.Version != 0x09090909 || !bytes.Equal(h.Dest, dest) ||
		!bytes.Equal(h.Source, source) || h.size != len(d) {
		t.Fatalf("%+v, %v", h, ok)
	}
	for n := range d {
		if _, ok := Parse(d[:n]); ok {
			t.Fatalf("cut to %d", n)
		}
	}
	v, ok := Parse(AppendVersions(nil, &h))
	if !ok || v.Kind != VersionsPacket || !bytes.Equal(v.Dest, source) || !bytes.Equal(v.Source, dest) ||
		!bytes.Equal(v.Versions, []byte{0, 0, 0, 1}) {
		t.Errorf("answer %+v, %v", v, ok)
	}
}

// Reserved bits have protection, so they are judged after the packet was opened.
func TestReservedSet(t *testing.T) {
	for first := range 256 {
		mask := 0x18
		if first >= 0x80 {
			mask = 0x0c
		}
		if got := reservedSet(byte(first)); got != (first&mask != 0) {
			t.Errorf("%x: %v", first, got)
		}
	}
}

func TestParse_refuses(t *testing.T) {
	long := bytes.Repeat([]byte{1}, 21)
	for name, d := range map[string][]byte{
		"a long destination in version 1": append(appendIDs([]byte{0xc0, 0, 0, 0, 1}, long, nil), make([]byte, 40)...),
		"a long source in version 1":      append(appendIDs([]byte{0xc0, 0, 0, 0, 1}, nil, long), make([]byte, 40)...),
		"no versions":                     appendIDs([]byte{0x80, 0, 0, 0, 0}, long, long),
		"half a version":                  append(appendIDs([]byte{0x80, 0, 0, 0, 0}, long, long), 0, 0, 0, 1, 0),
		"a Retry without a token":         append(appendIDs([]byte{0xf0, 0, 0, 0, 1}, nil, nil), make([]byte, 16)...),
		"a Retry without a tag":           append(appendIDs([]byte{0xf0, 0, 0, 0, 1}, long[:20], nil), 1, 2, 3),
		"a token longer than the packet": append(appendIDs([]byte{0xc0, 0, 0, 0, 1}, long[:20], nil),
			0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0),
	} {
		if h, ok := Parse(d); ok {
			t.Errorf("%s: %+v", name, h)
		}
	}
	if _, ok := MakeID(long); ok {
		t.Error("an id of 21 octets")
	}
}

func TestAppendReset_isSmallerThanItsCause(t *testing.T) {
	token, noise := [16]byte{15: 9}, [resetNoise]byte{0: 0xff, 1: 7}
	for caused := range 1500 {
		d := AppendReset([]byte("before"), caused, &token, &noise)[6:]
		if caused < 22 {
			if len(d) != 0 {
				t.Errorf("%d octets answer %d", len(d), caused)
			}
			continue
		}
		h, ok := Parse(d)
		if !ok || h.Kind != OneRTTPacket || len(d) >= caused || len(d) > 40 || !bytes.HasSuffix(d, token[:]) {
			t.Fatalf("%x answers %d octets", d, caused)
		}
	}
}

func TestHeader_allocatesNothing(t *testing.T) {
	d := longPacket(t, InitialPacket, "12345678", "87654321", "token", 1100)
	unknown := append(appendIDs([]byte{0x80, 9, 9, 9, 9}, []byte("12345678"), nil), make([]byte, 20)...)
	var token [16]byte
	var noise [resetNoise]byte
	source, out := makeID(t, "abcdefgh"), make([]byte, 0, 1500)
	if n := testutil.Allocs(100, func() {
		h, _ := Parse(d)
		out = AppendRetry(out[:0], &h, source, h.Token)
		h, _ = Parse(unknown)
		out = AppendVersions(out, &h)
		out = AppendReset(out, 100, &token, &noise)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	v := vectors(f)
	for _, name := range []string{"client-packet", "server-packet", "chacha-packet", "retry-packet"} {
		f.Add(v[name])
	}
	f.Add(AppendVersions(nil, &Header{Source: []byte("abc")}))
	f.Add(appendIDs([]byte{0x80, 9, 9, 9, 9}, []byte("abc"), nil))
	f.Fuzz(func(t *testing.T, d []byte) {
		h, ok := Parse(d)
		if !ok {
			return
		}
		if h.size > len(d) || h.size <= 0 || h.number > h.size {
			t.Fatalf("%+v of %d octets", h, len(d))
		}
		switch h.Kind {
		case InitialPacket, ZeroRTTPacket, HandshakePacket:
			dest, fits := MakeID(h.Dest)
			source, fits2 := MakeID(h.Source)
			if !fits || !fits2 || h.size-h.number < 20 {
				t.Fatalf("%+v", h)
			}
			if h.size-h.number < 1<<14 {
				out := appendLong(nil, h.Kind, &dest, &source, h.Token)
				setLength(out, len(out), h.size-h.number)
				again, ok := Parse(append(out, d[h.number:h.size]...))
				if !ok || !bytes.Equal(again.Dest, h.Dest) || !bytes.Equal(again.Token, h.Token) ||
					again.Kind != h.Kind {
					t.Fatalf("%+v becomes %+v", h, again)
				}
			}
		case UnknownPacket:
			if again, ok := Parse(AppendVersions(nil, &h)); !ok || !bytes.Equal(again.Dest, h.Source) {
				t.Fatalf("%+v is answered %+v", h, again)
			}
		}
	})
}
