package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// Connections of HTTP/3 are listed and counted beside those of TCP.
func TestHTTP3_counted(t *testing.T) {
	t.Parallel()
	socket := testutil.SocketPath(t)
	o := newSlow(t)
	p := startPlaced(t, o, "[admin]\nlisten = \"unix:%s\"\n", socket)
	first := o.begin(t, p.h3(t), p.addr)
	tcp := &http.Client{Transport: &http.Transport{TLSClientConfig: p.client("http/1.1")}}
	fetch(t, tcp, "GET", "https://"+p.addr+"/", nil)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	admin := &http.Client{Transport: &http.Transport{DialContext: dial}}
	t.Cleanup(admin.CloseIdleConnections)
	var list struct {
		Items []struct {
			Listener, Protocol, State string
			Streams                   int
		}
	}
	_, text := testutil.Get(t, admin, "http://edge/v1/connections")
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, c := range list.Items {
		seen[fmt.Sprint(c.Listener, " ", c.Protocol, " ", c.State, " ", c.Streams)]++
	}
	if len(seen) != 2 || seen["web h3 active 1"] != 1 || seen["web h1 idle 0"] != 1 {
		t.Errorf("%v", seen)
	}
	if _, text := testutil.Get(t, admin, "http://edge/v1/status"); !strings.Contains(text, `"connections":2`) {
		t.Error(text)
	}
	_, text = testutil.Get(t, admin, "http://edge/metrics")
	for _, want := range []string{"h1\"} 1", "h2\"} 0", "h3\"} 1"} {
		if !strings.Contains(text, `edge_connections{listener="web",proto="`+want) {
			t.Errorf("not %s:\n%s", want, text[strings.Index(text, "edge_connections{"):][:300])
		}
	}
	close(o.end)
	first.wantEnd(t)
}
