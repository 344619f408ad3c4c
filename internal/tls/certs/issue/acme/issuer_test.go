package acme

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
)

// These are the folders that certmagic v0.25.6 makes (StorageKeys.CertsPrefix, storageKeyUserReg).
func TestIssuer_keysAreCertmagics(t *testing.T) {
	for _, test := range []struct{ directory, email, key, account string }{
		{"", "", "acme-v02.api.letsencrypt.org-directory", "default/default"},
		{"https://acme-v02.api.letsencrypt.org/directory", " Me+Ops@Example.COM",
			"acme-v02.api.letsencrypt.org-directory", "me_plus_ops@example.com/me_plus_ops"},
		{"https://acme-staging-v02.api.letsencrypt.org/directory", "me@a.test",
			"acme-staging-v02.api.letsencrypt.org-directory", "me@a.test/me"},
		{"https://acme.zerossl.com/v2/DV90", "me@a.test", "acme.zerossl.com-v2-dv90", "me@a.test/me"},
		{"https://dv.acme-v02.api.pki.goog/directory", "@a.test",
			"dv.acme-v02.api.pki.goog-directory", "@a.test/a.test"},
		{"https://ca.internal:9000/acme/acme/directory/", "me", "ca.internal-9000-acme-acme-directory", "me/me"},
		{"https://localhost:14000", "", "localhost-14000", "default/default"},
	} {
		i, err := New(Options{Directory: test.directory, Email: test.email})
		testutil.Must(t, err)
		if i.Key() != test.key {
			t.Errorf("%s: %s, want %s", test.directory, i.Key(), test.key)
		}
		if want := "acme/" + test.key + "/users/" + test.account + ".json"; i.at.storageKey(".json") != want {
			t.Errorf("%s: %s, want %s", test.email, i.at.storageKey(".json"), want)
		}
	}
	for _, known := range Known {
		i, err := New(Options{Directory: known.Directory, Email: "me@a.test", EAB: EAB{ID: "1", MAC: "AA=="}})
		if err != nil || i.Account() != "me@a.test 1" {
			t.Errorf("%s: %v", known.Word, err)
		}
	}
}

func TestNew_refuses(t *testing.T) {
	for name, o := range map[string]Options{
		"http":       {Directory: "http://a.test/directory"},
		"no host":    {Directory: "https:///directory"},
		"no URL":     {Directory: "a.test\x00"},
		"base64":     {EAB: EAB{ID: "1", MAC: "a+/b"}},
		"half":       {EAB: EAB{ID: "1"}},
		"other half": {EAB: EAB{MAC: "AAAA"}},
		"ZeroSSL":    {Directory: "https://acme.zerossl.com/v2/DV90"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestIssue_wildcard(t *testing.T) {
	i, _ := New(Options{})
	// Nobody is asked.
	_, err := i.Issue(t.Context(), &issue.Order{Names: []string{"a.test", "*.a.test"}, CSR: order.CSR})
	if err == nil || err.Error() != "*.a.test: authorities give wildcards for dns-01 alone" {
		t.Error(err)
	}
}

// serve returns an Issuer for an authority that answers as f does.
func serve(t *testing.T, f http.HandlerFunc) *Issuer {
	t.Helper()
	s := httptest.NewUnstartedServer(f)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	i, err := New(Options{Directory: s.URL + "/directory", Roots: roots, Email: "me@a.test"})
	testutil.Must(t, err)
	return i
}

var order = &issue.Order{Names: []string{"a.test"}, CSR: &x509.CertificateRequest{DNSNames: []string{"a.test"}}}

func TestDirectory(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			for page := bytes.Repeat([]byte("a"), 4096); ; {
				if _, err := w.Write(page); err != nil {
					return
				}
			}
		}, "an answer has more than 1048576 bytes"},
		"HTML": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "<!doctype html><title>hello")
		}, "the answer is a page of HTML"},
		"garbage": {func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte{0, 1, 2})
		}, "is no directory of ACME"},
		"empty": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "{}")
		}, "is no directory of ACME"},
		"missing":         {http.NotFound, "HTTP 404: 404 page not found"},
		"resets":          {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		"open connection": {switches, "the answer changes the protocol"},
		"leads on": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://a.test/")
			w.WriteHeader(http.StatusFound)
		}, "an authority is asked by https alone"},
	} {
		t.Run(name, func(t *testing.T) {
			testutil.CheckLeaks(t)
			i := serve(t, test.answer)
			_, err := i.Issue(t.Context(), order)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
			if _, err := i.Window(t.Context(), nil); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

// acmez asks for directories under one lock for the process.
func TestDirectory_deadAuthorityHoldsNobodyUp(t *testing.T) {
	asked := make(chan struct{})
	dead := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := dead.Issue(ctx, order)
		ended <- err
	}()
	<-asked
	fetches := 0
	var alive *Issuer
	alive = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if fetches++; !strings.HasPrefix(r.UserAgent(), "edge/") {
			t.Errorf("%q", r.UserAgent())
		}
		u := strings.TrimSuffix(alive.at.o.Directory, "/directory")
		io.WriteString(w, `{"newNonce":"`+u+`/1","newAccount":"`+u+`/2","newOrder":"`+u+`/3","renewalInfo":"`+u+`/4"}`)
	})
	for range 3 {
		c := alive.at.begin(nil)
		here, err := c.directory(t.Context())
		testutil.Must(t, err)
		if theirs, err := c.client.GetDirectory(t.Context()); err != nil || theirs != here.Directory {
			t.Errorf("%v, want %v: %v", theirs, here.Directory, err)
		}
		c.end(t.Context())
	}
	if fetches != 1 {
		t.Errorf("%d fetches", fetches)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestBinding_ofZeroSSL(t *testing.T) {
	answer := `{"success":true,"eab_kid":"kid","eab_hmac_key":"bWFj="}`
	i := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.FormValue("email") != "me@a.test" {
			t.Errorf("%s, %q", r.Method, r.FormValue("email"))
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, answer)
	})
	i.at.bindings = i.at.o.Directory
	c := i.at.begin(nil)
	defer c.end(t.Context())
	if eab, err := c.binding(t.Context()); err != nil || eab != (acmez.EAB{KeyID: "kid", MACKey: "bWFj"}) {
		t.Errorf("%v, %v", eab, err)
	}
	answer = `{"success":false,"error":{"code":2902,"type":"invalid_email"}}`
	_, err := c.binding(t.Context())
	if err == nil || !strings.HasSuffix(err.Error(), "no EAB for this e-mail address: invalid_email") {
		t.Error(err)
	}
}

func TestRetryAfter(t *testing.T) {
	hour := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, "-1": 0, "x": 0, "1.5": 0, hour: time.Hour,
		"99999999999999999999": 0, "Mon, 01 Jan 2001 00:00:00 GMT": 0,
	} {
		got := max(retryAfter(http.Header{"Retry-After": {text}}), 0)
		if got.Round(time.Minute) != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// What an authority wants waited for in the middle of an order is bounded, and no busy loop.
func TestRoundTrip_pauses(t *testing.T) {
	for text, want := range map[string]string{"86400": "60", "0": "1", "x": "1", "5": "5", "": ""} {
		i := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if w.Header().Set("Retry-After", text); text == "" {
				w.Header().Del("Retry-After")
			}
		})
		c := i.at.begin(nil)
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			r, _ := http.NewRequestWithContext(t.Context(), method, i.at.o.Directory, nil)
			resp, err := c.client.HTTPClient.Do(r)
			testutil.Must(t, err)
			resp.Body.Close()
			want := map[string]string{http.MethodPost: want, http.MethodGet: text}[method]
			if got := resp.Header.Get("Retry-After"); got != want {
				t.Errorf("%s %q: %q, want %q", method, text, got, want)
			}
		}
		c.end(t.Context())
	}
}

func TestReverseName(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1": "1.2.0.192.in-addr.arpa", "::ffff:192.0.2.1": "1.2.0.192.in-addr.arpa",
		"2001:db8::567:89ab": "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		if got := reverseName(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %s", address, got)
		}
	}
}

// FuzzExplain: whatever an authority says is one short printable line.
func FuzzExplain(f *testing.F) {
	f.Add("urn:ietf:params:acme:error:caa", "detail\n\x1b[0m", "a.test", "x", 3)
	f.Add("", "", "\xff\u202e", strings.Repeat("é", 300), 1000)
	f.Fuzz(func(t *testing.T, kind, detail, name, sub string, n int) {
		of := acmez.Identifier{Value: name}
		p := acmez.Problem{Type: kind, Detail: detail, Resource: acmez.Authorization{Identifier: of}}
		for range min(max(n, 0), 1000) {
			p.Subproblems = append(p.Subproblems, acmez.Subproblem{Problem: acmez.Problem{Detail: sub}, Identifier: of})
		}
		for _, err := range []error{p, &p, errors.New(detail), errors.Join(p, io.EOF)} {
			text := (&call{}).explain(t.Context(), err).Error()
			if len(text) > textMax+len("…") || !utf8.ValidString(text) || strings.ContainsAny(text, "\n\x1b\u202e") {
				t.Errorf("%q", text)
			}
		}
	})
}

func TestExplain(t *testing.T) {
	problem := acmez.Problem{Type: acmez.ProblemTypeRateLimited, Status: 429, Detail: "slowly"}
	for _, test := range []struct {
		err   error
		call  call
		early time.Duration
		text  string
	}{
		{problem, call{status: 429, after: time.Minute}, time.Minute, "rateLimited: slowly"},
		{&problem, call{status: 503, after: time.Minute}, time.Minute, "rateLimited: slowly"},
		{acmez.Problem{Status: 403}, call{status: 503, after: time.Minute}, 0, "problem: "}, // of another answer
		{io.EOF, call{status: 503, after: time.Minute}, time.Minute, "EOF"},
		{problem, call{}, 0, "rateLimited: slowly"},
		{fmt.Errorf("invalid: %w", (*acmez.Problem)(nil)), call{}, 0, "invalid: <nil>"}, // an order without an error
	} {
		err := test.call.explain(t.Context(), test.err)
		var early *issue.Early
		if errors.As(err, &early); early == nil && test.early != 0 || early != nil && early.After != test.early {
			t.Errorf("%v: %v", test.err, early)
		}
		if err.Error() != test.text {
			t.Errorf("%q, want %q", err, test.text)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&call{}).explain(ended, io.EOF); !errors.Is(err, context.Canceled) || !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if (&call{}).explain(t.Context(), nil) != nil {
		t.Error("an error of nothing")
	}
}

func TestKnown(t *testing.T) {
	var words []string
	for _, a := range Known {
		words = append(words, a.Word)
		if path.Clean(a.Directory) == "." {
			t.Errorf("%s has no directory", a.Word)
		}
	}
	if !slices.Equal(words, []string{"letsencrypt", "letsencrypt-staging", "zerossl", "google", "google-staging"}) {
		t.Errorf("%q", words)
	}
}
