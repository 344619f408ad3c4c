package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/plugin"
	"github.com/edge-proxy/edge/proxy"
)

// bearer is what a type of filters makes of the field X-Token: "sub group group".
type bearer struct{ words [][]byte }

func (v *bearer) Claim(name string, dst [][]byte) [][]byte {
	switch {
	case len(v.words) == 0:
	case name == "sub":
		return append(dst, v.words[0])
	case name == "groups":
		return append(dst, v.words[1:]...)
	}
	return dst
}

var bearers = proxy.NewLocal[bearer]()

func init() {
	type none struct{}
	create := func(*none, *plugin.Build) (*proxy.Filter, error) {
		return &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
			v := bearers.Of(x)
			for word := range strings.FieldsSeq(x.Request.Get("X-Token")) {
				v.words = append(v.words, []byte(word))
			}
			if len(v.words) > 0 {
				proxy.SetUser(x, string(v.words[0]))
				proxy.SetClaims(x, v)
			}
			return proxy.Next
		}}, nil
	}
	plugin.Register(plugin.Filters, "test_token", "Takes a token for what it says.", create)
}

// What an authentication filter gives is known to the filters after it, to fields and to the log, and to nobody else.
func TestClaims(t *testing.T) {
	t.Parallel()
	lines := filepath.Join(t.TempDir(), "access.log")
	s := start(t, Options{}, `
log.output = "%s"
log.line = "{path} {auth.claim.groups}"
filters.token.type = "test_token"
filters.admins = { type = "test_note", as = "admin", when = 'auth.claim.groups == "admin"' }
filters.nobody = { type = "test_note", as = "nobody", when = 'not has(auth.claim.sub)' }
listeners = [{ name = "web", listen = "127.0.0.1:0" }]
[[routes]]
pattern = "/*"
dest = "status:204"
filters = ["token", "admins", "nobody"]
headers.response = { X-Sub = "{auth.claim.sub}", X-Mail = '{auth.claim["https://x.org/mail"] ?? "none"}' }
`, lines)
	for _, c := range []struct{ path, token, sub, filters string }{
		{"/a", "X-Token: alice dev admin", "alice", "admin"},
		{"/b", "X-Token: bob dev", "bob", ""},
		{"/c", "X-Other: admin", "", "nobody"},
	} {
		resp := askFor(t, "GET", urlOf(t, s, "web")+c.path, c.token)
		sub, filters := resp.Header.Get("X-Sub"), resp.Header.Get("X-Filters")
		if sub != c.sub || filters != c.filters || resp.Header.Get("X-Mail") != "none" {
			t.Errorf("%s: %q %q, want %q %q", c.token, sub, filters, c.sub, c.filters)
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		got, _ := os.ReadFile(lines)
		return strings.Contains(string(got), "/a dev, admin\n") && strings.Contains(string(got), "/c \n")
	}, "the log has the groups")
}
