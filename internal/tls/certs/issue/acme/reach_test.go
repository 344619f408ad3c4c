package acme

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
)

// reached starts a server at a loopback address, and returns where it is.
func reached(t *testing.T, ip string, secure *tls.Config, h http.Handler) netip.AddrPort {
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Skip(err) // no IPv6
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return at
}

// A host leads here where an answer is the proof of this process, by each kind, for names and addresses. Nothing else
// counts, and no proof is left.
func TestReach(t *testing.T) {
	var in, other issue.Challenges
	answers := func(w http.ResponseWriter, r *http.Request) {
		body, _ := in.Answer([]byte(r.URL.Path))
		io.WriteString(w, body)
	}
	handshakes := func(of *issue.Challenges) *tls.Config {
		return &tls.Config{NextProtos: []string{"acme-tls/1"},
			GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				return of.Certificate(hello.ServerName), nil
			}}
	}
	remove, err := answer(&other, &acme.Challenge{Type: TLSALPN01,
		Identifier: acme.Identifier{Type: "dns", Value: "www.test"}})
	testutil.Must(t, err)
	defer remove()
	for name, c := range map[string]struct {
		kind, host, ip string
		secure         *tls.Config
		answers        http.HandlerFunc
		want           string // in the error; "": there is none
	}{
		"request":             {HTTP01, "www.test", "127.0.0.1", nil, answers, ""},
		"request, IPv6":       {HTTP01, "::1", "::1", nil, answers, ""},
		"handshake":           {TLSALPN01, "www.test", "127.0.0.1", handshakes(&in), answers, ""},
		"handshake, IPv6":     {TLSALPN01, "::1", "::1", handshakes(&in), answers, ""},
		"redirect":            {HTTP01, "www.test", "127.0.0.1", nil, http.RedirectHandler("/", 301).ServeHTTP, "301"},
		"other certificate":   {TLSALPN01, "www.test", "127.0.0.1", handshakes(&other), answers, "another program"},
		"no certificate":      {TLSALPN01, "a.test", "127.0.0.1", handshakes(&other), answers, "tls:"},
		"TLS where none":      {HTTP01, "www.test", "127.0.0.1", handshakes(&in), answers, "answers: 400"},
		"none where TLS":      {TLSALPN01, "www.test", "127.0.0.1", nil, answers, "handshake"},
		"name of the program": {HTTP01, "www.test", "127.0.0.1", nil, named("a\u202eb"), "answers: a\\u202eb"},
		"endless answer":      {HTTP01, "www.test", "127.0.0.1", nil, endless, "another program answers"},
		"open connection":     {HTTP01, "www.test", "127.0.0.1", nil, switches, "answers: 101"},
		"long header":         {HTTP01, "www.test", "127.0.0.1", nil, named(strings.Repeat("a", 1<<20)), "exceeded"},
		"host, as asked for":  {HTTP01, "www.test", "127.0.0.1", nil, hostOf, "answers: www.test\n"},
		"address, IPv6":       {HTTP01, "::1", "::1", nil, hostOf, "answers: [::1]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), testutil.Patience)
			defer cancel()
			err := Reach(ctx, &in, c.kind, c.host, reached(t, c.ip, c.secure, c.answers))
			if text := fmt.Sprintln(err); c.want == "" && err != nil || !strings.Contains(text, c.want) {
				t.Errorf("%s want %q", text, c.want)
			}
			if ctx.Err() != nil {
				t.Error("it does not end by itself")
			}
		})
	}
	if err := Reach(t.Context(), &in, HTTP01, "www.test", netip.MustParseAddrPort(testutil.FreeAddr(t))); err == nil {
		t.Error("where nobody listens")
	}
	if in.Certificate("www.test") != nil {
		t.Error("a proof is left")
	}
}

// While an authority may ask for the proof of an order in handshakes, a look at the name does not take its place.
func TestReach_duringOrder(t *testing.T) {
	var in issue.Challenges
	proof := acme.Challenge{Type: TLSALPN01, Identifier: acme.Identifier{Type: "dns", Value: "www.test"}}
	remove, err := answer(&in, &proof)
	testutil.Must(t, err)
	defer remove()
	ordered := in.Certificate("www.test")
	presented := make(chan *tls.Certificate, 1)
	at := reached(t, "127.0.0.1", &tls.Config{NextProtos: []string{"acme-tls/1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			presented <- in.Certificate(hello.ServerName)
			return in.Certificate(hello.ServerName), nil
		}}, nil)
	if err := Reach(t.Context(), &in, TLSALPN01, "www.test", at); err != nil || <-presented != ordered {
		t.Errorf("%v, or another proof was presented", err)
	}
	if in.Certificate("www.test") != ordered {
		t.Error("the proof of the order is gone")
	}
}

func named(server string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Server", server) }
}

func hostOf(w http.ResponseWriter, r *http.Request) { w.Header().Set("Server", r.Host) }

// switches leaves its connection open after an answer that has the protocol changed.
func switches(w http.ResponseWriter, _ *http.Request) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: any\r\n\r\n")
	c.SetReadDeadline(time.Now().Add(2 * testutil.Patience))
	io.Copy(io.Discard, c)
}

func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := w.Write(bytes.Repeat([]byte("a"), reachBytes)); err != nil {
			return
		}
	}
}
