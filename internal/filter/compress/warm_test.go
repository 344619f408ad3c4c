package compress_test

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/filter/compress"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/proxy"
)

// An exchange whose answer is compressed, and one whose answer stays as it is, allocate nothing.
func TestCompress_allocatesNothing(t *testing.T) {
	for _, accept := range []string{"gzip", "zstd", "br"} {
		f, err := filterrig.Made(compress.New, &compress.Config{MinSize: 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		request := strings.Replace(warm.Small, "\r\n\r\n", "\r\nAccept-Encoding: "+accept+"\r\n\r\n", 1)
		g := warm.New(t, request, &proxy.Listener{}, f)
		if compressed := strings.Contains(g.First, "Content-Encoding: "+accept); compressed == (accept == "br") {
			t.Fatalf("%s: %q", accept, g.First)
		}
		if n := testutil.Allocs(1000, g.Exchange); n > 0 {
			t.Errorf("%s: %v allocations", accept, n)
		}
	}
}
