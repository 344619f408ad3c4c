package tenant

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/program/programtest"
	"github.com/edge-proxy/edge/proxy"
)

// logs keeps the last member of each record.
type logs chan edge.Field

func (l logs) Append(r *edge.Record) { l <- r.Fields[len(r.Fields)-1] }

// serve serves one route with a filter of c.
func serve(t *testing.T, c *Config) (address string, log logs) {
	t.Helper()
	f, err := New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	echo := &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		return proxy.Respond(200, x.Request.Get("X-Tenant"))
	}}
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{{
		To: proxy.Answer(500, "text/plain", "unreachable"), Filters: []*proxy.Filter{f, echo}}}}
	s.Engine.Reactors, log = 1, make(logs, 1)
	s.Listener.Log = []proxy.AccessLog{log}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s.ListenAddr(), log
}

func TestTenant(t *testing.T) {
	address, log := serve(t, &Config{Known: []string{"acme", "globex"}, Slow: time.Nanosecond})
	for name, want := range map[string]int{"acme": 200, "globex": 200, "": 403, "Acme": 403, "initech": 403} {
		req, err := http.NewRequest("GET", "http://"+address+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Tenant", name)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q: %d, want %d", name, resp.StatusCode, want)
		}
		if f := <-log; f.Name != "tenant" || want == 200 && f.Value != name || want == 403 && f.Value != "" {
			t.Errorf("%q: logged as %+v", name, f)
		}
	}
}

func TestNew_refuses(t *testing.T) {
	for want, c := range map[string]*Config{
		"known":                         {},
		"known[1]: a tenant has a name": {Known: []string{"acme", ""}},
	} {
		if _, err := New(c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", c, err, want)
		}
	}
}

// A table of a file is what New gets, with the defaults, and mistakes have their places.
func TestConfig_ofAFile(t *testing.T) {
	const file = "[http]\nlisten = \":0\"\n[[routes]]\npattern = \"/\"\ndest = \"status:204\"\nfilters = [\"a\"]\n" +
		"[filters.a]\ntype = \"tenant\"\n"
	got := programtest.Read[*Config](t, file+"known = \"acme\"\n")[0]
	if got.From.String() != "{header.x-tenant}" || got.Field != "X-Tenant" || got.Slow != time.Second ||
		len(got.Known) != 1 {
		t.Errorf("%+v", got)
	}
	for text, want := range map[string]string{
		"":                           `a filter of type "tenant" needs "known"`,
		"know = \"acme\"\n":          "unknown key \"know\"",
		"known = [\"acme\", \"\"]\n": "edge.toml:9:",
	} {
		if found := programtest.Check(file + text); len(found) == 0 || !strings.Contains(found[0], want) {
			t.Errorf("%q: %q, want %s", text, found, want)
		}
	}
}
