package interop

import (
	"net/http"
	"strings"
	"testing"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// TestH2spec runs all cases of h2spec 2.2.1, strict ones too, without TLS and with it.
func TestH2spec(t *testing.T) {
	origin := testutil.ServeHTTP(t, testutil.Listen(t), func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(strings.Repeat("edge ", 40)))
	})
	e := startEdge(t, "[[routes]]\npattern = \"/\"\ndest = %q\n", origin)
	for _, c := range []struct {
		name, addr string
		tls        bool
	}{{"h2c", e.h2c, false}, {"tls", e.secure, true}} {
		t.Run(c.name, func(t *testing.T) {
			o := &config.Config{
				Host: "127.0.0.1", Port: port(t, c.addr), Path: "/", Timeout: testutil.Patience, MaxHeaderLen: 4000,
				Strict: true, TLS: c.tls, Insecure: true,
			}
			passed := 0
			for _, g := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
				g.Test(o)
				passed += g.PassedCount
				for _, f := range failures(g, nil) {
					t.Error(f)
				}
			}
			if passed != 146 {
				t.Errorf("%d of 146 cases passed", passed)
			}
		})
	}
}

// failures lists what of g did not pass.
func failures(g *spec.TestGroup, list []string) []string {
	for _, c := range g.Tests {
		if r := c.Result; r != nil && (r.Failed || r.Skipped) {
			text := c.Desc
			if r.Error != nil {
				text += ": " + r.Error.Error()
			}
			list = append(list, g.Section+" "+g.Name+": "+text)
		}
	}
	for _, sub := range g.Groups {
		list = failures(sub, list)
	}
	return list
}
