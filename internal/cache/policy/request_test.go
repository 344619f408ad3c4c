package policy

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/message"
)

func TestDropOverrides(t *testing.T) {
	const kept = "X-Hosts: 1|X-A: 1|Y-Host: 1|Host-X: 1|X-HTTP-Methods: 1|X-Forwarded-Host: 1|X: 1|X-Method: 1"
	const dropped = "X-Host: 1|x_host: 1|X-HTTP-Host-Override: 1|x-http_host-override: 1|X-HTTP-Method: 1|" +
		"X_HTTP_METHOD: 1|" +
		"X-HTTP-Method-Override: 1|x-method-override: 1|X-METHOD_OVERRIDE: 1"
	h := heads(0, kept+"|"+dropped)
	DropOverrides(h, nil)
	for i := range h.Fields {
		if want := i > strings.Count(kept, "|"); h.Fields[i].Dropped() != want {
			t.Errorf("%s: dropped %v", h.Name(i), !want)
		}
	}
	h = heads(0, "X-Host: 1|X-HTTP-Method: 1")
	if DropOverrides(h, []string{"x-a", "x-host"}); h.Fields[0].Dropped() || !h.Fields[1].Dropped() {
		t.Error("a field that is in the key is dropped, or another one is not")
	}
	h = heads(0, "Host: a|-X-A: 1|Cookie: b")
	DropOverrides(h, nil)
	if len(h.Base) == 0 || h.Fields[1].Flags&^message.Dropped != 0 {
		t.Error("changed")
	}
}

// RFC 9111 §4.4 and RFC 9110 §9.2.1. Methods are case-sensitive.
func TestInvalidates(t *testing.T) {
	for method, want := range map[string]bool{
		"GET": false, "HEAD": false, "OPTIONS": false, "TRACE": false, "QUERY": false, "PROPFIND": false,
		"SEARCH": false,
		"REPORT": false, "POST": true, "PUT": true, "DELETE": true, "PATCH": true, "MOVE": true, "get": true,
		"Query": true,
	} {
		request := heads(0, "")
		request.SetMethod(method)
		for status, counts := range map[uint16]bool{
			100: false, 199: false, 200: true, 201: true, 204: true, 303: true, 399: true, 400: false, 404: false,
			500: false,
		} {
			if got := Invalidates(request, heads(status, "")); got != (want && counts) {
				t.Errorf("%s %d: %v", method, status, got)
			}
		}
	}
}

// RFC 3986 §5.4, and what is of another origin or no target.
func TestAppendReference(t *testing.T) {
	for _, c := range []struct{ reference, want string }{
		{"g:h", "no"}, {"g", "/b/c/g"}, {"./g", "/b/c/g"}, {"g/", "/b/c/g/"}, {"/g", "/g"}, {"//g", "no"},
		{"?y", "/b/c/d;p?y"}, {"g?y", "/b/c/g?y"}, {"#s", "/b/c/d;p?q"}, {"g#s", "/b/c/g"}, {"g?y#s", "/b/c/g?y"},
		{";x", "/b/c/;x"}, {"g;x", "/b/c/g;x"}, {"g;x?y#s", "/b/c/g;x?y"}, {"", "/b/c/d;p?q"}, {".", "/b/c/"},
		{"./", "/b/c/"}, {"..", "/b/"}, {"../", "/b/"}, {"../g", "/b/g"}, {"../..", "/"}, {"../../g", "/g"},
		{"../../../g", "/g"}, {"../../../../g", "/g"}, {"/./g", "/g"}, {"/../g", "/g"}, {"g.", "/b/c/g."}, {".g",
			"/b/c/.g"},
		{"g..", "/b/c/g.."}, {"..g", "/b/c/..g"}, {"./../g", "/b/g"}, {"./g/.", "/b/c/g/"}, {"g/./h", "/b/c/g/h"},
		{"g/../h", "/b/c/h"}, {"g;x=1/../y", "/b/c/y"}, {"g?y/../x", "/b/c/g?y/../x"}, {"g#s/../x", "/b/c/g"},
		{"http:g", "no"},

		{"http://a/g?x", "/g?x"}, {"HTTP://A:80/g", "/g"}, {"http://a:/g", "/g"}, {"http://a", "/"}, {"http://a?x",
			"/?x"},
		{"http://a#x", "/"}, {"//a/g", "/g"}, {"http://a/g/../h?", "/h?"}, {"http://a//g", "//g"},
		{"https://a/g", "no"}, {"http://a:81/g", "no"}, {"http://b/g", "no"}, {"http://a.b/g", "no"}, {"http:///g",
			"no"},
		{"http://x@a/g", "no"}, {"http://a:x/g", "no"}, {"http://a\\b/g", "no"}, {"mailto:a", "no"}, {"1:g", "no"},
		{"/%2e%2E/g", "/%2e%2E/g"}, {"/a%2fb", "/a%2fb"}, {"/%zz", "/%zz"}, {"/a b", "no"}, {"/\u00e4", "no"},
		{"?\u00e4", "no"}, {"/a\tb", "no"},
	} {
		got, ok := AppendReference([]byte("x"), []byte(c.reference), []byte("http"), []byte("a"), []byte("/b/c/d;p?q"))
		text := strings.TrimPrefix(string(got), "x")
		if !ok {
			text += "no"
		}
		if text != c.want {
			t.Errorf("%q: %q, want %q", c.reference, text, c.want)
		}
	}
	for _, c := range []struct{ reference, scheme, authority, target, want string }{
		{"https://[::1]:443/g", "https", "[::1]", "/", "/g"},
		{"g", "https", "a:8443", "//x//y", "//x//g"},
		{"https://a:8443/g", "https", "A:8443", "/", "/g"},
		{"https://a/g", "https", "a:8443", "/", "no"},
		{"g", "http", "a", "*", "no"},
		{"/g", "http", "a", "*", "/g"},
		{"", "http", "a", "*", "no"},
		{"?x", "http", "a", "*", "no"},
		{"//a/g", "http", "", "/", "no"},
		{"?x", "http", "a", "/b/../c?d", "/b/../c?x"}, // RFC 3986 §5.2.2: T.path = Base.path
	} {
		got, ok := AppendReference(nil, []byte(c.reference), []byte(c.scheme), []byte(c.authority), []byte(c.target))
		if text := string(got); ok && text != c.want || !ok && c.want != "no" {
			t.Errorf("%+v: %q", c, text)
		}
	}
}

// What is appended is a target, and means itself.
func FuzzAppendReference(f *testing.F) {
	for _, s := range []string{"../../g?x#y", "http://a:80//g/./h", "//a", "g:h", "/%2e/\u00e4 b", "?", "a//..",
		"/..//", "\\"} {
		f.Add(s, "/b/c;d?e")
		f.Add(s, "//")
	}
	f.Fuzz(func(t *testing.T, reference, target string) {
		if !message.ValidValue(reference) || !message.ValidTarget([]byte(target)) {
			return
		}
		scheme, authority := []byte("http"), []byte("a")
		got, ok := AppendReference([]byte("x"), []byte(reference), scheme, authority, []byte(target))
		if !ok {
			if string(got) != "x" {
				t.Fatalf("%q: appends %q", reference, got)
			}
			return
		}
		got = got[1:]
		if !message.ValidTarget(got) || got[0] != '/' {
			t.Fatalf("%q to %q: %q", reference, target, got)
		}
		again, ok := AppendReference(nil, append([]byte("http://a"), got...), scheme, authority, []byte(target))
		if reference != "" && reference[0] == '/' && (!ok || string(again) != string(got)) {
			t.Fatalf("%q to %q: %q, and that is %q", reference, target, got, again)
		}
	})
}
