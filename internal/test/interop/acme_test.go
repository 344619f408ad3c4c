package interop

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	acmeclient "github.com/mholt/acmez/v3/acme"
	"github.com/miekg/dns"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
	"github.com/edge-proxy/edge/internal/tls/certs/issue/acme"
)

// pebble is the authority of Let's Encrypt for tests, in this process, with listeners where it looks for proofs.
type pebble struct {
	*httptest.Server
	challenges issue.Challenges
	served     bool         // another server has the proofs
	plain      net.Listener // for proofs, where p answers
	httpPort   int          // where it looks
	tlsPort    int
	names      string // the DNS server that it asks
	handler    atomic.Pointer[http.Handler]
	before     func(w http.ResponseWriter, r *http.Request) (done bool) // sees each request first; may be nil

	finished atomic.Int32 // orders that have a certificate
	asked    atomic.Int32 // requests

	mu       sync.Mutex
	accounts int      // that were made. guarded by mu
	tokens   []string // of proofs that were wanted. guarded by mu
	orders   []string // payloads. guarded by mu
}

// pebbleOptions are what an authority wants.
type pebbleOptions struct {
	badNonces string // per cent
	eab       map[string]string
	profiles  map[string]ca.Profile
	http, tls string // addresses of another server, where proofs are; empty: p answers
	names     string // the address of a DNS server; empty: a server that knows all names
	secure    *tls.Config

	before func(w http.ResponseWriter, r *http.Request) (done bool) // of pebble
}

func newPebble(t *testing.T, o pebbleOptions) *pebble {
	t.Helper()
	p := &pebble{names: serveNames(t, "127.0.0.1"), before: o.before}
	if p.served = o.http != ""; p.served {
		p.names = serveNames(t, strings.Split(o.http, ":")[0])
		p.httpPort, p.tlsPort = portOf(t, o.http), portOf(t, o.tls)
	} else {
		p.answer(t)
	}
	if o.names != "" {
		p.names = o.names
	}
	p.restart(t, o)
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	p.Config.ErrorLog, p.TLS = log.New(io.Discard, "", 0), o.secure
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

func portOf(t *testing.T, address string) int {
	at, err := netip.ParseAddrPort(address)
	testutil.Must(t, err)
	return int(at.Port())
}

// answer answers with the challenges of p.
func (p *pebble) answer(t *testing.T) {
	onHTTP, onTLS := testutil.Listen(t), testutil.Listen(t)
	p.plain = onHTTP
	p.httpPort, p.tlsPort = portOf(t, onHTTP.Addr().String()), portOf(t, onTLS.Addr().String())
	answers := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, found := p.challenges.Answer([]byte(r.URL.Path)); found {
			io.WriteString(w, body)
			return
		}
		http.NotFound(w, r)
	})
	plain := &http.Server{Handler: answers}
	secure := &http.Server{ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{
		NextProtos: []string{"acme-tls/1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := p.challenges.Certificate(hello.ServerName); c != nil {
				return c, nil
			}
			return nil, errors.New("no proof of that name")
		},
	}, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){
		"acme-tls/1": func(_ *http.Server, c *tls.Conn, _ http.Handler) { c.Close() },
	}}
	go plain.Serve(onHTTP)
	go secure.ServeTLS(onTLS, "", "")
	t.Cleanup(func() { plain.Close(); secure.Close() })
}

// serveNames has a DNS server that knows all names, at an address.
func serveNames(t *testing.T, ip string) (address string) {
	l := testutil.Listen(t)
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg)
		if a.SetReply(q); q.Question[0].Qtype == dns.TypeA {
			a.Answer = append(a.Answer, &dns.A{A: net.ParseIP(ip), Hdr: dns.RR_Header{
				Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}})
		}
		w.WriteMsg(a)
	})}
	go s.ActivateAndServe()
	t.Cleanup(func() { s.Shutdown() })
	return l.Addr().String()
}

// pebbleEnv is held while an authority reads its environment, which tests that run at a time share.
var pebbleEnv sync.Mutex

// restart makes an authority that knows nobody, at the same address.
func (p *pebble) restart(t *testing.T, o pebbleOptions) {
	pebbleEnv.Lock()
	defer pebbleEnv.Unlock()
	for name, value := range map[string]string{
		"VA_NOSLEEP": "1", "WFE_AUTHZREUSE": "0", "WFE_NONCEREJECT": cmp.Or(o.badNonces, "0"),
	} {
		testutil.Must(t, os.Setenv("PEBBLE_"+name, value))
	}
	if o.profiles == nil {
		o.profiles = map[string]ca.Profile{"default": {Description: "the default"}}
	}
	silent, store := log.New(io.Discard, "", 0), db.NewMemoryStore()
	for id, key := range o.eab {
		testutil.Must(t, store.AddExternalAccountKeyByID(id, key))
	}
	authority := ca.New(silent, store, "", "ecdsa", 1, 1, o.profiles)
	validates := va.New(silent, p.httpPort, p.tlsPort, false, p.names, store)
	front := wfe.New(silent, store, validates, authority, []string{"pebble.test"}, false, o.eab != nil, 0, 0)
	handler := front.Handler()
	p.handler.Store(&handler)
}

var tokenIn = regexp.MustCompile(`"token":\s*"([^"]+)"`)

func (p *pebble) serve(w http.ResponseWriter, r *http.Request) {
	if p.asked.Add(1); r.URL.Path == "/directory" { // as others call it
		r.URL.Path = "/dir"
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if p.before != nil && p.before(w, r) {
		return
	}
	answer := httptest.NewRecorder()
	(*p.handler.Load()).ServeHTTP(answer, r)
	if strings.HasPrefix(r.URL.Path, "/finalize-order/") && answer.Code == http.StatusOK {
		p.finished.Add(1)
	}
	p.mu.Lock()
	if strings.HasSuffix(r.URL.Path, "/sign-me-up") && answer.Code == http.StatusCreated {
		p.accounts++
	}
	if strings.HasSuffix(r.URL.Path, "/order-plz") {
		var jws struct{ Payload string }
		json.Unmarshal(body, &jws)
		text, _ := base64.RawURLEncoding.DecodeString(jws.Payload)
		p.orders = append(p.orders, string(text))
	}
	for _, m := range tokenIn.FindAllStringSubmatch(answer.Body.String(), -1) {
		p.tokens = append(p.tokens, m[1])
	}
	p.mu.Unlock()
	maps.Copy(w.Header(), answer.Header())
	if !p.served && strings.HasPrefix(r.URL.Path, "/certZ/") { // a chain without end
		w.Header().Add("Link", "<"+p.URL+r.URL.Path+`>;rel="up"`)
	}
	w.WriteHeader(answer.Code)
	w.Write(answer.Body.Bytes())
}

// left returns the tokens and names that are still answered.
func (p *pebble) left(names ...string) (left []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, token := range p.tokens {
		if _, found := p.challenges.Answer([]byte(issue.TokenPath + token)); found {
			left = append(left, token)
		}
	}
	for _, name := range names {
		if p.challenges.Certificate(name) != nil {
			left = append(left, name)
		}
	}
	return left
}

// issuer returns one for this authority. o has what differs.
func (p *pebble) issuer(t *testing.T, o acme.Options) *acme.Issuer {
	t.Helper()
	o.Roots = x509.NewCertPool()
	o.Roots.AddCert(p.Certificate())
	o.Directory = fmt.Sprintf("%s/dir?%p", p.URL, p) // acmez keeps directories, and a port may be another one's by now
	if o.Challenges = &p.challenges; o.Storage == nil {
		o.Storage = &memory{values: map[string][]byte{}}
	}
	i, err := acme.New(o)
	testutil.Must(t, err)
	return i
}

// memory is an issue.Storage.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
	broken error    // of each operation; nil: it works
	locks  sync.Map // name → chan struct{} with room for one
}

func (m *memory) Store(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken == nil {
		m.values[key] = value
	}
	return m.broken
}

func (m *memory) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if value, found := m.values[key]; found || m.broken != nil {
		return value, m.broken
	}
	return nil, fs.ErrNotExist
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, key)
	return m.broken
}

func (m *memory) List(context.Context, string, bool) ([]string, error) { return nil, nil }

func (m *memory) Lock(ctx context.Context, name string) error {
	l, _ := m.locks.LoadOrStore(name, make(chan struct{}, 1))
	select {
	case l.(chan struct{}) <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *memory) Unlock(_ context.Context, name string) error {
	l, _ := m.locks.Load(name)
	<-l.(chan struct{})
	return nil
}

// newOrder returns an order for names and addresses.
func newOrder(t *testing.T, names ...string) *issue.Order {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testutil.Must(t, err)
	template := &x509.CertificateRequest{}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	testutil.Must(t, err)
	csr, err := x509.ParseCertificateRequest(der)
	testutil.Must(t, err)
	return &issue.Order{Names: names, CSR: csr}
}

// obtain gets a certificate, in a long run within two seconds, and looks at it.
func obtain(t *testing.T, i *acme.Issuer, o *issue.Order) *x509.Certificate {
	t.Helper()
	begin := time.Now()
	got, err := i.Issue(t.Context(), o)
	testutil.Must(t, err)
	took := time.Since(begin)
	t.Logf("%q in %v", o.Names, took)
	if took > 2*time.Second && !testutil.RaceOn && !testing.Short() {
		t.Errorf("%q took %v", o.Names, took)
	}
	block, rest := pem.Decode(got.Chain)
	leaf, err := x509.ParseCertificate(block.Bytes)
	testutil.Must(t, err)
	if more, _ := pem.Decode(rest); more == nil {
		t.Error("the chain has no authority")
	}
	for _, name := range o.Names {
		if err := leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	var meta acmeclient.Certificate
	if err := json.Unmarshal(got.Meta, &meta); err != nil || meta.URL == "" || !strings.Contains(meta.CA, "/dir?") ||
		meta.Account == "" || meta.RenewalInfo == nil {
		t.Errorf("%s: %v", got.Meta, err)
	}
	return leaf
}

func TestACME_waysToCertificate(t *testing.T) {
	t.Parallel()
	const day, kid, mac = 24 * 3600, "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	short := pebbleOptions{profiles: map[string]ca.Profile{
		"shortlived": {ValidityPeriod: 6 * day}, "default": {ValidityPeriod: 90 * day}}}
	bound := pebbleOptions{eab: map[string]string{kid: mac}}
	http01, alpn := []string{"http-01"}, []string{"tls-alpn-01"}
	for name, test := range map[string]struct {
		pebble pebbleOptions
		issuer acme.Options
		names  []string
		days   int
	}{
		"HTTP-01":            {issuer: acme.Options{Kinds: http01, Email: "a@b.test"}, names: []string{"a.test"}},
		"TLS-ALPN-01":        {issuer: acme.Options{Kinds: alpn}, names: []string{"a.test", "www.a.test"}},
		"both":               {names: []string{"a.test", "b.test", "c.test"}},
		"address, HTTP-01":   {issuer: acme.Options{Kinds: http01}, names: []string{"127.0.0.1"}},
		"address, ALPN":      {issuer: acme.Options{Kinds: alpn}, names: []string{"127.0.0.1", "a.test"}},
		"address, shortly":   {short, acme.Options{}, []string{"127.0.0.1"}, 6},
		"address, asked":     {short, acme.Options{Profile: "default"}, []string{"127.0.0.1"}, 90},
		"name, asked":        {short, acme.Options{Profile: "shortlived"}, []string{"a.test"}, 6},
		"EAB":                {bound, acme.Options{EAB: acme.EAB{ID: kid, MAC: mac}}, []string{"a.test"}, 0},
		"20 % of bad nonces": {pebbleOptions{badNonces: "20"}, acme.Options{Kinds: http01}, []string{"a.test"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPebble(t, test.pebble)
			leaf := obtain(t, p.issuer(t, test.issuer), newOrder(t, test.names...))
			days := int(leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Hour) / (day * time.Second))
			if test.days != 0 && days != test.days {
				t.Errorf("%d days", days)
			}
			if left := p.left("a.test", "www.a.test", "b.test", "c.test", "1.0.0.127.in-addr.arpa"); left != nil {
				t.Errorf("left: %q", left)
			}
		})
	}
}

func TestACME_windowAndReplaces(t *testing.T) {
	t.Parallel()
	p := newPebble(t, pebbleOptions{})
	i := p.issuer(t, acme.Options{Kinds: []string{"http-01"}})
	first := obtain(t, i, newOrder(t, "a.test"))
	for first.SerialNumber.BitLen()%8 == 0 { // DER puts a zero before it, and pebble does not know it then
		first = obtain(t, i, newOrder(t, "a.test"))
	}
	p.orders = p.orders[len(p.orders)-1:]
	w, err := i.Window(t.Context(), first)
	if err != nil || !w.Start.After(first.NotBefore) || !w.End.Before(first.NotAfter) || !w.Start.Before(w.End) ||
		time.Until(w.Again).Round(time.Hour) != 6*time.Hour {
		t.Errorf("%v: %v", w, err)
	}
	again := newOrder(t, "a.test")
	again.Replaces = first
	second := obtain(t, i, again)
	if _, err := i.Window(t.Context(), second); err != nil {
		t.Error(err)
	}
	want := []bool{false, true}
	if !testutil.RaceOn { // pebble reads without its lock that a certificate is replaced
		obtain(t, i, again)
		want = append(want, true, false)
	}
	var replaces []bool
	for _, order := range p.orders {
		replaces = append(replaces, strings.Contains(order, `"replaces":`))
	}
	if !slices.Equal(replaces, want) {
		t.Errorf("%v: %q", replaces, p.orders)
	}

	// Of another account, and unknown to the authority: neither holds a renewal up.
	other := p.issuer(t, acme.Options{Email: "other@a.test", Kinds: []string{"http-01"}})
	again.Replaces = second
	obtain(t, other, again)
	again.Replaces, _ = testutil.NewAuthority(t).Issue(t, nil, "a.test")
	obtain(t, other, again)
}

func TestACME_noWindow(t *testing.T) {
	t.Parallel()
	p := newPebble(t, pebbleOptions{})
	p.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/dir" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"newNonce":"%[1]s/1","newAccount":"%[1]s/2","newOrder":"%[1]s/3"}`, p.URL)
		return true
	}
	leaf, _ := testutil.NewAuthority(t).Issue(t, nil, "a.test")
	if w, err := p.issuer(t, acme.Options{}).Window(t.Context(), leaf); err != nil || w != (issue.Window{}) {
		t.Errorf("%v, %v", w, err)
	}
}

func TestACME_oneAccount(t *testing.T) {
	t.Parallel()
	p := newPebble(t, pebbleOptions{})
	storage := &memory{values: map[string][]byte{}}
	o := acme.Options{Storage: storage, Email: "Admin@A.test ", Kinds: []string{"http-01"}}
	var all sync.WaitGroup
	for range 4 {
		i, order := p.issuer(t, o), newOrder(t, "a.test")
		all.Go(func() {
			if _, err := i.Issue(t.Context(), order); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	obtain(t, p.issuer(t, o), newOrder(t, "b.test"))
	if p.accounts != 1 {
		t.Errorf("%d accounts", p.accounts)
	}
	folder := "acme/" + issue.Safe(p.Listener.Addr().String()) + "-dir/users/admin@a.test/admin"
	keys := slices.Sorted(maps.Keys(storage.values))
	if !slices.Equal(keys, []string{folder + ".json", folder + ".key"}) {
		t.Errorf("%q", keys)
	}

	// What a process has left at its end, and files that are cut, lead to the same account.
	whole := storage.values[folder+".json"]
	for _, text := range [][]byte{nil, whole[:0], whole[:len(whole)/2], whole[:len(whole)-1], []byte("null")} {
		if storage.values[folder+".json"] = text; text == nil {
			delete(storage.values, folder+".json")
		}
		obtain(t, p.issuer(t, o), newOrder(t, "a.test"))
		if p.accounts != 1 || !bytes.Equal(storage.values[folder+".json"], whole) {
			t.Errorf("after %q: %d accounts, %s", text, p.accounts, storage.values[folder+".json"])
		}
	}
	storage.values[folder+".key"] = []byte("-----BEGIN EC PRIVATE KEY-----\n")
	obtain(t, p.issuer(t, o), newOrder(t, "a.test"))
	if p.accounts != 2 {
		t.Errorf("%d accounts after the loss of a key", p.accounts)
	}
}

// While the Storage fails, certificates come by the account of before, or by an account in memory.
func TestACME_storageFails(t *testing.T) {
	t.Parallel()
	p := newPebble(t, pebbleOptions{})
	for _, before := range []bool{false, true} {
		storage := &memory{values: map[string][]byte{}}
		i := p.issuer(t, acme.Options{Storage: storage, Kinds: []string{"http-01"}})
		if before {
			obtain(t, i, newOrder(t, "a.test"))
		}
		p.accounts, storage.broken = 0, errors.New("disk full")
		obtain(t, i, newOrder(t, "a.test"))
		obtain(t, i, newOrder(t, "b.test"))
		if want := 1; before && p.accounts != 0 || !before && p.accounts != want {
			t.Errorf("there was one before: %t; %d accounts", before, p.accounts)
		}
	}
}

func TestACME_accountIsGone(t *testing.T) {
	t.Parallel()
	p := newPebble(t, pebbleOptions{})
	storage := &memory{values: map[string][]byte{}}
	i := p.issuer(t, acme.Options{Storage: storage, Kinds: []string{"http-01"}})
	leaf := obtain(t, i, newOrder(t, "a.test"))
	before := maps.Clone(storage.values)

	p.restart(t, pebbleOptions{})
	order := newOrder(t, "a.test")
	order.Replaces = leaf // of the authority's life before
	obtain(t, i, order)
	for key, value := range before {
		if bytes.Equal(storage.values[key], value) {
			t.Errorf("%s is as before", key)
		}
	}

	var account acmeclient.Account
	folder := "acme/" + i.Key() + "/users/default/default"
	testutil.Must(t, json.Unmarshal(storage.values[folder+".json"], &account))
	block, _ := pem.Decode(storage.values[folder+".key"])
	key, err := x509.ParseECPrivateKey(block.Bytes)
	testutil.Must(t, err)
	client := &acmeclient.Client{Directory: p.URL + "/dir", HTTPClient: p.Client()}
	account.PrivateKey, account.Status = key, "deactivated"
	if _, err := client.UpdateAccount(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	obtain(t, i, newOrder(t, "a.test"))
	if p.accounts != 3 {
		t.Errorf("%d accounts", p.accounts)
	}
}

// Another EAB is another account, also where the e-mail address stays.
func TestACME_anotherEAB(t *testing.T) {
	t.Parallel()
	const mac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	p := newPebble(t, pebbleOptions{eab: map[string]string{"1": mac, "2": mac}})
	storage := &memory{values: map[string][]byte{}}
	for n, id := range []string{"1", "1", "2", "2", ""} {
		o := acme.Options{Storage: storage}
		if id != "" {
			o.EAB = acme.EAB{ID: id, MAC: mac}
		}
		obtain(t, p.issuer(t, o), newOrder(t, "a.test"))
		if want := []int{1, 1, 2, 2, 2}[n]; p.accounts != want {
			t.Errorf("%d: %d accounts", n, p.accounts)
		}
	}
	_, err := p.issuer(t, acme.Options{}).Issue(t.Context(), newOrder(t, "a.test"))
	if err == nil || !strings.HasPrefix(err.Error(), "externalAccountRequired: ACME server policy requires") {
		t.Error(err)
	}
}

func TestACME_earlyAndRefused(t *testing.T) {
	t.Parallel()
	const limited = `{"type":"urn:ietf:params:acme:error:rateLimited","status":429,
		"detail":"too many\ncertificates\u001b[31m","subproblems":[
			{"type":"urn:ietf:params:acme:error:caa","detail":"no","identifier":{"type":"dns","value":"a.test"}}]}`
	const problem = "application/problem+json"
	const said = `rateLimited: too many\ncertificates\x1b[31m; a.test: caa: no`
	long := `{"type":"x:\n` + strings.Repeat("y", 5000) + `"}`
	date := time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat)
	for name, test := range map[string]struct {
		at, after, kind, body string
		code                  int
		want                  string
		early                 time.Duration
	}{
		"order, seconds":  {"/order-plz", "120", problem, limited, 429, said, 2 * time.Minute},
		"order, date":     {"/order-plz", date, problem, limited, 429, said, 2 * time.Hour},
		"order, for ever": {"/order-plz", "999999999", problem, limited, 429, said, 7 * 24 * time.Hour},
		"order, no time":  {"/order-plz", "", problem, limited, 429, said, 0},
		"account":         {"/sign-me-up", "120", problem, limited, 429, said, 2 * time.Minute},
		"finalize":        {"/finalize-order/", "120", problem, limited, 429, said, 2 * time.Minute},
		"no problem":      {"/order-plz", "60", "text/html; x", "<html>", 429, "HTTP 429: a page of HTML", time.Minute},
		"directory":       {"/dir", "60", "text/html", "<html>", 503, "HTTP 503: a page of HTML", time.Minute},
		"page of HTML":    {"/order-plz", "", "text/html", "<html>", 200, "the answer is a page of HTML", 0},
		"no JSON":         {"/order-plz", "", "application/json", "<html>", 201, "JSON-decoding response body", 0},
		"order, empty":    {"/order-plz", "", "application/json", "{}", 201, "", 0},
		"chain of HTML":   {"/certZ/", "", "text/html", "<html>", 200, "the answer is a page of HTML", 0},
		"long problem":    {"/order-plz", "", problem, long, 400, `x:\nyyy`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPebble(t, pebbleOptions{})
			p.before = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, test.at) {
					return false
				}
				if test.after != "" {
					w.Header().Set("Retry-After", test.after)
				}
				w.Header().Set("Content-Type", test.kind)
				w.WriteHeader(test.code)
				io.WriteString(w, test.body)
				return true
			}
			_, err := p.issuer(t, acme.Options{Kinds: []string{"http-01"}}).Issue(t.Context(), newOrder(t, "a.test"))
			t.Log(err)
			if err == nil || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 510 ||
				strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Fatalf("%v, want %s", err, test.want)
			}
			var early *issue.Early
			errors.As(err, &early)
			if early == nil && test.early != 0 || early != nil && early.After.Round(time.Minute) != test.early {
				t.Errorf("%v: %v", err, early)
			}
			if left := p.left(); left != nil {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// A failed proof is told with its name, and no other one is tried than those that are allowed.
func TestACME_proofFails(t *testing.T) {
	t.Parallel()
	p := newPebble(t, pebbleOptions{})
	p.plain.Close()
	for kind, want := range map[string]string{"http-01": "a.test: connection: ", "tls-alpn-01": ""} {
		_, err := p.issuer(t, acme.Options{Kinds: []string{kind}}).Issue(t.Context(), newOrder(t, "a.test"))
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", kind, err)
		}
		var early *issue.Early
		if errors.As(err, &early) || p.left("a.test") != nil {
			t.Errorf("%s: %v, left: %q", kind, early, p.left("a.test"))
		}
	}
}

// TestACME_ended ends an order at each of its requests.
func TestACME_ended(t *testing.T) {
	p := newPebble(t, pebbleOptions{})
	testutil.CheckLeaks(t)
	for _, kind := range []string{"http-01", "tls-alpn-01"} {
		ended := 0
		for at := 1; ; at++ {
			ctx, cancel := context.WithCancel(t.Context())
			var n atomic.Int32
			p.before = func(http.ResponseWriter, *http.Request) bool {
				if n.Add(1) == int32(at) {
					cancel()
				}
				return false
			}
			storage := &memory{values: map[string][]byte{}}
			i := p.issuer(t, acme.Options{Kinds: []string{kind}, Storage: storage})
			_, err := i.Issue(ctx, newOrder(t, "a.test"))
			cancel()
			if left := p.left("a.test"); left != nil {
				t.Fatalf("%s, at request %d: %q", kind, at, left)
			}
			storage.locks.Range(func(name, l any) bool {
				if len(l.(chan struct{})) > 0 {
					t.Errorf("%s, at request %d: lock %s", kind, at, name)
				}
				return true
			})
			if err == nil && int(n.Load()) < at {
				break
			}
			if ended++; err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%s, at request %d: %v", kind, at, err)
			}
		}
		if ended < 10 {
			t.Errorf("%s: %d moments", kind, ended)
		}
	}
}
