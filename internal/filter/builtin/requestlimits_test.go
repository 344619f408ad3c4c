package builtin_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/filter/builtin"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/proxy"
)

// countedLimits returns a filter and the build that has its counters.
func countedLimits(t *testing.T, c *builtin.RequestLimits) (*proxy.Filter, *plugin.Build) {
	t.Helper()
	b := newBuild("bounds", "request_limits")
	f := made(t, builtin.NewRequestLimits, c, b)
	return f, b
}

var allLimits = builtin.RequestLimits{
	Methods: []string{"GET", "POST"}, Target: 40, Fields: 8, HeaderSize: 300, Parameters: 3,
	ContentTypes: []string{"application/json", "image/*"}, Body: 10,
}

func TestRequestLimits_boundsWhatItIsTold(t *testing.T) {
	f, b := countedLimits(t, &allLimits)
	g := filterrig.New(t, f)
	fields := strings.Repeat("x-a: b\r\n", 8)
	for _, c := range []struct {
		name, request string
		status        int
		result        string
	}{
		{"GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, ""},
		{"HEAD comes with GET", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 200, ""},
		{"another method", "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method"},
		{"a method is its case", "get / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method"},
		{"40 bytes", "GET /" + strings.Repeat("a", 39) + " HTTP/1.1\r\nHost: a\r\n\r\n", 200, ""},
		{"41 bytes", "GET /" + strings.Repeat("a", 40) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414, "target"},
		{"many fields", "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n", 431, "header"},
		{"large fields", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 300) + "\r\n\r\n", 431, "header"},
		{"three parameters", "GET /?a&b=1&c HTTP/1.1\r\nHost: a\r\n\r\n", 200, ""},
		{"four parameters", "GET /?a&b=1&c& HTTP/1.1\r\nHost: a\r\n\r\n", 400, "parameters"},
		{"JSON", post("application/json;charset=utf-8", "{}"), 200, ""},
		{"in any case", post("APPLICATION/Json", "{}"), 200, ""},
		{"any image", post("image/png", "x"), 200, ""},
		{"text", post("text/plain", "x"), 415, "content_type"},
		{"no type", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 415, "content_type"},
		{"half a type", post("image", "x"), 415, "content_type"},
		{"two types", post("image/png\r\nContent-Type: text/plain", "x"), 415, "content_type"},
		{"a type without content", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 200, ""},
		{"ten bytes", post("image/png", "0123456789"), 200, ""},
		{"eleven bytes", post("image/png", "0123456789a"), 413, "body"},
		{"ten bytes in chunks", chunked("0123456789"), 200, ""},
		{"eleven bytes in chunks", chunked("0123456789a"), 413, "body"},
	} {
		before := map[string]uint64{}
		for _, result := range results {
			before[result] = b.Counter(result).Load()
		}
		w := g.Dial(t)
		w.Send(c.request)
		resp, _ := w.ReadResponse(strings.Fields(c.request)[0])
		w.Close()
		if resp.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", c.name, resp.StatusCode, c.status)
		}
		if allow := resp.Header.Get("Allow"); (c.status == 405) != (allow == "GET, POST, HEAD") {
			t.Errorf("%s: Allow: %q", c.name, allow)
		}
		testutil.Eventually(t, testutil.Patience, func() bool {
			return c.result == "" || b.Counter(c.result).Load() == before[c.result]+1
		}, "%s is counted as %s", c.name, c.result)
		for _, result := range results {
			if n := b.Counter(result).Load() - before[result]; n != 0 && result != c.result {
				t.Errorf("%s: counted %d times as %s", c.name, n, result)
			}
		}
	}
}

var results = []string{"method", "target", "header", "parameters", "content_type", "body"}

func post(contentType, body string) string {
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		contentType, len(body), body)
}

func chunked(body string) string {
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"4\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", body[:4], len(body)-4, body[4:])
}

// A body without a length is counted on streams of HTTP/2, too, and the connection goes on.
func TestRequestLimits_boundsStreams(t *testing.T) {
	f, b := countedLimits(t, &builtin.RequestLimits{Body: 1000})
	g, client := filterrig.New(t, f), testutil.H2C(t)
	for size, want := range map[int]int{1000: 200, 1001: 413, 100_000: 413} {
		body := io.MultiReader(strings.NewReader(strings.Repeat("a", size))) // no length is known of it
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL, body)
		if err != nil {
			t.Fatal(err)
		}
		if resp, _ := testutil.Do(t, client, req); resp.StatusCode != want {
			t.Errorf("%d bytes: %d, want %d", size, resp.StatusCode, want)
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return b.Counter("body").Load() == 2 }, "both are counted")
}

// Of two filters the lower bound holds, whatever their order, and one of them counts.
func TestRequestLimits_lowerBodyHolds(t *testing.T) {
	for _, sizes := range [][2]int64{{10, 1000}, {1000, 10}} {
		first, b := countedLimits(t, &builtin.RequestLimits{Body: sizes[0]})
		second, c := countedLimits(t, &builtin.RequestLimits{Body: sizes[1]})
		g := filterrig.New(t, first, second)
		w := g.Dial(t)
		w.Send(chunked("0123456789a"))
		if resp, _ := w.ReadResponse("POST"); resp.StatusCode != 413 {
			t.Error(resp.Status)
		}
		w.Close()
		testutil.Eventually(t, testutil.Patience, func() bool {
			return b.Counter("body").Load()+c.Counter("body").Load() == 1
		}, "it is counted once")
	}
}

// A body that has come while an earlier filter had the request wait is no exception.
func TestRequestLimits_boundsWhatCameBefore(t *testing.T) {
	parked := make(chan proxy.Ref, 1)
	waits := &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		parked <- x.Ref()
		return proxy.Park
	}}
	for body, want := range map[string]int{"0123456789": 200, "0123456789a": 413} {
		f, b := countedLimits(t, &builtin.RequestLimits{Body: 10})
		g := filterrig.New(t, waits, f)
		w := g.Dial(t)
		w.Send(chunked(body))
		(<-parked).Resume(proxy.Next)
		if resp, _ := w.ReadResponse("POST"); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", body, resp.StatusCode, want)
		}
		w.Close()
		testutil.Eventually(t, testutil.Patience, func() bool {
			return b.Counter("body").Load() == uint64(want/413)
		}, "it is counted")
	}
}

func TestRequestLimits_allocatesNothing(t *testing.T) {
	f, _ := countedLimits(t, &builtin.RequestLimits{
		Methods: []string{"GET"}, Target: 100, Fields: 50, HeaderSize: 2000, Parameters: 3,
		ContentTypes: []string{"image/*"}, Body: 1000,
	})
	g := warm.New(t, warm.Browser, &proxy.Listener{}, f)
	if n := testutil.Allocs(1000, g.Exchange); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNewRequestLimits_refusesMistakes(t *testing.T) {
	for want, c := range map[string]*builtin.RequestLimits{
		"take everything":    {},
		`"G T" is no method`: {Methods: []string{"GET", "G T"}},
		`"json" is no type`:  {ContentTypes: []string{"json"}},
		`"*/*" is no type`:   {ContentTypes: []string{"*/*"}},
		"fields: it must be": {Fields: -1},
	} {
		_, err := filterrig.Made(builtin.NewRequestLimits, c, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one that says %q", err, want)
		}
	}
}

func ExampleRequestLimits() {
	bounds, err := filterrig.Made(builtin.NewRequestLimits, &builtin.RequestLimits{Methods: []string{"GET"}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	s := &edge.Server{Addr: "127.0.0.1:0", Filters: []*proxy.Filter{bounds}, Routes: []proxy.Route{
		{To: proxy.Answer(200, "text/plain", "welcome\n")},
	}}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	resp, err := http.Post("http://"+s.ListenAddr(), "text/plain", strings.NewReader("hello"))
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	fmt.Println(resp.StatusCode, resp.Header.Get("Allow"))
	http.DefaultClient.CloseIdleConnections()
	// Output: 405 GET, HEAD
}
