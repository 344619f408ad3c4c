package builtin

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/message"
)

// The values that requests are put together of, "" for a field that is not sent.
var (
	methods = []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "get", "CONNECT",
		"QUERY"}
	sites        = []string{"", "", "same-origin", "same-site", "cross-site", "none", "Same-Origin", "null", "x"}
	hosts        = []string{"a.example", "a.example:8080", "A.example", "[::1]", "[::1]:80", "192.0.2.1", "a.example."}
	askedOrigins = []string{
		"", "null", "https://a.example", "http://a.example", "https://a.example:8080", "https://A.example",
		"http://[::1]", "http://[::1]:80", "https://192.0.2.1", "https://a.example.", "https://b.example",
		"https://trusted.example", "https://x.trusted.example", "chrome-extension://a.example", "HTTPS://a.example",
		"https://a.example.evil", "ftp://a.example", "x",
	}
	// Those that net/http reads as URLs, which they are not meant to be: here they are no origins.
	strange = []string{
		"https://a.example/", "https://a.example/path", "//a.example", "https://u@a.example", "https://a.example?q",
		"https://a.example#f", "https://a.example, https://b.example", "https://a.example\\", "https:a.example",
		"9://a.example", "://a.example", "https://a.example:",
	}
)

// rig is the filter beside the model.
func csrfRig(t testing.TB) (*csrfRules, *http.CrossOriginProtection) {
	t.Helper()
	model := http.NewCrossOriginProtection()
	if err := model.AddTrustedOrigin("https://trusted.example"); err != nil {
		t.Fatal(err)
	}
	set, err := newOriginSet([]string{"https://trusted.example"})
	if err != nil {
		t.Fatal(err)
	}
	var b *plugin.Build
	return &csrfRules{trusted: set, refused: b.Counter(""), isolated: b.Counter(""), exempt: b.Counter("")}, model
}

// asked makes the same request for both. A value of several lines is several fields.
func asked(method, host string, site, from []string) (*message.Head, *http.Request) {
	var h message.Head
	h.SetMethod(method)
	h.SetAuthority(host)
	r := &http.Request{Method: method, Host: host, Header: http.Header{}}
	for _, v := range site {
		h.Add("Sec-Fetch-Site", v)
		r.Header.Add("Sec-Fetch-Site", v)
	}
	for _, v := range from {
		h.Add("Origin", v)
		r.Header.Add("Origin", v)
	}
	return &h, r
}

func (r *csrfRules) passes(h *message.Head) bool { return r.judge(h) == nil || r.trusts(h) }

func TestCSRF_isJudgedAsByNetHTTP(t *testing.T) {
	r, model := csrfRig(t)
	n, refused := 0, 0
	for _, method := range methods {
		for _, host := range hosts {
			for _, site := range sites {
				for _, from := range askedOrigins {
					h, req := asked(method, host, sent(site), sent(from))
					want := model.Check(req) == nil
					if got := r.passes(h); got != want {
						t.Errorf("%s %s, Sec-Fetch-Site %q, Origin %q: passes %v, by net/http %v",
							method, host, site, from, got, want)
					}
					if n++; !want {
						refused++
					}
				}
			}
		}
	}
	if refused < n/10 || refused > n*9/10 {
		t.Errorf("%d of %d are refused: the requests say little", refused, n)
	}
}

func sent(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

// What passes here passes by net/http, whatever is sent: several fields, empty ones, what is no origin.
func TestCSRF_isJudgedNoLessStrictly(t *testing.T) {
	r, model := csrfRig(t)
	random := rand.New(rand.NewPCG(1, 2))
	some := func(values ...[]string) (list []string) {
		for range random.IntN(3) {
			from := values[random.IntN(len(values))]
			list = append(list, from[random.IntN(len(from))])
		}
		return list
	}
	stricter := 0
	for range 100_000 {
		method, host := methods[random.IntN(len(methods))], hosts[random.IntN(len(hosts))]
		site, from := some(sites), some(askedOrigins, strange)
		h, req := asked(method, host, site, from)
		got, want := r.passes(h), model.Check(req) == nil
		if got && !want {
			t.Fatalf("%s %s, Sec-Fetch-Site %q, Origin %q passes", method, host, site, from)
		}
		if want && !got {
			stricter++
			if len(site) < 2 && len(from) < 2 && (len(from) == 0 || !slices.Contains(strange, from[0])) {
				t.Fatalf("%s %s, Sec-Fetch-Site %q, Origin %q does not pass", method, host, site, from)
			}
		}
	}
	if stricter == 0 {
		t.Error("no request was strange")
	}
}

func FuzzCSRF(f *testing.F) {
	for _, from := range append(askedOrigins, strange...) {
		f.Add("POST", "a.example", "", from)
		f.Add("POST", "a.example:8080", "cross-site", from)
	}
	r, model := csrfRig(f)
	f.Fuzz(func(t *testing.T, method, host, site, from string) {
		text := method + " / HTTP/1.1\r\nHost: " + host + "\r\nSec-Fetch-Site: " + site + "\r\nOrigin: " + from +
			"\r\n\r\n"
		h, ok := parsed(text)
		if !ok || h.Verb == message.VerbConnect || h.Upgrade {
			return
		}
		req := &http.Request{Method: string(h.MethodBytes()), Host: string(h.Bytes(h.Authority)), Header: http.Header{}}
		for i := range h.Fields {
			req.Header.Add(string(h.Name(i)), string(h.Value(i)))
		}
		if r.passes(h) && model.Check(req) != nil {
			t.Errorf("%q passes", text)
		}
	})
}

func TestCSRF_tunnelIsNotSafe(t *testing.T) {
	r, _ := csrfRig(t)
	for from, want := range map[string]bool{
		"": true, "https://a.example": true, "https://b.example": false, "https://trusted.example": true, "null": false,
	} {
		h, _ := asked("GET", "a.example", nil, sent(from))
		if !r.passes(h) {
			t.Errorf("%q: a plain GET is refused", from)
		}
		if h.Upgrade = true; r.passes(h) != want {
			t.Errorf("%q: passes %v", from, !want)
		}
	}
}

func TestCSRF_isolation(t *testing.T) {
	r, _ := csrfRig(t)
	r.isolate = true
	for _, c := range []struct {
		method, site, mode, dest string
		passes                   bool
	}{
		{"GET", "", "", "", true},
		{"GET", "same-origin", "cors", "empty", true},
		{"GET", "same-site", "no-cors", "image", true},
		{"GET", "none", "navigate", "document", true},
		{"GET", "cross-site", "navigate", "document", true},
		{"HEAD", "cross-site", "navigate", "document", false},
		{"GET", "cross-site", "navigate", "iframe", false},
		{"GET", "cross-site", "navigate", "frame", false},
		{"GET", "cross-site", "navigate", "object", false},
		{"GET", "cross-site", "navigate", "embed", false},
		{"GET", "cross-site", "navigate", "fencedframe", false},
		{"GET", "cross-site", "navigate", "", false},
		{"GET", "cross-site", "no-cors", "script", false},
		{"GET", "cross-site", "cors", "empty", false},
		{"OPTIONS", "cross-site", "cors", "empty", false},
		{"POST", "cross-site", "navigate", "document", false},
		{"POST", "same-site", "navigate", "document", false},
		{"GET", "Cross-Site", "cors", "empty", false},
	} {
		h, _ := asked(c.method, "a.example", sent(c.site), nil)
		h.Add("Sec-Fetch-Mode", c.mode)
		h.Add("Sec-Fetch-Dest", c.dest)
		if got := r.passes(h); got != c.passes {
			t.Errorf("%+v: %v", c, got)
		}
		if h.Add("Origin", "https://trusted.example"); !r.passes(h) {
			t.Errorf("%+v: a trusted origin is refused", c)
		}
	}
	h, _ := asked("GET", "a.example", []string{"same-origin", "cross-site"}, nil)
	if r.passes(h) {
		t.Error("two fields Sec-Fetch-Site pass")
	}
}

// parsed reads a head as a connection does.
func parsed(text string) (*message.Head, bool) {
	var d h1.Decoder
	d.InitRequests(nil)
	var h message.Head
	_, event, _, err := d.Next([]byte(text), &h)
	return &h, err == nil && event&h1.HeadDone != 0
}

func BenchmarkCSRF(b *testing.B) {
	r, _ := csrfRig(b)
	for _, method := range []string{"GET", "POST"} {
		b.Run(method, func(b *testing.B) {
			h, _ := asked(method, "a.example", []string{"same-origin"}, []string{"https://a.example"})
			b.ReportAllocs()
			for b.Loop() {
				if !r.passes(h) {
					b.Fatal("it is refused")
				}
			}
		})
	}
}
