package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/certs/issue/acme"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/plugin"
	"github.com/edge-proxy/edge/proxyproto"
)

// A rehearsal makes the DNS provider of a module, opens no port for proofs by DNS, and asks the directory that is named
// or a staging authority alone.
func TestRehearse(t *testing.T) {
	text := quiet + secured(t, testutil.NewAuthority(t), t.TempDir()) + `
[acme]
ca = "https://127.0.0.1:1/production"
hosts = ["a.example.org", "*.a.example.org"]
storage = ` + strconv.Quote(t.TempDir()) + `
dns = "zone"
[dns_providers.zone]
type = "test_dns"
token = "one"
` + all200
	for _, c := range []struct {
		of, directory, want string
		made                map[plugin.Text]int
	}{
		{text, "https://127.0.0.1:1/staging", "https://127.0.0.1:1/staging", map[plugin.Text]int{"one": 1}},
		{text, "http://127.0.0.1:1/staging", "not the https URL", map[plugin.Text]int{"one": 1}},
		{text, "", "no authority of ca has a staging authority", map[plugin.Text]int{}},
		{strings.Replace(text, "/production", "/own-staging", 1), "", "no authority of ca has a staging authority",
			map[plugin.Text]int{}},
		{strings.Replace(text, `"one"`, `"wrong"`, 1), "https://127.0.0.1:1/staging", "it does not want to",
			map[plugin.Text]int{"wrong": 1}},
	} {
		clear(madeDNS)
		r := Rehearse(t.Context(), parse(t, c.of), c.directory)
		if len(r.Names) != 2 || len(r.Doubts) != 0 || r.Err == nil || !strings.Contains(r.Err.Error(), c.want) ||
			strings.Contains(r.Err.Error(), "production") || !maps.Equal(madeDNS, c.made) {
			t.Errorf("%s: %+v, %v", c.directory, r, madeDNS)
		}
	}
	if r := Rehearse(t.Context(), parse(t, quiet+all200), ""); r != nil {
		t.Errorf("%+v where nothing is ordered", r)
	}
}

// A rehearsal tries as many names as any authority takes in one certificate.
func TestRehearse_many(t *testing.T) {
	hosts := make([]string, 0, 40)
	for i := range cap(hosts) {
		hosts = append(hosts, strconv.Quote("h"+strconv.Itoa(i)+".example.org"))
	}
	text := quiet + secured(t, testutil.NewAuthority(t), t.TempDir()) + "[acme]\nhttp_port = 1\nhttps_port = 1\n" +
		"storage = " + strconv.Quote(t.TempDir()) + "\nhosts = [" + strings.Join(hosts, ", ") + "]\n" + all200
	r := Rehearse(t.Context(), parse(t, text), "")
	if len(r.Names) != rehearsedMost || r.Left != cap(hosts)-rehearsedMost || r.Err == nil {
		t.Errorf("%+v", r)
	}
}

// Names that are below a star of another certificate are in none with it: Let's Encrypt refuses such an order.
func TestRehearse_belowStar(t *testing.T) {
	text := quiet + secured(t, testutil.NewAuthority(t), t.TempDir()) + `
[acme]
hosts = ["*.a.org", "b.org", "w.b.org"]
dns = "/bin/false"
storage = ` + strconv.Quote(t.TempDir()) + `
[[certificates]]
cert = "acme"
hosts = ["w.a.org", "c.org"]
[[certificates]]
cert = "acme"
hosts = ["*.d.org", "w.d.org"] # it does not get this one either
` + all200
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := Rehearse(ctx, parse(t, text), "")
	slices.Sort(r.Names)
	if got := strings.Join(r.Names, " "); got != "*.a.org *.d.org b.org c.org w.b.org w.d.org" || r.Left != 1 {
		t.Errorf("%s, %d left", got, r.Left)
	}
}

// An address beside all addresses of its port, which edge serves, is no trouble.
func TestRehearse_overlap(t *testing.T) {
	port := netip.MustParseAddrPort(testutil.FreeAddr(t)).Port()
	text := fmt.Sprintf("%s[[listeners]]\nlisten = \"127.0.0.1:%d\"\n[[listeners]]\nlisten = \":%[2]d\"\n[acme]\n"+
		"http_port = %[2]d\nchallenge = \"http-01\"\nstorage = %q\nhosts = \"a.example.org\"\n"+
		"resolver = \"127.0.0.1:1\"\n%s", quiet, port, t.TempDir(), all200)
	r := Rehearse(t.Context(), parse(t, text), "https://127.0.0.1:1/staging")
	if len(r.Doubts) != 1 || !strings.Contains(r.Doubts[0], "has no address") {
		t.Errorf("%q, %v", r.Doubts, r.Err)
	}
}

// Where a balancer writes headers of the PROXY protocol, proofs are answered after them.
func TestRehearsal_proxyProtocol(t *testing.T) {
	client, here := netip.MustParseAddrPort("192.0.2.9:5"), netip.MustParseAddrPort("192.0.2.1:80")
	r := &rehearsal{}
	defer r.close()
	r.challenges.PresentToken("token", "token.proof")
	proof := clientPair(t, testutil.NewAuthority(t), nil)
	r.challenges.PresentCertificate("a.org", &proof)
	for kind, ask := range map[string]func(c net.Conn) error{
		acme.HTTP01: func(c net.Conn) error {
			io.WriteString(c, "GET /.well-known/acme-challenge/token HTTP/1.0\r\n\r\n")
			if text, err := io.ReadAll(c); !strings.HasSuffix(string(text), "\r\n\r\ntoken.proof") {
				return fmt.Errorf("%q, %v", text, err)
			}
			return nil
		},
		acme.TLSALPN01: func(c net.Conn) error {
			return tls.Client(c, &tls.Config{ServerName: "a.org", NextProtos: []string{acmeTLS},
				InsecureSkipVerify: true}).Handshake()
		},
	} {
		to := netip.MustParseAddrPort(testutil.FreeAddr(t))
		r.listen(kind, &config.Address{Network: "tcp4", Host: to.Addr().String(), Port: int(to.Port())})
		for _, header := range [][]byte{nil, proxyproto.AppendV1(nil, client, here),
			proxyproto.AppendV2(nil, client, here)} {
			c, err := net.Dial("tcp", to.String())
			try(t, err)
			c.SetDeadline(time.Now().Add(testutil.Patience))
			for _, one := range header {
				c.Write([]byte{one}) // a balancer may write it in pieces
			}
			if err := ask(c); err != nil {
				t.Errorf("%s after %q: %v", kind, header, err)
			}
			c.Close()
		}
	}
}
