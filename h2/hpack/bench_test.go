package hpack

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/message"
)

// browser is what a browser sends for a page: 12 fields, pseudo-fields among them.
var browser = []line{
	{":method", "GET"},
	{":scheme", "https"},
	{":authority", "www.example.com"},
	{":path", "/products/spring/catalogue.html"},
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

// visitors returns the first requests of n browsers: like browser, with other hosts, paths, agents and cookies.
func visitors(n int) (lists [][]line) {
	r := rand.New(rand.NewPCG(7, 541))
	agents := []string{
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:%d.0) Gecko/20100101 Firefox/126.0",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile/15E%d",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.%d",
	}
	languages := []string{"en-GB,en;q=0.9,de;q=0.8", "fr,fr-FR;q=0.8,en-US;q=0.5,en;q=0.3", "de", "ja,en-US;q=0.9"}
	words := strings.Fields("products spring catalogue article images news 2026 shoes about search")
	word := func() string { return words[r.IntN(len(words))] }
	for range n {
		l := append([]line(nil), browser...)
		l[2][1] = fmt.Sprintf("www.%s-%s.com", word(), word())
		l[3][1] = fmt.Sprintf("/%s/%s/%d/%s.html", word(), word(), r.IntN(10000), word())
		l[4][1] = fmt.Sprintf(agents[r.IntN(len(agents))], 100+r.IntN(40))
		l[7][1] = languages[r.IntN(len(languages))]
		l[8][1] = fmt.Sprintf("https://%s/%s/", l[2][1], word())
		l[11][1] = fmt.Sprintf("session=%016x%016x; theme=%s; id=%d", r.Uint64(), r.Uint64(), word(), r.IntN(1e6))
		lists = append(lists, l)
	}
	return lists
}

// text is what a list of fields is decoded to.
func text(fields []line) string {
	var b strings.Builder
	for _, f := range fields {
		b.WriteString(f[0] + ": " + f[1] + "\r\n")
	}
	return b.String()
}

func decodeBlock(tb testing.TB, d *Decoder, block []byte) (size int) {
	d.Begin()
	for len(block) > 0 {
		n, f, err := d.Next(block)
		if err != nil {
			tb.Fatal(err)
		}
		size, block = size+len(f.Line), block[n:]
	}
	return size
}

// parts are the fields of a list as a session has them.
type parts struct {
	ids    []message.Name
	values [][]byte
}

func partsOf(fields []line) (p parts) {
	for _, f := range fields {
		p.ids, p.values = append(p.ids, message.Lookup(f[0])), append(p.values, []byte(f[1]))
	}
	return p
}

func (p *parts) encode(e *Encoder, dst []byte) []byte {
	dst = e.Begin(dst)
	dst = e.AppendMethod(dst, p.values[0])
	dst = e.AppendScheme(dst, p.values[1])
	dst = e.AppendAuthority(dst, p.values[2])
	dst = e.AppendPath(dst, p.values[3])
	for i := 4; i < len(p.ids); i++ {
		dst = e.AppendField(dst, p.ids[i], nil, p.values[i], false)
	}
	return dst
}

func BenchmarkDecoder_first(b *testing.B) {
	var e Encoder
	var d Decoder
	e.Init(EncoderOptions{})
	block := appendFields(&e, nil, browser)
	b.ReportAllocs()
	b.SetBytes(int64(len(text(browser))))
	for b.Loop() {
		d.Init(DecoderOptions{})
		decodeBlock(b, &d, block)
	}
}

// Blocks of many browsers, so that no branch predictor learns them by heart.
func BenchmarkDecoder_visitors(b *testing.B) {
	var e Encoder
	var d Decoder
	var blocks [256][]byte
	for i, fields := range visitors(len(blocks)) {
		e.Init(EncoderOptions{})
		blocks[i] = appendFields(&e, nil, fields)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.Init(DecoderOptions{})
		decodeBlock(b, &d, blocks[i%len(blocks)])
	}
}

func BenchmarkDecoder_indexed(b *testing.B) {
	var e Encoder
	var d Decoder
	e.Init(EncoderOptions{})
	d.Init(DecoderOptions{})
	decodeBlock(b, &d, appendFields(&e, nil, browser))
	decodeBlock(b, &d, appendFields(&e, nil, browser))
	block := appendFields(&e, nil, browser)
	b.ReportAllocs()
	for b.Loop() {
		decodeBlock(b, &d, block)
	}
}

func BenchmarkEncoder_first(b *testing.B) {
	var e Encoder
	p := partsOf(browser)
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	b.SetBytes(int64(len(text(browser))))
	for b.Loop() {
		e.Init(EncoderOptions{})
		dst = p.encode(&e, dst[:0])
	}
}

func BenchmarkEncoder_visitors(b *testing.B) {
	var e Encoder
	var all [256]parts
	for i, fields := range visitors(len(all)) {
		all[i] = partsOf(fields)
	}
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e.Init(EncoderOptions{})
		dst = all[i%len(all)].encode(&e, dst[:0])
	}
}

func BenchmarkEncoder_indexed(b *testing.B) {
	var e Encoder
	e.Init(EncoderOptions{})
	p := partsOf(browser)
	dst := p.encode(&e, make([]byte, 0, 1024))
	dst = p.encode(&e, dst[:0])
	b.ReportAllocs()
	for b.Loop() {
		dst = p.encode(&e, dst[:0])
	}
}
