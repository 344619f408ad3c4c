package qpack

import (
	"testing"

	"github.com/edge-proxy/edge/message"
)

// browser is what a browser sends for a page, the same as in the benchmarks of hpack.
var browser = [][2]string{
	{"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) " +
		"Chrome/126.0.0.0 Safari/537.36"},
	{"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"},
	{"accept-encoding", "gzip, deflate, br, zstd"},
	{"accept-language", "en-GB,en;q=0.9,de;q=0.8"},
	{"referer", "https://www.example.com/products/spring/"},
	{"sec-fetch-mode", "navigate"},
	{"upgrade-insecure-requests", "1"},
	{"cookie", "session=6f1ed002ab5595859014ebf0951522d9; theme=dark; consent=all"},
}

func browserFields() (ids []message.Name, values [][]byte) {
	for _, f := range browser {
		ids, values = append(ids, message.Lookup(f[0])), append(values, []byte(f[1]))
	}
	return ids, values
}

var (
	browserIDs, browserValues = browserFields()
	methodGet, schemeHTTPS    = []byte("GET"), []byte("https")
	browserHost, browserPath  = []byte("www.example.com"), []byte("/products/spring/catalogue.html")
)

func browserSection(e *Encoder, dst []byte) []byte {
	dst = e.AppendMethod(e.Begin(dst), methodGet)
	dst = e.AppendPath(e.AppendAuthority(e.AppendScheme(dst, schemeHTTPS), browserHost), browserPath)
	for i, id := range browserIDs {
		dst = e.AppendField(dst, id, nil, browserValues[i], false)
	}
	return dst
}

func decode(tb testing.TB, d *Decoder, block []byte) (size int) {
	n, err := d.Begin(block)
	if err != nil {
		tb.Fatal(err)
	}
	for block = block[n:]; len(block) > 0; block = block[n:] {
		k, f, err := d.Next(block)
		if err != nil {
			tb.Fatal(err)
		}
		size, n = size+len(f.Line), k
	}
	return size
}

func BenchmarkDecoder(b *testing.B) {
	var e Encoder
	var d Decoder
	d.Init(DecoderOptions{})
	block := browserSection(&e, nil)
	b.ReportAllocs()
	b.SetBytes(int64(decode(b, &d, block)))
	for b.Loop() {
		decode(b, &d, block)
	}
}

func BenchmarkEncoder(b *testing.B) {
	var e Encoder
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = browserSection(&e, dst[:0])
	}
}
