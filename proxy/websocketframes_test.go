package proxy

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// appendFrame appends a frame with a payload of n bytes, in the shortest form that RFC 6455 §5.2 has for it.
func appendFrame(p []byte, op byte, n int, masked bool) []byte {
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	switch p = append(p, 0x80|op); {
	case n < 126:
		p = append(p, mask|byte(n))
	case n < 1<<16:
		p = binary.BigEndian.AppendUint16(append(p, mask|126), uint16(n))
	default:
		p = binary.BigEndian.AppendUint64(append(p, mask|127), uint64(n))
	}
	if masked {
		p = append(p, 1, 2, 3, 4)
	}
	return append(p, bytes.Repeat([]byte{0xff}, n)...)
}

// However the frames are cut into pieces, and whichever bytes of them pass unseen: what is known is where one ends.
func TestWebSocketFrames_property(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var wire []byte
		ends := map[int]bool{0: true}
		for range 20 {
			wire = appendFrame(wire, 2, []int{0, 1, 125, 126, 300, 1<<16 - 1, 1 << 16}[rng.IntN(7)], rng.IntN(2) == 0)
			ends[len(wire)] = true
		}
		var f webSocketFrames
		for at := 0; at < len(wire); {
			n := 1 + rng.IntN(min(len(wire)-at, 1<<rng.IntN(18)))
			if left := int(f.Left()); left > 0 && rng.IntN(2) == 0 {
				n = min(n, left)
				f.Skip(n)
			} else {
				f.Pass(wire[at : at+n])
			}
			f.check()
			if at += n; f.Between() != ends[at] {
				t.Fatalf("seed %d: between two frames at byte %d: %v", seed, at, f.Between())
			}
		}
		if f.Pass(appendFrame(nil, opClose, 2, false)); f.Between() {
			t.Fatalf("seed %d: a frame may follow the last one", seed)
		}
	}
}
