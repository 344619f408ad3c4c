package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	wanted "github.com/edge-proxy/edge/internal/config/acme"
	"github.com/edge-proxy/edge/internal/discovery/dns"
	"github.com/edge-proxy/edge/internal/l4/proxyproto"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/testutil/dnsserver"
	"github.com/edge-proxy/edge/internal/tls/certs/issue/acme"
)

// script writes a program of the shell.
func script(t *testing.T, format string, args ...any) hook {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	testutil.WriteProgram(t, path, fmt.Appendf([]byte("#!/bin/sh\n"), format, args...))
	return hook(path)
}

var aRecord = plugin.DNSRecord{Zone: "example.org.", Name: "_acme-challenge.www.example.org.", Text: "a-text"}

// A program has the record by its arguments and its environment.
func TestHook_arguments(t *testing.T) {
	t.Setenv("EDGE_TEST_TOKEN", "secret")
	to := filepath.Join(t.TempDir(), "said")
	p := script(t, `echo "$# $1 $2 $3 $EDGE_ACME_ACTION $EDGE_ACME_ZONE" \
"$EDGE_ACME_NAME $EDGE_ACME_VALUE $EDGE_TEST_TOKEN" >>%s`, to)
	testutil.Must(t, errors.Join(p.Present(t.Context(), aRecord), p.CleanUp(t.Context(), aRecord)))
	text, err := os.ReadFile(to)
	var want string
	for _, action := range []string{"present", "cleanup"} {
		want += "3 " + action + " _acme-challenge.www.example.org. a-text " + action + " example.org. " +
			"_acme-challenge.www.example.org. a-text secret\n"
	}
	if err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
}

// What goes wrong is told with the end of the output, on one line.
func TestHook_fails(t *testing.T) {
	p := script(t, "yes beginning | head -c 100000; printf 'no \\033[1mzone\\n of this name\\n' >&2; exit 3")
	err := p.Present(t.Context(), aRecord)
	if err == nil || !strings.HasPrefix(err.Error(), string(p)+" present: exit status 3: ") ||
		!strings.HasSuffix(err.Error(), `no \x1b[1mzone\n of this name`) || len(err.Error()) > 500 {
		t.Errorf("%v", err)
	}
	if err := hook("/none").CleanUp(t.Context(), aRecord); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// A program that hangs is ended, with what it has started.
func TestHook_hangs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	p := script(t, "echo waiting; sleep 1000 & echo $! >%s.new; mv %s.new %s; wait", file, file, file)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.Present(ctx, aRecord) }()
	var text []byte
	testutil.Eventually(t, testutil.Patience, func() (found bool) {
		var err error
		text, err = os.ReadFile(file)
		return err == nil
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || !strings.HasSuffix(err.Error(), ": waiting") {
		t.Errorf("%v", err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	testutil.Must(t, err)
	testutil.Eventually(t, testutil.Patience, func() bool { // or a zombie that nobody has waited for yet
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		return err != nil || strings.Contains(string(state), ") Z ")
	})
}

// providing is a DNS provider of a test: it keeps records in the server of the zone.
type providing struct {
	server *dnsserver.Server
	fail   string
	calls  *[]string
}

func (p *providing) Present(_ context.Context, r plugin.DNSRecord) error {
	*p.calls = append(*p.calls, "present "+r.Name+" in "+r.Zone)
	p.server.Answer(r.Name, "TXT 1 "+r.Text)
	switch p.fail {
	case "panic":
		panic("it must not")
	case "error":
		return errors.New("the key is wrong")
	}
	return nil
}

func (p *providing) CleanUp(ctx context.Context, r plugin.DNSRecord) error {
	*p.calls = append(*p.calls, "cleanup "+r.Name)
	p.server.Forget(r.Name)
	return ctx.Err()
}

// newZones returns the zones of a provider whose zone example.org has two servers.
func newZones(t *testing.T, p *providing) (z *zones, other *dnsserver.Server) {
	p.server, other, p.calls = dnsserver.New(), dnsserver.New(), new([]string)
	p.server.Answer("example.org.", "SOA 60", "NS 60 ns1.example.net.", "NS 60 ns2.example.net.")
	other.Answer("example.org.", "SOA 60")
	p.server.Answer("ns1.example.net.", "A 60 192.0.2.1")
	p.server.Answer("ns2.example.net.", "A 60 192.0.2.2")
	none := filepath.Join(t.TempDir(), "none")
	exchange := func(ctx context.Context, network string, server netip.AddrPort, query []byte,
		fits func([]byte) bool) ([]byte, error) {
		if server.Addr() == netip.MustParseAddr("192.0.2.2") {
			return other.Exchange(ctx, network, server, query, fits)
		}
		return p.server.Exchange(ctx, network, server, query, fits)
	}
	return &zones{p, dns.New(dns.Options{ResolvConf: none, Hosts: none, Exchange: exchange})}, other
}

const proofName = "_acme-challenge.www.example.org"

// What may have been written is removed when a provider fails.
func TestZones_providerFails(t *testing.T) {
	for fail, want := range map[string]string{"panic": "panic: it must not", "error": "the key is wrong"} {
		p := &providing{fail: fail}
		z, _ := newZones(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		r, err := z.Present(ctx, proofName, "a-text")
		if r != nil || err == nil || err.Error() != "record "+proofName+".: "+want {
			t.Errorf("%v", err)
		}
		want := []string{"present " + proofName + ". in example.org.", "cleanup " + proofName + "."}
		if !slices.Equal(*p.calls, want) {
			t.Errorf("%q", *p.calls)
		}
		cancel()
	}
	p := &providing{}
	z, _ := newZones(t, p)
	p.server.Fail("", dnsserver.ServFail)
	if _, err := z.Present(t.Context(), proofName, "a-text"); err == nil || len(*p.calls) > 0 {
		t.Errorf("%v, %q", err, *p.calls)
	}
}

// A proof waits for the slowest server of the zone, three minutes at most, and for none where none answers.
func TestRecord_waits(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		p := &providing{}
		z, other := newZones(t, p)
		r, err := z.Present(t.Context(), proofName, "a-text")
		testutil.Must(t, err)
		begun := time.Now()
		time.AfterFunc(30*time.Second, func() { other.Answer(proofName+".", "TXT 1 a-text") })
		if err := r.Wait(t.Context()); err != nil || time.Since(begun) < 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		other.Forget(proofName + ".")
		begun = time.Now()
		err = r.Wait(t.Context())
		const want = "ns2.example.net. (192.0.2.2:53) has no record " + proofName + ". yet"
		if time.Since(begun) != recordMax || !errors.Is(err, context.DeadlineExceeded) ||
			!strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		for _, s := range []*dnsserver.Server{p.server, other} { // silence is no record
			time.AfterFunc(9*time.Second, func() { s.Fail("", dnsserver.Refused) })
			time.AfterFunc(40*time.Second, func() { s.Fail("", dnsserver.None) })
		}
		time.AfterFunc(50*time.Second, func() { other.Answer(proofName+".", "TXT 1 a-text") })
		begun = time.Now()
		if err := r.Wait(t.Context()); err != nil || time.Since(begun) < 50*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		p.server.Fail("", dnsserver.Refused)
		other.Fail("", dnsserver.Refused)
		begun = time.Now()
		if err := r.Wait(t.Context()); err != nil || time.Since(begun) > 0 {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Wait(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		r.Remove(t.Context())
		if lines := *p.calls; lines[len(lines)-1] != "cleanup "+proofName+"." {
			t.Errorf("%q", lines)
		}
	})
}

// dnsConfig is the configuration of a type of DNS providers.
type dnsConfig struct {
	Token plugin.Text `edge:"token" doc:"Is a secret." required:"true" example:"abc"`
}

// madeDNS are how often providers were made for each token.
var madeDNS = make(map[plugin.Text]int)

func init() {
	plugin.Register(plugin.DNSProviders, "test_dns", "Writes records.",
		func(c *dnsConfig, b *plugin.Build) (plugin.DNSProvider, error) {
			if madeDNS[c.Token]++; c.Token == "wrong" {
				return nil, errors.New("it does not want to")
			}
			return &providing{}, nil
		})
}

// The DNS provider that [acme] names is of the type that a module has registered. One whose keys stay lives on over a
// reload.
func TestPlugins_dnsProviders(t *testing.T) {
	text := quiet + secured(t, testutil.NewAuthority(t), t.TempDir()) + `
[acme]
ca = "https://127.0.0.1:1/dir"
hosts = "a.example.org"
storage = ` + strconv.Quote(t.TempDir()) + `
dns = "zone"
[dns_providers.zone]
type = "test_dns"
token = "one"
` + all200
	clear(madeDNS)
	s := serve(t, parse(t, text), Options{})
	for _, token := range []string{"one", "one", "two"} {
		mustApply(t, s, parse(t, strings.Replace(text, `"one"`, strconv.Quote(token), 1)))
	}
	wantRefused(t, s, parse(t, strings.Replace(text, `"one"`, `"wrong"`, 1)),
		`DNS provider "zone": it does not want to`)
	if want := map[plugin.Text]int{"one": 1, "two": 1, "wrong": 1}; !maps.Equal(madeDNS, want) {
		t.Errorf("%v", madeDNS)
	}
}

// The service of the operator is asked once in five minutes for a name. Only 2xx is yes, redirects are not followed,
// and an answer that does not come is none.
func TestAsker(t *testing.T) {
	var mu sync.Mutex
	var queries []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		queries = append(queries, r.URL.RequestURI())
		mu.Unlock()
		switch r.URL.Query().Get("domain") {
		case "no.test":
			w.WriteHeader(http.StatusNotFound)
		case "moved.test":
			http.Redirect(w, r, "/?domain=yes.test", http.StatusFound)
		case "dead.test":
			panic(http.ErrAbortHandler)
		case "made.test":
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	d := demandOf(&wanted.ACME{Ask: s.URL + "/may?key=a+b", Rate: plugin.Rate{Count: 6, Per: time.Minute}})
	if d.Every != 10*time.Second || d.Burst != 6 {
		t.Errorf("%+v", d)
	}
	for name, want := range map[string]bool{
		"yes.test": true, "made.test": true, "no.test": false, "moved.test": false, "dead.test": false,
	} {
		for range 2 {
			allowed, err := d.Allow(t.Context(), name)
			tells := err != nil && strings.Contains(err.Error(), "key")
			if allowed != want || (err != nil) != (name == "dead.test") || tells {
				t.Errorf("%s: %t, %v", name, allowed, err)
			}
		}
	}
	s.Close()
	if len(queries) != 6 || !slices.Contains(queries, "/may?domain=yes.test&key=a+b") {
		t.Errorf("%q", queries)
	}
	if demandOf(&wanted.ACME{}) != nil {
		t.Error("certificates on demand without on_demand")
	}
}

// answering is a transport that answers a second later.
type answering struct{ asked int }

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.asked++
	select {
	case <-time.After(time.Second):
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// Answers are kept for five minutes, and a bounded number of them.
func TestAsker_keeps(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		over := &answering{}
		a := &asker{url: "http://a.test", known: make(map[string]askedAnswer), client: &http.Client{Transport: over}}
		for _, pause := range []time.Duration{0, 4 * time.Minute, 2 * time.Minute} {
			<-time.After(pause)
			if allowed, err := a.allow(t.Context(), "a.test"); !allowed || err != nil {
				t.Errorf("%t, %v", allowed, err)
			}
		}
		if over.asked != 2 {
			t.Errorf("asked %d times", over.asked)
		}
		for i := range askedMost {
			a.known[string(rune(i))] = askedAnswer{}
		}
		if _, err := a.allow(t.Context(), "b.test"); err != nil || len(a.known) != 1 {
			t.Errorf("%d answers are kept, %v", len(a.known), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.allow(ctx, "c.test"); err == nil || len(a.known) != 1 || a.logged.last.Load() != 0 {
			t.Errorf("%d answers are kept, %v, told at %d", len(a.known), err, a.logged.last.Load())
		}
		var log bytes.Buffer
		logger := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
		defer slog.SetDefault(logger)
		a.client.Timeout = time.Millisecond
		for range 3 {
			a.allow(t.Context(), "c.test")
			<-time.After(25 * time.Second)
		}
		if n := strings.Count(log.String(), "on_demand.ask does not answer"); n != 1 {
			t.Errorf("told %d times:\n%s", n, &log)
		}
	})
}

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
			testutil.Must(t, err)
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
