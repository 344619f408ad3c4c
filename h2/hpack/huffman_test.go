package hpack

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/http2/hpack"
)

func decodeCode(code []byte) ([]byte, error) {
	dst := make([]byte, huffmanRoom(len(code)))
	n, _, err := decodeHuffman(dst, code, run{0, 0, len(code)})
	return dst[:n], err
}

// Every symbol beside every other one, which meets all steps and all long codes.
func TestHuffman_allPairsOfSymbols(t *testing.T) {
	for a := range 256 {
		for b := range 256 {
			s := []byte{byte(a), byte(b), byte(a)}
			want := hpack.AppendHuffmanString(nil, string(s))
			code := make([]byte, 32)
			if n := encodeAny(code, string(s)); !bytes.Equal(code[:n], want) {
				t.Fatalf("%q is %x, want %x", s, code[:n], want)
			}
			if got, err := decodeCode(want); err != nil || !bytes.Equal(got, s) {
				t.Fatalf("%x is %q, %v, want %q", want, got, err, s)
			}
		}
	}
}

func TestHuffman_encodesWhatGetsShorter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 541))
	alphabets := []string{"aeiost012", "abcdefghijklmnop-XYZ", "\x00\x01\xff{}|~", "aaaaaaaaaaaaaaa\xf9"}
	for size := range 400 {
		for _, alphabet := range alphabets {
			s := make([]byte, size)
			for i := range s {
				s[i] = alphabet[r.IntN(len(alphabet))]
			}
			want := hpack.AppendHuffmanString(nil, string(s))
			if len(want) < len(s) {
				want = append(appendInteger(nil, 0x80, 7, len(want)), want...)
			} else {
				want = append(appendInteger(nil, 0, 7, len(s)), s...)
			}
			if got := appendString([]byte("front"), s); !bytes.Equal(got[5:], want) || string(got[:5]) != "front" {
				t.Fatalf("%q\n%x, want\n%x", s, got, want)
			}
		}
	}
}

// decodePair may stop anywhere; decodeHuffman finishes the rest.
func TestHuffman_pairs(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 541))
	for range 3000 {
		var texts [2][]byte
		for i := range texts {
			texts[i] = make([]byte, 20+r.IntN(120))
			for k := range texts[i] {
				texts[i][k] = "etaoin shrdlu/ETAOIN;=0123456789"[r.IntN(32)]
			}
			if r.IntN(3) == 0 {
				texts[i][r.IntN(len(texts[i]))] = byte(r.IntN(256)) // may have a long code
			}
		}
		block := hpack.AppendHuffmanString(nil, string(texts[0]))
		end := len(block)
		block = hpack.AppendHuffmanString(block, string(texts[1]))
		room := huffmanRoom(end)
		dst := make([]byte, room+huffmanRoom(len(block)-end))
		a, b := decodePair(dst, block, run{0, 0, end}, run{room, end * 8, len(block)})
		if a.at == 0 || b.at == room {
			continue // began with a long code
		}
		n, _, err := decodeHuffman(dst, block, a)
		m, _, err2 := decodeHuffman(dst, block, b)
		if err != nil || err2 != nil || !bytes.Equal(dst[:n], texts[0]) || !bytes.Equal(dst[room:m], texts[1]) {
			t.Fatalf("%q, %v\n%q, %v\nwant\n%q\n%q", dst[:n], err, dst[room:m], err2, texts[0], texts[1])
		}
	}
}
