package admin

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestParseFilter(t *testing.T) {
	c := &Connection{ID: "1-2-3", Listener: "web", Client: "10.0.0.1:99", Reactor: 1, Protocol: "h2", State: "idle",
		TLS: "TLS 1.3", Host: "a.example", Requests: 10, Streams: 2, Queued: 0,
		Backend: "10.0.0.7:1", BytesIn: 6, Age: Duration(time.Minute)}
	for text, want := range map[string]bool{
		"": true, "  ": true, `host=="a.example"`: true, `host == 'a.example'`: true, "host==a.example": true,
		`host != "a.example"`: false, `host ~ "example"`: true, "client ~ 10.0.0.": true, "tls ~ 1.2": false,
		"requests > 9 && requests <= 10": true, "requests<10": false, "requests >= 10&&queued==0": true,
		"reactor != 1": false, "protocol == h2 && state == active": false, `tls == "TLS 1.3" && streams == 2`: true,
		`host == ""`: false, "backend == 10.0.0.7:1 && bytes_in > 5": true, "bytes_out == 0 && age > 59": true,
		"idle > 1": false,
	} {
		keep, err := ParseFilter(text)
		if err != nil || keep(c) != want {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"x == 1": `no field "x"`, "host": "is followed by one of", "host = a": "is followed by", "host <= a": "is text",
		"requests ~ 1": "is a number", "requests == many": "is a number", "host ==": "a value is missing",
		`host == "a`: "has no end", "host == a && ": "&&", "host == a || host == b": "&&",
		"host == && b": "value is missing",
		"== a":         `no field ""`, "host == a host == b": "&&", strings.Repeat("x", filterMost+1): "bytes at most",
	} {
		if _, err := ParseFilter(text); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// Whatever a filter is, it is refused or it judges; parts of it judge as the whole does.
func FuzzParseFilter(f *testing.F) {
	for _, text := range []string{
		"host==\"x\"", "requests > 1 && host ~ 'a'", "queued<=1e3", "id != -", "&&", "host==\xff",
	} {
		f.Add(text, "x")
	}
	f.Fuzz(func(t *testing.T, text, host string) {
		keep, err := ParseFilter(text)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		c := &Connection{Host: host, Requests: 3}
		both, err := ParseFilter(text + " && requests == 3")
		if strings.TrimSpace(text) == "" {
			return
		}
		if err != nil && len(text) < filterMost-20 || err == nil && both(c) != keep(c) {
			t.Fatalf("%q and one more: %v", text, err)
		}
		none, err := ParseFilter(text + " && requests == 4")
		if err == nil && none(c) {
			t.Fatalf("%q and what is false holds", text)
		}
	})
}

// A host that passes is one that a URL may have, and that no other party reads as something else.
func FuzzHostOf(f *testing.F) {
	for _, host := range []string{"localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:9", "[::1", "a.b.", "evil.example:x",
		"localhost@evil", "127.0.0.1.evil.example", "::1", "localhost:80:80", "[127.0.0.1]", "0x7f.1", "a/b", ""} {
		f.Add(host)
	}
	p := &policy{names: []string{"edge.test"}}
	f.Fuzz(func(t *testing.T, field string) {
		host := hostOf(field)
		if !p.knows(host, false) {
			return
		}
		u, err := url.Parse("http://" + field + "/")
		if err != nil {
			t.Fatalf("%q is known as %q, and is no host: %v", field, host, err)
		}
		name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
		_, failed := netip.ParseAddr(name)
		if u.User != nil || name != host || failed != nil && name != "localhost" && name != "edge.test" {
			t.Fatalf("%q is known as %q, and a URL has %q", field, host, name)
		}
		r := &http.Request{Host: field, Header: http.Header{}}
		if err := p.guard(&surface{section: "admin"}, r); err != nil {
			t.Fatalf("%q: %v", field, err)
		}
	})
}
