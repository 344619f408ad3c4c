package policy

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

// The answers of tests are received at this time, unless a test says another one.
var (
	noon     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	received = noon.UnixNano()
)

const second = int64(time.Second)

// dated is a date so long after noon.
func dated(d time.Duration) string { return noon.Add(d).Format(message.DateLayout) }

// heads makes a head of lines that "|" separates. A line that begins with "-" is dropped.
func heads(status uint16, lines string) *message.Head {
	h := &message.Head{Status: status}
	for line := range strings.SplitSeq(lines, "|") {
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "-"), ":")
		if !ok {
			continue
		}
		h.Add(name, strings.Trim(value, " "))
		if strings.HasPrefix(line, "-") {
			h.Fields[len(h.Fields)-1].Flags |= message.Dropped
		}
	}
	return h
}

// A record keeps Freshness as it lies in memory.
func TestFreshness_size(t *testing.T) {
	if got := binary.Size(Freshness{}); got != 50 {
		t.Errorf("%d bytes", got)
	}
}

func TestRules_judgeAllocatesNothing(t *testing.T) {
	r := &Rules{TTL: []StatusTTL{{404, time.Minute}}, ObeyTTL: true}
	request := heads(0,
		"Cookie: a=b|Authorization: x|Accept-Encoding: br;q=0.5, gzip, *|Accept-Language: de, en;q=0.5, fr|X-A: 1, 2")
	answer := heads(200, `Cache-Control: public, max-age=60, private="x-a, x-b"|Date: `+dated(-time.Second)+
		"|Expires: Sunday, 06-Nov-94 08:49:37 GMT|Last-Modified: Sun Nov  6 08:49:37 1994|ETag: \"a\"|"+
		"Vary: X-Alpha, accept-LANGUAGE, Cookie|Vary: X-"+strings.Repeat("a", 250)+", x-a, accept-encoding"+
		"|Access-Control-Allow-Origin: https://a.example|Age: 1|Connection: close")
	var names, variant [4096]byte
	list, _ := AppendVary(names[:0], answer)
	honour := &Rules{
		Honour: true, KnownOnly: true, Known: []string{"x-a"}, StaleWhile: time.Hour, StaleOnError: time.Hour,
		Targeted: []string{"edge-cache-control", "cdn-cache-control"},
	}
	demanding := heads(0, "Cache-Control: max-stale, max-age=100, x=\"y, z\"|Cookie: a=b|X-A: x|X-Forwarded-Server: x|"+
		"If-None-Match: \"b\", W/\"c\"|Range: bytes=1-5|If-Range: \"a\"|Traceparent: x")
	targeted := heads(200,
		"Edge-Cache-Control:|CDN-Cache-Control: max-age=60, private=\"x-a, x-b\", a=(b;c \"d\")|X-A: 1|"+
			"ETag: \"a\"|Content-Type: text/css")
	demanding.SetTarget("/a.css")
	for name, f := range map[string]func(){
		"Judge by all rules": func() {
			a := honour.Judge(demanding, targeted, received-second, received)
			if a.Reason != ReasonNone || a.Keeps(targeted, 2) {
				t.Fatal(a.Reason)
			}
		},
		"Reuse by all rules": func() {
			f := Freshness{Received: received, Lifetime: second, StaleOnError: -1}
			if why := honour.Reuse(&f, demanding, received+2*second); why != ReasonMaxStale {
				t.Fatal(why)
			}
			if why := honour.OnError(&f, demanding, received+2*second, 0); why != ReasonStaleOnError ||
				honour.OnlyIfCached(demanding) {
				t.Fatal(why)
			}
		},
		"conditions": func() {
			_, _, part := RangeOf(demanding, targeted, 10)
			first, _ := FirstByteOf(demanding)
			if NotModified(demanding, targeted, received) || part != Partial || first != 1 ||
				InNotModified(message.Other, targeted.Name(2)) || Invalidates(demanding, demanding) {
				t.Fatal(part)
			}
			DropOverrides(demanding, nil)
			if own, ok := AppendReference(variant[:0], []byte("http://a:80/b/../c?d"), []byte("http"), []byte("A"),
				[]byte("/e")); !ok || string(own) != "/c?d" {
				t.Fatal(own)
			}
		},
		"Judge": func() {
			a := r.Judge(request, answer, received-second, received)
			if a.Reason != ReasonNone {
				t.Fatal(a.Reason)
			}
			for i := range answer.Fields {
				a.Keeps(answer, i)
			}
		},
		"Reuse": func() {
			f := Freshness{Received: received, Age: second, Lifetime: 60 * second}
			if r.Reuse(&f, request, received+second) != ReasonFresh || f.Left(received) < 0 {
				t.Fatal("not fresh")
			}
		},
		"AppendVary":    func() { AppendVary(names[:0], answer) },
		"UnionVary":     func() { UnionVary(variant[:0], list, list) },
		"AppendVariant": func() { AppendVariant(variant[:0], list, request) },
		"CodingOf": func() {
			if c, _ := CodingOf(request); c.String() == "" {
				t.Fatal("no text")
			}
		},
	} {
		if n := testutil.Allocs(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkRules_judge(b *testing.B) {
	request := heads(0, "Cookie: a=b|Accept-Encoding: gzip, br")
	answer := heads(200,
		"Date: "+dated(0)+"|Content-Type: text/html|Cache-Control: public, max-age=60|Vary: Accept-Encoding|ETag: a|"+
			"Last-Modified: "+dated(-time.Hour))
	r := &Rules{}
	b.ReportAllocs()
	for b.Loop() {
		if a := r.Judge(request, answer, received, received); a.Reason != ReasonNone {
			b.Fatal(a.Reason)
		}
	}
}

func BenchmarkRules_reuse(b *testing.B) {
	request := heads(0, "Accept: text/html|User-Agent: x|Cache-Control: max-age=0|Cookie: a=b")
	f := Freshness{Received: received, Age: second, Lifetime: 60 * second, StaleWhile: -1, StaleOnError: -1}
	r := &Rules{StaleOnError: time.Minute}
	b.ReportAllocs()
	for b.Loop() {
		if r.Reuse(&f, request, received+second) != ReasonFresh {
			b.Fatal("not fresh")
		}
	}
}

func BenchmarkAppendVariant(b *testing.B) {
	request := heads(0,
		"Accept: text/html|Accept-Encoding: gzip, deflate, br, zstd|"+
			"Accept-Language: en-GB,en;q=0.9,de;q=0.8|Origin: https://a.example")
	names, _ := AppendVary(nil, heads(200, "Vary: Accept-Encoding, Accept-Language, Origin"))
	var variant [256]byte
	b.ReportAllocs()
	for b.Loop() {
		AppendVariant(variant[:0], names, request)
	}
}
