package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/message"
)

// RFC 9110 §13.1.2, §13.1.3 and RFC 9111 §4.3.2.
func TestNotModified(t *testing.T) {
	modified, made := "Last-Modified: "+dated(-time.Hour), "Date: "+dated(0)
	since := func(d time.Duration) string { return "If-Modified-Since: " + dated(d) }
	for _, c := range []struct {
		name, request, stored string
		want                  bool
	}{
		{"no condition", "", `ETag: "a"`, false},
		{"tag", `If-None-Match: "a"`, `ETag: "a"`, true},
		{"another tag", `If-None-Match: "b"`, `ETag: "a"`, false},
		{"tags have cases", `If-None-Match: "A"`, `ETag: "a"`, false},
		{"weak", `If-None-Match: W/"a"`, `ETag: "a"`, true},
		{"weak stored", `If-None-Match: "a"`, `ETag: W/"a"`, true},
		{"both weak", `If-None-Match: W/"a"`, `ETag: W/"a"`, true},
		{"mark in lower case", `If-None-Match: w/"a"`, `ETag: "a"`, false},
		{"list", `If-None-Match: "b", W/"c" ,"a"`, `ETag: "a"`, true},
		{"lines", `If-None-Match: "b"|If-None-Match: "a"`, `ETag: "a"`, true},
		{"empty members", `If-None-Match: ,, "a" ,`, `ETag: "a"`, true},
		{"a comma in a tag", `If-None-Match: "b,", "a,b"`, `ETag: "a,b"`, true},
		{"part of a tag", `If-None-Match: "b,a"`, `ETag: "a"`, false},
		{"empty tag", `If-None-Match: ""`, `ETag: ""`, true},
		{"any", `If-None-Match: *`, ``, true},
		{"any in a list", `If-None-Match: "b", *`, `ETag: "a"`, false},
		{"no tag stored", `If-None-Match: "a"`, ``, false},
		{"two tags stored", `If-None-Match: "a"`, `ETag: "a"|ETag: "a"`, false},
		{"malformed", `If-None-Match: a`, `ETag: a`, false},
		{"malformed after it", `If-None-Match: "a", b`, `ETag: "a"`, false},
		{"malformed at the end", `If-None-Match: "a", "`, `ETag: "a"`, false},
		{"only a mark", `If-None-Match: W/`, `ETag: W/`, false},
		{"empty", `If-None-Match:`, `ETag: "a"`, false},
		{"dropped", `-If-None-Match: "a"`, `ETag: "a"`, false},
		{"tag before time", `If-None-Match: "b"|` + since(0), `ETag: "a"|` + modified, false},
		{"malformed tag before time", `If-None-Match: b|` + since(0), `ETag: "a"|` + modified, false},

		{"same time", since(-time.Hour), modified, true},
		{"later", since(0), modified, true},
		{"earlier", since(-time.Hour - time.Second), modified, false},
		{"other form", "If-Modified-Since: " + noon.Format("Monday, 02-Jan-06 15:04:05 GMT"), modified, true},
		{"no date", "If-Modified-Since: yesterday", modified, false},
		{"list of dates", "If-Modified-Since: " + dated(0) + ", " + dated(0), modified, false},
		{"two dates", since(0) + "|" + since(0), modified, false},
		{"by Date", since(0), made, true},
		{"earlier than Date", since(-time.Second), made, false},
		{"by receipt", since(0), "", true},
		{"before receipt", since(-time.Second), "", false},
	} {
		if got := NotModified(heads(0, c.request), heads(200, c.stored), received); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// RFC 9110 §15.4.5.
func TestInNotModified(t *testing.T) {
	h := heads(200, "Date: x|Vary: x|Age: x|Cache-Status: x|Access-Control-Allow-Origin: x|access-control-x: x|"+
		"ETag: x|Last-Modified: x|Cache-Control: x|Expires: x|Content-Location: x|cdn-cache-control: x|"+
		"Set-Cookie: x|Content-Type: x|Content-Encoding: x|X-A: x|Content-Length: x")
	for i := range h.Fields {
		if got := InNotModified(h.Fields[i].ID, h.Name(i)); got != (i < 12) {
			t.Errorf("%s, 304: %v", h.Name(i), got)
		}
		if got := InUnsatisfiable(h.Fields[i].ID, h.Name(i)); got != (i < 6) {
			t.Errorf("%s, 416: %v", h.Name(i), got)
		}
	}
}

// RFC 9110 §14.1.1, §14.1.2, §14.2, §15.5.17, with the first byte of the same range.
func TestRangeOf(t *testing.T) {
	const huge = "99999999999999999999999999"
	for _, c := range []struct {
		request string
		at, n   int64
		part    Part
		first   int64
		begins  bool
	}{
		{"", 0, 100, Whole, 0, true},
		{"-Range: bytes=1-2", 0, 100, Whole, 0, true},
		{"Range: bytes=0-0", 0, 1, Partial, 0, true},
		{"Range: Bytes=10-19", 10, 10, Partial, 10, true},
		{"Range: bytes=10-", 10, 90, Partial, 10, true},
		{"Range: bytes=10-99", 10, 90, Partial, 10, true},
		{"Range: bytes=10-100", 10, 90, Partial, 10, true},
		{"Range: bytes=10-" + huge, 10, 90, Partial, 10, true},
		{"Range: bytes=99-", 99, 1, Partial, 99, true},
		{"Range: bytes=100-", 0, 0, Unsatisfiable, 100, true},
		{"Range: bytes=100-200", 0, 0, Unsatisfiable, 100, true},
		{"Range: bytes=" + huge + "-", 0, 0, Unsatisfiable, positionMax, true},
		{"Range: bytes=-1", 99, 1, Partial, 0, false},
		{"Range: bytes=-100", 0, 100, Partial, 0, false},
		{"Range: bytes=-" + huge, 0, 100, Partial, 0, false},
		{"Range: bytes=-0", 0, 0, Unsatisfiable, 0, false},
		{"Range: bytes=2-1", 0, 100, Whole, 2, false},
		{"Range: bytes=1-2,4-5", 0, 100, Whole, 1, false},
		{"Range: bytes=1-2|Range: bytes=1-2", 0, 100, Whole, 0, false},
		{"Range: lines=1-2", 0, 100, Whole, 0, false},
		{"Range: bytes 1-2", 0, 100, Whole, 0, false},
		{"Range: bytes =1-2", 0, 100, Whole, 0, false},
		{"Range: bytes=", 0, 100, Whole, 0, false},
		{"Range: bytes=-", 0, 100, Whole, 0, false},
		{"Range: bytes=1", 0, 100, Whole, 1, false},
		{"Range: bytes=--1", 0, 100, Whole, 0, false},
		{"Range: bytes=+1-2", 0, 100, Whole, 0, false},
		{"Range: bytes=1-2-3", 0, 100, Whole, 1, false},
		{"Range: bytes=0x1-2", 0, 100, Whole, 0, false},
		{"Range:", 0, 100, Whole, 0, false},
	} {
		h := heads(0, c.request)
		if at, n, part := RangeOf(h, heads(200, ""), 100); at != c.at || n != c.n || part != c.part {
			t.Errorf("%q: %d from %d, %d", c.request, n, at, part)
		}
		if first, ok := FirstByteOf(h); ok != c.begins || ok && first != c.first {
			t.Errorf("%q: the first byte is %d, %v", c.request, first, ok)
		}
		for _, length := range []int64{0, -1} {
			if at, n, part := RangeOf(h, heads(200, ""), length); at != 0 || n != length || part != Whole {
				t.Errorf("%q of %d bytes: %d from %d, %d", c.request, length, n, at, part)
			}
		}
	}
}

// RFC 9110 §13.1.5: strong tags, or a time that is a strong validator (§8.8.2.2).
func TestRangeOf_ifRange(t *testing.T) {
	modified := "Last-Modified: " + dated(-time.Second)
	for _, c := range []struct {
		name, ifRange, stored string
		want                  Part
	}{
		{"tag", `"a"`, `ETag: "a"`, Partial},
		{"another tag", `"b"`, `ETag: "a"`, Whole},
		{"weak", `W/"a"`, `ETag: W/"a"`, Whole},
		{"weak stored", `"a"`, `ETag: W/"a"`, Whole},
		{"no tag stored", `"a"`, ``, Whole},
		{"two tags stored", `"a"`, `ETag: "a"|ETag: "a"`, Whole},
		{"not quoted", `a`, `ETag: a`, Whole},
		{"empty", ``, `ETag: "a"`, Whole},
		{"twice", `"a"|If-Range: "a"`, `ETag: "a"`, Whole},
		{"time", dated(-time.Second), modified + "|Date: " + dated(0), Partial},
		{"time in another form", noon.Add(-time.Second).Format(time.ANSIC), modified + "|Date: " + dated(0), Whole},
		{"later", dated(0), modified + "|Date: " + dated(0), Whole},
		{"in the same second", dated(-time.Second), modified + "|Date: " + dated(-time.Second), Whole},
		{"modified after Date", dated(-time.Second), modified + "|Date: " + dated(-time.Hour), Whole},
		{"no Date", dated(-time.Second), modified, Whole},
		{"old form, in the same second", noon.Format("Monday, 02-Jan-06 15:04:05 GMT"),
			"Last-Modified: " + noon.Format("Monday, 02-Jan-06 15:04:05 GMT") + "|Date: " + dated(0), Whole},
		{"no date", "x", "Last-Modified: x|Date: " + dated(0), Whole},
	} {
		request := heads(0, "Range: bytes=0-0|If-Range: "+c.ifRange)
		if _, _, got := RangeOf(request, heads(200, c.stored), 100); got != c.want {
			t.Errorf("%s: %d", c.name, got)
		}
	}
	if _, _, got := RangeOf(heads(0, `Range: bytes=200-|If-Range: "b"`), heads(200, `ETag: "a"`), 100); got != Whole {
		t.Errorf("a range that cannot be had of another answer: %d", got)
	}
}

// Whatever the fields: a part lies within the body, and the first byte is the same.
func FuzzRangeOf(f *testing.F) {
	f.Add("bytes=0-5", `"a"`, int64(10))
	f.Add("bytes=-5", `W/"a"`, int64(1))
	f.Add("bytes=99999999999999999999-", "", int64(1<<62))
	f.Add("bytes=5-99999999999999999999", "Sun, 06 Nov 1994 08:49:37 GMT", int64(6))
	f.Fuzz(func(t *testing.T, ranges, ifRange string, length int64) {
		if !message.ValidValue(ranges) || !message.ValidValue(ifRange) {
			return
		}
		request := heads(0, "")
		request.Add("Range", ranges)
		if ifRange != "" {
			request.Add("If-Range", ifRange)
		}
		at, n, part := RangeOf(request, heads(200, `ETag: "a"|Last-Modified: `+dated(-time.Hour)+"|Date: "+dated(0)),
			length)
		first, ok := FirstByteOf(request)
		switch {
		case part == Whole && (at != 0 || n != length), part == Unsatisfiable && (at != 0 || n != 0),
			part == Partial && (at < 0 || n < 1 || at > length-n || ok && first != at), first < 0,
			part == Unsatisfiable && ok && first < length:
			t.Fatalf("%q of %d: %d from %d, %d; first %d %v", ranges, length, n, at, part, first, ok)
		}
		NotModified(request, request, received)
	})
}

// RFC 9111 §3.2 and §4.3.4.
func TestRenew(t *testing.T) {
	later := dated(time.Hour)
	for _, c := range []struct{ name, stored, news, want string }{
		{"replaces", "ETag: x|X-A: 1|Cache-Control: max-age=1|X-B: 1", "x-a: 2|Cache-Control: max-age=2",
			"ETag: x|X-B: 1|x-a: 2|Cache-Control: max-age=2"},
		{"all lines", "X-A: 1|X-A: 2|X-A-B: 3", "X-A: 4|X-A: 5", "X-A-B: 3|X-A: 4|X-A: 5"},
		{"adds", "X-A: 1", "X-B: 2", "X-A: 1|X-B: 2"},
		{"dropped ones", "X-A: 1|-X-B: 2", "-X-A: 3", "X-A: 1"},
		{"age", "Age: 60|Date: " + dated(0), "Age: 5|Date: " + later, "Age: 5|Date: " + later},
		{"time of receipt", "Age: 60|Date: " + dated(0), "", ""},
		{"the body's", "Content-Encoding: gzip|Content-Type: text/html", "Content-Encoding: br|Content-Length: 5|" +
			"Content-Range: bytes 0-1/2|Content-Type: text/plain", "Content-Encoding: gzip|Content-Type: text/plain"},
		{"of a hop", "X-A: 1|X-B: 2", "Connection: close, X-A|X-A: 3|Keep-Alive: 1|Proxy-Authenticate: x|TE: x|" +
			"Transfer-Encoding: chunked|Upgrade: x|X-B: 3", "X-A: 1|X-B: 3"},
		{"Set-Cookie", "X-A: 1", "Set-Cookie: a=b", "X-A: 1|Set-Cookie: a=b"}, // which Judge refuses

		{"same tag", `ETag: "a"|X-A: 1`, `ETag: "a"|X-A: 2`, `ETag: "a"|X-A: 2`},
		{"tag in no form", `ETag: a`, `ETag: a`, `ETag: a`},
		{"another tag", `ETag: "a"`, `ETag: "b"`, "no"},
		{"weak of strong", `ETag: "a"`, `ETag: W/"a"`, `ETag: W/"a"`},
		{"strong of weak", `ETag: W/"a"`, `ETag: "a"`, "no"},
		{"both weak", `ETag: W/"a"`, `ETag: W/"a"`, `ETag: W/"a"`},
		{"another weak", `ETag: W/"a"`, `ETag: W/"b"`, "no"},
		{"tags", `ETag: "a"`, `ETag: "a"|ETag: "b"`, "no"},
		{"no tag, a time that is new", `ETag: "a"`, `Last-Modified: ` + later, "no"},
		{"no tag, same time", `ETag: "a"|Last-Modified: ` + later, `Last-Modified: ` + later,
			`ETag: "a"|Last-Modified: ` + later},
		{"no tag, another time", `Last-Modified: ` + dated(0), `Last-Modified: ` + later, "no"},
		{"no tag stored", `Last-Modified: ` + later, `ETag: "a"`, "no"},
		{"no tag stored, same time", `Last-Modified: ` + later, `ETag: "a"|Last-Modified: ` + later,
			`ETag: "a"|Last-Modified: ` + later},
		{"no tag stored, another time", `Last-Modified: ` + dated(0), `ETag: "a"|Last-Modified: ` + later, "no"},
	} {
		stored := heads(200, c.stored)
		before := textOf(stored)
		ok := Renew(stored, heads(304, c.news))
		var lines []string
		for name, value := range stored.All() {
			lines = append(lines, string(name)+": "+string(value))
		}
		got := strings.Join(lines, "|")
		if !ok {
			if got = "no"; textOf(stored) != before {
				t.Errorf("%s: changed all the same: %s", c.name, textOf(stored))
			}
		}
		if got != c.want || stored.Status != 200 {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// What a 304 says is judged as if the answer had come with it.
func TestRenew_isJudged(t *testing.T) {
	for news, want := range map[string]Reason{
		"Cache-Control: max-age=60": ReasonNone, "": ReasonNone, "Cache-Control: no-store": ReasonNoStore,
		"Cache-Control: private": ReasonPrivate, "Set-Cookie: a=b": ReasonSetCookie, "Vary: *": ReasonVary,
	} {
		stored := heads(200, "Cache-Control: max-age=9|ETag: a|Age: 8|Date: "+dated(-time.Hour))
		if a := new(Rules).Judge(heads(0, ""), stored, received, received); a.Fresh.Left(received) > 0 {
			t.Fatal("it is fresh before")
		}
		Renew(stored, heads(304, news))
		if a := new(Rules).Judge(heads(0, ""), stored, received, received); a.Reason != want ||
			want == ReasonNone && a.Fresh.Left(received) <= 0 {
			t.Errorf("%q: %q, left %v", news, a.Reason, a.Fresh.Left(received))
		}
	}
}
