package rotate

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// accessLog returns at least n bytes of an access log in JSON.
func accessLog(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, `{"time":"2026-11-22T12:%02d:%02d.%09dZ","id":"%016x","listener":"web",`+
			`"client_ip":"10.%d.%d.%d","proto":"HTTP/2","tls_version":"TLS 1.3","sni":"shop.example.com",`+
			`"method":"GET","host":"shop.example.com","path":"/item/%d","query":"q=%x","route":"shop",`+
			`"status":%d,"bytes_in":0,"bytes_out":%d,"dur_ms":%.3f,"t":{"connect":0,"first_byte":%.3f},`+
			`"upstream":"api","backend":"10.0.0.%d:8080","attempts":1,"reused":true,`+
			`"user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:13%d.0) Gecko/20100101 Firefox/13%[15]d.0"}`+"\n",
			b.Len()/1e6%60, b.Len()/20000%60, r.IntN(1e9), r.Uint64(), r.IntN(4), r.IntN(256), r.IntN(256),
			r.IntN(5000), r.Uint32(), []int{200, 200, 200, 304, 404, 502}[r.IntN(6)], r.IntN(90000),
			r.ExpFloat64()*20, r.ExpFloat64()*15, r.IntN(8), r.IntN(9))
	}
	return b.Bytes()
}

// In what time, memory and size each kind keeps a log. The pauses in between are not measured.
func BenchmarkCompressor(b *testing.B) {
	text := accessLog(16 << 20)
	for _, word := range []string{"gzip", "zstd"} {
		b.Run(word, func(b *testing.B) {
			var size int
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				to := &counted{}
				z, err := compressors[word].open(to)
				testutil.Must(b, err)
				if _, err := io.Copy(z, bytes.NewReader(text)); err != nil {
					b.Fatal(err)
				}
				testutil.Must(b, z.Close())
				size = to.bytes
			}
			b.ReportMetric(float64(len(text))/float64(size), "times-smaller")
		})
	}
}

// counted counts what is written.
type counted struct{ bytes int }

func (c *counted) Write(p []byte) (int, error) {
	c.bytes += len(p)
	return len(p), nil
}
