package outside

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// named starts a server that answers with its name.
func named(t *testing.T, name string) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, name) //nolint:errcheck // the client is gone
	}))
	t.Cleanup(s.Close)
	return s
}

func TestMethod(t *testing.T) {
	one, two := named(t, "one"), named(t, "two")
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		t.Fatal(err)
	}
	set := backend.Of(one.Listener.Addr().String(), two.Listener.Addr().String())
	u := edge.NewUpstream(e, edge.UpstreamOptions{Backends: set})
	view := set.View(1, &balance.Method{New: func(int, int) balance.Picker { return First{} }})
	routes, err := proxy.NewSnapshot([]proxy.Route{{To: proxy.To(u, &proxy.ToOptions{View: view})}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	srv := session.NewServer(e, proxy.New(e, routes).Service(&proxy.Listener{}), session.ServerOptions{})
	addr := poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}
	l, err := e.Listen(engine.ListenOptions{Addr: addr}, srv.Accept)
	if err != nil {
		t.Fatal(err)
	}
	e.Start()
	defer e.Stop()
	defer http.DefaultClient.CloseIdleConnections()
	for _, step := range []struct {
		change func(why backend.Reason) bool
		want   string
	}{
		{set.Members()[1].Up, "one"}, {set.Members()[0].Down, "two"}, {set.Members()[0].Up, "one"},
	} {
		step.change(backend.Operator)
		for range 3 {
			resp, err := http.Get("http://" + l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(got) != step.want {
				t.Errorf("answered by %q, %v, want %s", got, err, step.want)
			}
		}
	}
}
