package proxy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

func TestAltSvc_hosts(t *testing.T) {
	for _, c := range []struct{ hosts, told, untold string }{
		{"", "a.example 10.0.0.1 [::1]", ""},
		{"*", "a.example 10.0.0.1 [::1]", ""},
		{"!*", "", "a.example"},
		{"a.example", "a.example", "b.example x.a.example a"},
		{"*.example", "a.example x.a.example", "example aexample a.example.org"},
		{"!a.example", "b.example x.a.example", "a.example"},
		{"!*.example", "example a.org", "a.example x.a.example"},
		{"* !*.example b.example", "a.org b.example example", "a.example x.b.example"},
		{"*.b.example !*.example !c.b.example", "a.b.example x.c.b.example", "b.example a.example c.b.example other"},
		{"!* a.example", "a.example", "b.example"},
		{"a.example !b.example", "a.example", "b.example c.example"},
	} {
		a := proxy.NewAltSvc(443, time.Hour, strings.Fields(c.hosts))
		for host := range strings.FieldsSeq(c.told) {
			if !a.Tells([]byte(host)) {
				t.Errorf("%s: clients of %s are not told", c.hosts, host)
			}
		}
		for host := range strings.FieldsSeq(c.untold) {
			if a.Tells([]byte(host)) {
				t.Errorf("%s: clients of %s are told", c.hosts, host)
			}
		}
	}
	a, long := proxy.NewAltSvc(443, time.Hour, []string{"a.example"}), []byte(strings.Repeat("a.", 120)+"example")
	if allocs := testutil.Allocs(100, func() { a.Tells(long) }); allocs != 0 || a.Tells(nil) {
		t.Errorf("%v allocations", allocs)
	}
}

// Clients of TLS over TCP are told of HTTP/3, by answers of the proxy and of backends, as long as it takes connections.
// The host is the one that the client asked for, whatever the backend is told.
func TestAltSvc_answers(t *testing.T) {
	s := setTunnel(t, stageOptions{route: proxy.Route{Filters: []*proxy.Filter{
		setFields(map[string]string{"Host": "b.example"}, nil),
	}}})
	on := proxy.Listener{AltSvc: proxy.NewAltSvc(8443, 2*time.Hour, []string{"*", "!b.example"})}
	off := proxy.Listener{HSTS: "max-age=1"}
	const field = "\nAlt-Svc: h3=\":8443\"; ma=7200"
	ask := func(l *proxy.Listener, digest *tlsconn.Digest, version message.Proto, host, answer string) string {
		t.Helper()
		scheme := "http"
		if digest != nil {
			scheme = "https"
		}
		h := headOf("GET", scheme, host, "/")
		h.Proto = version
		p := s.play(t, l, digest, h, true)
		up := s.accept()
		up.ReadHead()
		up.Send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n" + answer + "\r\n")
		return p.want(t, "head 200 end")
	}
	for name, c := range map[string]struct {
		on           *proxy.Listener
		digest       *tlsconn.Digest
		version      message.Proto
		host, answer string
		want         bool
	}{
		"HTTP/2":          {&on, overTLS, message.HTTP20, "A.Example:444", "", true},
		"HTTP/1.1":        {&on, overTLS, message.HTTP11, "a.example", "", true},
		"no TLS":          {&on, nil, message.HTTP11, "a.example", "", false},
		"HTTP/3":          {&on, overTLS, message.HTTP30, "a.example", "", false},
		"another host":    {&on, overTLS, message.HTTP20, "B.example.", "", false},
		"its own":         {&on, overTLS, message.HTTP20, "a.example", "Alt-Svc: clear\r\n", false},
		"not on the list": {&off, overTLS, message.HTTP20, "a.example", "", false},
	} {
		got := ask(c.on, c.digest, c.version, c.host, c.answer)
		if strings.Contains(got, field) != c.want || strings.Count(got, "\nAlt-Svc: ") > 1 ||
			c.answer != "" && !strings.Contains(got, "\nAlt-Svc: clear") {
			t.Errorf("%s: %q", name, got)
		}
	}
	h := headOf("GET", "https", "a.example", "/")
	refused := s.play(t, &proxy.Listener{AltSvc: on.AltSvc, StrictSNI: true}, overTLS, h, true)
	if got := <-refused.events; !strings.HasPrefix(got, "head 421") || !strings.Contains(got, field) {
		t.Errorf("an answer of the proxy: %q", got)
	}

	h = headOf("GET", "https", "a.example", "/")
	p := s.play(t, &on, overTLS, h, true)
	up := s.accept()
	up.ReadHead()
	drained := make(chan bool, 1)
	go func() { drained <- s.engine.Drain(testutil.Patience) }()
	testutil.Eventually(t, testutil.Patience, s.engine.Draining)
	up.Send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	if got := p.want(t, "head 200 end"); strings.Contains(got, "Alt-Svc") {
		t.Errorf("while it drains: %q", got)
	}
	<-drained
}
