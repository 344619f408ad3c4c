package huffman

import "testing"

// agent is the longest value that a browser sends with each request.
const agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) " +
	"Chrome/126.0.0.0 Safari/537.36"

func BenchmarkHuffman_decode(b *testing.B) {
	value := []byte(agent)
	dst, code := make([]byte, 1024), make([]byte, 1024)
	n := encode(code, value)
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		if _, _, err := Decode(dst, code, Run{0, 0, n}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHuffman_encode(b *testing.B) {
	value, code := []byte(agent), make([]byte, 1024)
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		encode(code, value)
	}
}
