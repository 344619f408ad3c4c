package huffman

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/http2/hpack"
)

func decodeCode(code []byte) ([]byte, error) {
	dst := make([]byte, Room(len(code)))
	n, _, err := Decode(dst, code, Run{0, 0, len(code)})
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
				want = append(AppendInteger(nil, 0x80, 7, len(want)), want...)
			} else {
				want = append(AppendInteger(nil, 0, 7, len(s)), s...)
			}
			got := AppendString([]byte("front"), s, 0, 7)
			if !bytes.Equal(got[5:], want) || string(got[:5]) != "front" {
				t.Fatalf("%q\n%x, want\n%x", s, got, want)
			}
		}
	}
}

// DecodePair may stop anywhere; Decode finishes the rest.
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
		room := Room(end)
		dst := make([]byte, room+Room(len(block)-end))
		a, b := DecodePair(dst, block, Run{0, 0, end}, Run{room, end * 8, len(block)})
		if a.At == 0 || b.At == room {
			continue // began with a long code
		}
		n, _, err := Decode(dst, block, a)
		m, _, err2 := Decode(dst, block, b)
		if err != nil || err2 != nil || !bytes.Equal(dst[:n], texts[0]) || !bytes.Equal(dst[room:m], texts[1]) {
			t.Fatalf("%q, %v\n%q, %v\nwant\n%q\n%q", dst[:n], err, dst[room:m], err2, texts[0], texts[1])
		}
	}
}

// encodeAny is encode for strings that become longer.
func encodeAny(dst []byte, s string) int {
	var acc uint64
	have, n := uint(0), 0
	for i := range len(s) {
		c := codes[s[i]]
		acc, have = acc<<(c&63)|c>>(64-c&63), have+uint(c&63)
		for ; have >= 8; have -= 8 {
			dst[n] = byte(acc >> (have - 8))
			n++
		}
	}
	if have > 0 {
		dst[n] = byte(acc<<(8-have)) | 0xff>>have
		n++
	}
	return n
}

// FuzzHuffman: any bytes are a code or not as the reference sees it, and any text comes back from its code.
func FuzzHuffman(f *testing.F) {
	f.Add([]byte("www.example.com"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x1f\xff"))
	f.Add(bytes.Repeat([]byte("\xa8\xeb\x10\x64\x9c\xbf"), 9))
	f.Fuzz(func(t *testing.T, p []byte) {
		want, other := hpack.HuffmanDecodeToString(p)
		if got, err := decodeCode(p); (err == nil) != (other == nil) || err == nil && string(got) != want {
			t.Fatalf("%x: %q, %v, want %q, %v", p, got, err, want, other)
		}
		code := hpack.AppendHuffmanString(nil, string(p))
		if got, err := decodeCode(code); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("%x: %q, %v, want %q", code, got, err, p)
		}
		if len(code) < len(p) {
			if got := AppendString(nil, p, 0, 7); !bytes.HasSuffix(got, code) {
				t.Fatalf("%q: %x, want %x", p, got, code)
			}
		}
	})
}
