package compress_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/filter/encode"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

// head returns a head with fields, "Name: value" each.
func head(fields ...string) *message.Head {
	h := &message.Head{Proto: message.HTTP11, Verb: message.VerbGet, Status: 200, Length: message.LengthUnknown}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.AddID(message.Lookup(name), name, value)
	}
	return h
}

var both = []compress.Coding{compress.Zstd, compress.Gzip}

func TestNegotiate(t *testing.T) {
	for _, c := range []struct {
		accept string
		want   compress.Coding
	}{
		{"", compress.Identity},
		{"gzip", compress.Gzip},
		{"GZip", compress.Gzip},
		{"x-gzip", compress.Gzip},
		{"gzip, deflate, br, zstd", compress.Zstd},
		{"gzip;q=1.0, zstd;q=0.9", compress.Gzip},
		{"gzip;q=0", compress.Identity},
		{"gzip;q=0.000, zstd;q=0", compress.Identity},
		{"*;q=0.1", compress.Zstd},
		{"*;q=0.1, zstd;q=0", compress.Gzip},
		{"*", compress.Zstd},
		{"*;q=0", compress.Identity},
		{"*;q=0, gzip", compress.Gzip},
		{"identity", compress.Identity},
		{"identity;q=0", compress.Identity}, // nothing else is accepted: a client that is not served at all is no help
		{"identity, gzip", compress.Gzip},
		{"identity;q=1, gzip;q=0.5", compress.Identity},
		{"identity;q=0.5, gzip;q=0.9", compress.Gzip},
		{"br", compress.Identity},
		{"gzip ; q=0.5", compress.Gzip},
		{"gzip;q=what", compress.Gzip},
		{"gzip\f, \vzstd, \u00a0zstd", compress.Identity}, // none of them is white space: RFC 9110 §5.6.3
		{",,gzip,,", compress.Gzip},
		{"gzipped, xgzip", compress.Identity},
		{strings.Repeat("a, ", 255) + "gzip", compress.Gzip},
		{strings.Repeat("a, ", 256) + "gzip", compress.Identity},
		{strings.Repeat("a", 8<<10), compress.Identity},
	} {
		h := head("Accept-Encoding: " + c.accept)
		if c.accept == "" {
			h = head()
		}
		if got := compress.Negotiate(h, both); got != c.want {
			t.Errorf("%.60q: %v, want %v", c.accept, got, c.want)
		}
	}
	two := head("Accept-Encoding: zstd", "Accept-Encoding: gzip;q=0.1")
	if got := compress.Negotiate(two, both[1:]); got != compress.Gzip {
		t.Error(got)
	}
}

// A coding that was chosen has a weight above 0 and above the weight of any other that is offered.
func FuzzNegotiate(f *testing.F) {
	f.Add("gzip;q=0.3, zstd;q=0.2, *;q=1")
	f.Add("identity;q=0, *")
	f.Add("gzip;q=0.3,\f\f zstd;q=0.2, *") // a form feed is no white space of a list: RFC 9110 §5.6.3
	f.Add("x-zstd, x-*, x-identity, x-gzip;q=0.1")
	f.Fuzz(func(t *testing.T, accept string) {
		if strings.ContainsAny(accept, "\x00\r\n") || strings.Count(accept, ",") > 200 {
			t.Skip()
		}
		weight := map[string]int{}
		for _, e := range strings.Split(accept, ",") {
			name, parameters, _ := strings.Cut(e, ";")
			name = strings.ToLower(strings.Trim(name, " \t"))
			if name == "x-gzip" {
				name = "gzip"
			}
			weight[name] = max(weight[name], 1+message.Quality([]byte(parameters)))
		}
		of := func(c compress.Coding) int {
			if w := weight[c.String()]; w > 0 {
				return w - 1
			}
			return max(weight["*"]-1, 0)
		}
		got := compress.Negotiate(head("Accept-Encoding: "+accept), both)
		for _, c := range both {
			if got != compress.Identity && (of(got) == 0 || of(c) > of(got)) {
				t.Fatalf("%q: %v of %v", accept, got, weight)
			}
			if got == compress.Identity && of(c) > 0 && weight["identity"] == 0 {
				t.Fatalf("%q: nothing of %v", accept, weight)
			}
		}
	})
}

// policy compresses what is usual, from 256 bytes on.
func policy() *compress.Policy {
	p := &compress.Policy{Codings: both, MinSize: 256}
	p.Types.Add("usual")
	return p
}

func TestPolicy_Judge(t *testing.T) {
	const html = "Content-Type: text/html; charset=utf-8"
	get := head("Accept-Encoding: gzip", "Host: a.example")
	with := func(fields ...string) *message.Head { return head(append(fields, "Accept-Encoding: gzip")...) }
	old, asksHead := with(), with()
	old.Proto, asksHead.Verb = message.HTTP10, message.VerbHead
	status := func(n uint16) *message.Head {
		h := head(html)
		h.Status = n
		return h
	}
	sized := func(n int64, fields ...string) *message.Head {
		h := head(fields...)
		h.Length = n
		return h
	}
	cross := func(fields ...string) *message.Head { return with(append(fields, "Cookie: sid=1")...) }
	foreign := cross("Sec-Fetch-Site: cross-site")
	login := with("Sec-Fetch-Site: cross-site", "Authorization: Basic YTpi")
	loggedIn := with("Sec-Fetch-Site: cross-site", "Authorization: Basic YTpi")
	loggedIn.Del("Authorization") // by a filter that has checked it
	for i, c := range []struct {
		request, answer *message.Head
		end             bool
		want            compress.Result
		varies          bool
	}{
		{get, head(html), false, compress.Compressed, true},
		{get, sized(256, html), false, compress.Compressed, true},
		{get, sized(255, html), false, compress.Small, false},
		{get, head(html), true, compress.NoBody, false},
		{get, status(404), false, compress.Compressed, true},
		{get, status(204), false, compress.NoBody, false},
		{get, status(206), false, compress.NoBody, false},
		{get, status(304), true, compress.NoBody, true},
		{get, head(html, "Content-Range: bytes 0-1/9"), false, compress.NoBody, false},
		{asksHead, sized(0, html), true, compress.NoBody, true}, // as many backends answer HEAD
		{asksHead, sized(9, html), true, compress.Small, false},
		{asksHead, sized(0, html, "Content-Length: 9"), true, compress.Small, false},
		{asksHead, sized(0, html, "Content-Length: 999"), true, compress.NoBody, true},
		{asksHead, head("Content-Type: image/png"), true, compress.OtherType, false},
		{get, head(html, "Content-Encoding: br"), false, compress.Encoded, false},
		{get, head(html, "Content-Encoding: identity"), false, compress.Encoded, false},
		{get, head(html, "Cache-Control: public, No-Transform"), false, compress.NoTransform, false},
		{with("Cache-Control: no-transform"), head(html), false, compress.NoTransform, false},
		{get, head(), false, compress.OtherType, false},
		{get, head("Content-Type: image/png"), false, compress.OtherType, false},
		{get, head("Content-Type: application/grpc"), false, compress.OtherType, false},
		{get, head("Content-Type: application/grpc+json"), false, compress.OtherType, false},
		{get, head("Content-Type: application/grpc-web+proto"), false, compress.Compressed, true},
		{get, head("Content-Type: application/grpc-web+proto", "grpc-encoding: gzip"), false, compress.Encoded, false},
		{get, head("Content-Type: text/event-stream"), false, compress.Compressed, true},
		{get, head("Content-Type: image/svg+xml"), false, compress.Compressed, true},
		{old, head(html), false, compress.OldClient, true},
		{head(), head(html), false, compress.NotAccepted, true},
		{head("Accept-Encoding: br"), head(html), false, compress.NotAccepted, true},

		{foreign, head(html), false, compress.CrossSite, true},
		{foreign, head("Content-Type: application/ld+JSON"), false, compress.CrossSite, true},
		{foreign, head("Content-Type: text/css"), false, compress.Compressed, true},
		{cross("Sec-Fetch-Site: same-site"), head(html), false, compress.Compressed, true},
		{cross("Sec-Fetch-Site: none"), head(html), false, compress.Compressed, true},
		{cross("Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"), head(html), false, compress.CrossSite, true},
		{cross("Referer: https://evil.example/x"), head(html), false, compress.CrossSite, true},
		{cross("Referer: https://A.example:8443/x?y"), head(html), false, compress.Compressed, true},
		{cross("Referer: https://a.example.evil/"), head(html), false, compress.CrossSite, true},
		{cross("Referer: about:blank"), head(html), false, compress.CrossSite, true},
		{cross(), head(html), false, compress.Compressed, true},
		{with("Sec-Fetch-Site: cross-site"), head(html), false, compress.Compressed, true}, // no credentials
		{login, head(html), false, compress.CrossSite, true},
		{loggedIn, head(html), false, compress.CrossSite, true},
		{foreign, head("Content-Type: text/javascript"), false, compress.CrossSite, true}, // JSONP
		{foreign, head("Content-Type: application/xml"), false, compress.CrossSite, true},
		{foreign, head("Content-Type: text/plain"), false, compress.CrossSite, true},
		{foreign, head("Content-Type: image/svg+xml"), false, compress.CrossSite, true},
		{foreign, head("Content-Type: font/ttf"), false, compress.Compressed, true},
		{foreign, head("Content-Type: application/vnd.ms-fontobject"), false, compress.Compressed, true},
	} {
		by := compress.Asker{Authority: []byte("a.example:443")}
		coding, got, varies := policy().Judge(c.request, c.answer, by, c.end)
		coded := c.want == compress.Compressed || c.want == compress.NoBody && c.varies
		if got != c.want || varies != c.varies || (coding != compress.Identity) != coded {
			t.Errorf("case %d: %v, %v, varies %v; want %v, %v", i, coding, got, varies, c.want, c.varies)
		}
	}
	by := compress.Asker{Authority: []byte("a.example"), Certificate: true}
	_, got, _ := policy().Judge(with("Sec-Fetch-Site: cross-site"), head(html), by, false)
	if got != compress.CrossSite {
		t.Error("with a certificate:", got)
	}
	p := policy()
	p.Secrets = true
	if _, got, _ := p.Judge(foreign, head(html), compress.Asker{}, false); got != compress.Compressed {
		t.Error(got)
	}
}

// A 304 has the weak tag that a 200 has, unless the client names the strong tag alone: it has the bytes as they were.
func TestPolicy_Judge_tagOf304(t *testing.T) {
	for names, want := range map[string]string{
		"": `W/"v1"`, `W/"v1"`: `W/"v1"`, `"v1"`: `"v1"`, `"v0", "v1"`: `"v1"`, `"v0", W/"v1"`: `W/"v1"`, "*": `W/"v1"`,
	} {
		request := head("Accept-Encoding: gzip", "If-None-Match: "+names)
		answer := head(`ETag: "v1"`, "Content-Length: 9")
		answer.Status = 304
		c, _, _ := policy().Judge(request, answer, compress.Asker{}, true)
		if c != compress.Identity {
			compress.Apply(answer, c)
		}
		if got := answer.Get("ETag"); got != want || answer.Get("Content-Encoding") != "" {
			t.Errorf("If-None-Match %s: ETag %s, want %s; coding %q", names, got, want, answer.Get("Content-Encoding"))
		}
	}
}

func TestApply(t *testing.T) {
	h := head(`ETag: "v1"`, "Accept-Ranges: bytes", "Content-MD5: x", "Repr-Digest: x", "Content-Type: text/css")
	compress.Apply(h, compress.Zstd)
	var got []string
	for name, value := range h.All() {
		got = append(got, fmt.Sprintf("%s: %s", name, value))
	}
	slices.Sort(got)
	if want := []string{"Content-Encoding: zstd", "Content-Type: text/css", `ETag: W/"v1"`}; !slices.Equal(got, want) {
		t.Error(got)
	}
	for _, tag := range []string{`W/"v1"`, "bad"} {
		h := head("ETag: " + tag)
		if compress.Apply(h, compress.Gzip); h.Get("ETag") != tag {
			t.Errorf("%s became %s", tag, h.Get("ETag"))
		}
	}
}

func TestTypes(t *testing.T) {
	for pattern, ok := range map[string]bool{
		"text/html": true, "text/*": true, "*+json": true, "*": true, "usual": true, "application/grpc-web*": true,
		"": false, "html": false, "text/*ml": false, "text/html; charset=utf-8": false, "*/*": true, "te*t": false,
		"text/html,text/css": false, "12": false,
	} {
		if got := new(compress.Types).Add(pattern); got != ok {
			t.Errorf("%q: %v", pattern, got)
		}
	}
}

// Answers that are not compressed cost no allocation.
func TestPolicy_allocatesNothing(t *testing.T) {
	p := policy()
	request := head("Accept-Encoding: gzip, deflate, br, zstd", "Cookie: a=b", "Referer: https://a.example/")
	answers := []*message.Head{
		head("Content-Type: text/html", "Vary: Accept-Encoding"), head("Content-Type: image/png"),
	}
	by := compress.Asker{Authority: []byte("a.example")}
	if n := testutil.Allocs(100, func() {
		for _, h := range answers {
			p.Judge(request, h, by, false)
			h.AddVary("Accept-Encoding")
		}
	}); n > 0 {
		t.Error(n, "allocations")
	}
}

func TestResult_words(t *testing.T) {
	seen := map[string]bool{}
	for r := compress.Compressed; r < compress.Results; r++ {
		if seen[r.String()] || r.String() == "" || r.Explain() == "" {
			t.Error(strconv.Itoa(int(r)), r)
		}
		seen[r.String()] = true
	}
}
