package observe

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

var secretNames = []string{"token", "access_token", "X-Amz-Signature", "sig"}

func TestRedaction(t *testing.T) {
	d := NewRedaction(secretNames)
	for text, want := range map[string]string{
		"":                                 "",
		"token":                            "token",
		"token=":                           "token=",
		"token=s3":                         "token=REDACTED",
		"a=1&ToKeN=s3&b=2":                 "a=1&ToKeN=REDACTED&b=2",
		"token=s3&token=s3":                "token=REDACTED&token=REDACTED",
		"t%6Fken=s3":                       "t%6Fken=REDACTED",
		"%74%6f%6B%65%6e=s3":               "%74%6f%6B%65%6e=REDACTED",
		"tok%65n%=1":                       "tok%65n%=1",
		"x-amz-signature=s3&X-Amz-Date=1":  "x-amz-signature=REDACTED&X-Amz-Date=1",
		"a;token=s3;b&c=1":                 "a;token=REDACTED&c=1",
		"a=token=s3":                       "a=token=REDACTED",
		"token=s3=s3&b":                    "token=REDACTED&b",
		"/path?token=s3":                   "/path?token=REDACTED",
		"/path;token=s3":                   "/path;token=REDACTED",
		"/token=s3":                        "/token=s3",
		"accesstoken=s3&access-token=s3":   "accesstoken=REDACTED&access-token=REDACTED",
		"AccessToken=s3":                   "AccessToken=REDACTED",
		"reset_token=s3&oauth-token=s3":    "reset_token=REDACTED&oauth-token=REDACTED",
		"resetToken=s3":                    "resetToken=REDACTED",
		"__Host-token=s3; a=1":             "__Host-token=REDACTED",
		"reset%5Ftoken=s3&reset%54oken=s3": "reset%5Ftoken=REDACTED&reset%54oken=REDACTED",
		"token%3ds3&a%3D1":                 "token%3dREDACTED&a%3D1",
		"a=1&%74oken%3Ds3&b=2":             "a=1&%74oken%3DREDACTED&b=2",
		"token_=s3":                        "token_=REDACTED",
		"https://u:s3@h/":                  "https://h/",
		"https://u:s3@@h/a@b?c=d@e":        "https://h/a@b?c=d@e",
		"https://h/a@b":                    "https://h/a@b",
		"next=https://u:s3@h/&token=s3&to=ftp://u:s3@h": "next=https://h/&token=REDACTED&to=ftp://h",
		"https://x/?token=s3#sig=s3":                    "https://x/?token=REDACTED",
		"mytoken=1&tokens=2&_=3&oken=4":                 "mytoken=1&tokens=2&_=3&oken=4",
		"a=1; token=s3; b=2":                            "a=1; token=REDACTED",
		"token=s#3":                                     "token=REDACTED", // of a cookie
		"token[]=s3&token[a]=s3":                        "token[]=REDACTED&token[a]=REDACTED",
		"user[token]=s3":                                "user[token]=REDACTED",
		"user%5Btoken%5d=s3":                            "user%5Btoken%5d=REDACTED",
		"+token=s3&%20token=s3":                         "+token=REDACTED&%20token=REDACTED",
		"next=/a%3Ftoken=s3":                            "next=/a%3Ftoken=REDACTED",
		`keyId="a",sig="s3",b="1"`:                      `keyId="a",sig=REDACTED`,
		"user[tokens]=1&[]=2&%5b=3":                     "user[tokens]=1&[]=2&%5b=3",
		strings.Repeat("a", 200) + "[token]=1":          strings.Repeat("a", 200) + "[token]=REDACTED",
		"access_token=" + strings.Repeat("s3", 99):      "access_token=REDACTED",
		strings.Repeat("%74", 90) + "=1":                strings.Repeat("%74", 90) + "=1",
	} {
		if got := string(d.Text(new([]byte), []byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if !d.Hides("SIG") || d.Hides("signature") || (*Redaction)(nil).Hides("sig") {
		t.Error("Hides says something else")
	}
	if d := NewRedaction(nil); string(d.Text(new([]byte), []byte("token=1&a=x://u:s3@h"))) != "token=1&a=x://h" {
		t.Error("without names it hides more, or less, than users of URLs")
	}
}

// No value that net/url finds under one of the names is left, however its name is written; the others are.
func TestRedaction_asURLReadsIt(t *testing.T) {
	d, r := NewRedaction(secretNames), rand.New(rand.NewPCG(1, 2))
	spell := func(name string) string {
		var b strings.Builder
		for _, c := range []byte(name) {
			switch r.IntN(3) {
			case 0:
				fmt.Fprintf(&b, "%%%02x", c)
			case 1:
				b.WriteString(strings.ToUpper(string(c)))
			default:
				b.WriteByte(c)
			}
		}
		return b.String()
	}
	for range 2000 {
		var parts []string
		for range r.IntN(5) {
			parts = append(parts, []string{
				spell(secretNames[r.IntN(len(secretNames))]) + "=s3cr3t",
				"q=kept", "flag", "=", "empty=", "%zz=kept", spell("tokens") + "=kept",
			}[r.IntN(7)])
		}
		text := strings.Join(parts, "&")
		got := string(d.Text(new([]byte), []byte(text)))
		before, _ := url.ParseQuery(text)
		after, _ := url.ParseQuery(got)
		for name, values := range after {
			for i, v := range values {
				if secret := d.Hides(name); secret && v != Redacted || !secret && v != before[name][i] {
					t.Fatalf("%q is %q", text, got)
				}
			}
		}
		if strings.Contains(got, "s3cr3t") {
			t.Fatalf("%q is %q", text, got)
		}
	}
}

func TestRecord_redact(t *testing.T) {
	d := NewRedaction(secretNames)
	r := &Record{Query: []byte("a=1&sig=x&b=2"), Referer: []byte("https://x/?token=1"), Path: []byte("/a;sig=1")}
	r.Redact(d)
	if string(r.Path) != "/a;sig=REDACTED" || string(r.Query) != "a=1&sig=REDACTED&b=2" ||
		string(r.Referer) != "https://x/?token=REDACTED" {
		t.Errorf("%s, %s, %s", r.Path, r.Query, r.Referer)
	}
	query, referer := []byte("a=1&sig=x&b=2"), []byte("https://x/?a=1")
	allocs := testutil.Allocs(1000, func() {
		r.Query, r.Referer = query, referer
		r.Redact(d)
	})
	if allocs != 0 || &r.Referer[0] != &referer[0] || !bytes.Equal(query, []byte("a=1&sig=x&b=2")) {
		t.Errorf("%v allocations; %s", allocs, query)
	}
}

func BenchmarkRecord_Redact(b *testing.B) {
	d := NewRedaction(strings.Fields("access_token api_key apikey auth client_secret code id_token key " +
		"password refresh_token secret sig signature token X-Amz-Signature X-Goog-Signature AWSAccessKeyId"))
	r := &Record{Path: []byte("/search/things")}
	query := []byte("q=networking+engine&page=2&utm_source=newsletter&lang=en")
	referer := []byte("https://www.example.com/search?q=engine")
	b.ReportAllocs()
	for b.Loop() {
		r.Query, r.Referer = query, referer
		r.Redact(d)
	}
}
