package health

import (
	"encoding/binary"
	"testing"
)

// framed returns bytes with the prefix of gRPC.
func framed(text string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text)))
	return append(b, text...)
}

func TestServingStatus(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "\x08\x01": 1, "\x08\x02": 2, "\x08\x00": 0, "\x08\x01\x08\x03": 3, "\x12\x01x\x08\x01": 1,
		"\x08": -1, "\x12\x05x": -1, "\x0d\x01\x02\x03\x04": -1, "\xff": -1, "\x08\xff": -1, "\x10\x07": 0,
	} {
		n, ok := servingStatus(framed(text))
		if !ok {
			n = 0
		}
		if ok != (want >= 0) || ok && n != uint64(want) {
			t.Errorf("%q is %d %v, want %d", text, n, ok, want)
		}
	}
	for _, wire := range []string{
		"", "\x00\x00\x00\x00", "\x01\x00\x00\x00\x00", "\x00\x00\x00\x00\x01", "\x00\x00\x00\x00\x00x",
	} {
		if n, ok := servingStatus([]byte(wire)); ok {
			t.Errorf("%q is %d", wire, n)
		}
	}
}

// Whatever a peer sends is read within its bounds, and a number that is found is in the message.
func FuzzServingStatus(f *testing.F) {
	f.Add([]byte("\x08\x01"))
	f.Add([]byte("\x12\x03abc\x08\x01"))
	f.Fuzz(func(t *testing.T, text []byte) {
		n, ok := servingStatus(framed(string(text)))
		if !ok || n == 0 {
			return
		}
		// The same with the field once more, and another number: the last one counts.
		again := binary.AppendUvarint(append([]byte(nil), append(text, 1<<3)...), n+1)
		if m, ok := servingStatus(framed(string(again))); !ok || m != n+1 {
			t.Fatalf("%q is %d, with %d after it %d %v", text, n, n+1, m, ok)
		}
	})
}
