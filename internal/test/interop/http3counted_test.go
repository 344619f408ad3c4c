package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// adminAt makes a client of the admin surface at a socket.
func adminAt(t *testing.T, socket string) *http.Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	admin := &http.Client{Transport: &http.Transport{DialContext: dial}}
	t.Cleanup(admin.CloseIdleConnections)
	return admin
}

// Connections of HTTP/3 are listed and counted beside those of TCP.
func TestHTTP3_counted(t *testing.T) {
	t.Parallel()
	socket := testutil.SocketPath(t)
	o := newSlow(t)
	p := startPlaced(t, o, "[admin]\nlisten = \"unix:%s\"\n", socket)
	first := o.begin(t, p.h3(t), p.addr)
	tcp := &http.Client{Transport: &http.Transport{TLSClientConfig: p.client("http/1.1")}}
	fetch(t, tcp, "GET", "https://"+p.addr+"/", nil)
	admin := adminAt(t, socket)
	var list struct {
		Items []struct {
			Listener, Protocol, State string
			Streams                   int
		}
	}
	_, text := testutil.Get(t, admin, "http://edge/v1/connections")
	testutil.Must(t, json.Unmarshal([]byte(text), &list))
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

// counts are the values of a page of metrics, by series.
type counts map[string]float64

func countsOf(t *testing.T, admin *http.Client) counts {
	t.Helper()
	c := make(counts)
	_, page := testutil.Get(t, admin, "http://edge/metrics")
	for line := range strings.Lines(page) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			c[series+"}"] = v
		}
	}
	return c
}

// sum adds up the series of the listener whose names begin so.
func (c counts) sum(name string) (n float64) {
	for series, v := range c {
		if strings.HasPrefix(series, name) && strings.Contains(series, `listener="web"`) {
			n += v
		}
	}
	return n
}

// wantStreams waits until so many streams of HTTP/3 are counted, and returns the page.
func wantStreams(t *testing.T, admin *http.Client, n float64) (c counts) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		c = countsOf(t, admin)
		return c.sum("edge_listener_h3_streams_total") == n
	}, n, " streams")
	return c
}

// What clients of HTTP/3 and noise do is counted for the listener.
func TestHTTP3_metrics(t *testing.T) {
	t.Parallel()
	socket := testutil.SocketPath(t)
	p := startPlaced(t, newSlow(t), "[admin]\nlisten = \"unix:%s\"\n", socket)
	admin, client := adminAt(t, socket), p.h3(t)
	for range 3 {
		fetch(t, client, "GET", "https://"+p.addr+"/", nil)
	}
	c := wantStreams(t, admin, 3)
	in, out := c[`edge_quic_datagrams_total{direction="in",listener="web"}`],
		c[`edge_quic_datagrams_total{direction="out",listener="web"}`]
	if in < 3 || out < 3 {
		t.Errorf("%v datagrams came, %v left", in, out)
	}
	for _, name := range []string{
		"edge_quic_dropped_total", "edge_quic_retries_total", "edge_quic_refused_total", "edge_quic_resets_sent_total",
		"edge_quic_moves_total", "edge_quic_faults_total", "edge_listener_h3_faults_total",
	} {
		if n := c.sum(name); n != 0 {
			t.Errorf("%s: %v", name, n)
		}
	}
	over := map[string]float64{}
	for series, n := range c {
		if strings.HasPrefix(series, "edge_tls_handshakes_total{") {
			over[series[strings.Index(series, "transport="):strings.Index(series, ",version=")]] += n
		}
	}
	if over[`transport="quic"`] != 1 || over[`transport="tcp"`] != 0 {
		t.Errorf("handshakes: %v", over)
	}
	noise, err := net.Dial("udp4", p.addr)
	testutil.Must(t, err)
	defer noise.Close()
	for range 5 {
		if _, err := noise.Write([]byte("noise")); err != nil {
			t.Fatal(err)
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		c = countsOf(t, admin)
		return c[`edge_quic_dropped_total{listener="web",why="unknown"}`] == 5 && c.sum("edge_quic_dropped_total") == 5
	}, "5 datagrams are dropped")
}

// Counters of HTTP/3 go on while a listener that a reload takes away has connections, and when a reload names it again,
// before the UDP port is closed or afterwards.
func TestHTTP3_metricsOverReloads(t *testing.T) {
	t.Parallel()
	socket, o := testutil.SocketPath(t), newSlow(t)
	p := startPlaced(t, o, "[admin]\nlisten = \"unix:%s\"\n", socket)
	with, without := p.listener(`"h1", "h2", "h3"`), "[[listeners]]\nname = \"other\"\nlisten = \"127.0.0.1:0\"\n"
	admin := adminAt(t, socket)
	first := o.begin(t, p.h3(t), p.addr)
	before := wantStreams(t, admin, 1).sum("edge_quic_datagrams_total")
	never := func(what string) {
		t.Helper()
		n := countsOf(t, admin).sum("edge_quic_datagrams_total")
		if n < before {
			t.Errorf("%s: %v datagrams, before %v", what, n, before)
		}
		before = n
	}
	p.reload(t, without)
	p.tcpClosed(t)
	wantStreams(t, admin, 1)
	never("while the port closes")
	p.reload(t, with)
	p.well(t, "named again")
	wantStreams(t, admin, 2)
	never("named again")
	p.reload(t, without)
	close(o.end)
	first.wantEnd(t)
	p.closed(t)
	wantStreams(t, admin, 2)
	never("closed")
	p.reload(t, with)
	p.well(t, "at last")
	wantStreams(t, admin, 3)
	never("at last")
}

// What a listener counts after a reload renames it counts under its new name. What it counted before stays under the
// name before, which another listener may have now.
func TestHTTP3_metricsOfARenamedListener(t *testing.T) {
	t.Parallel()
	socket := testutil.SocketPath(t)
	p := startPlaced(t, newSlow(t), "[admin]\nlisten = \"unix:%s\"\n", socket)
	admin, web := adminAt(t, socket), p.listener(`"h1", "h2", "h3"`)
	site := strings.Replace(web, `"web"`, `"site"`, 1)
	other := strings.Replace(web, p.addr, testutil.FreeAddr(t), 1)
	came := func(name string) float64 {
		return countsOf(t, admin)[fmt.Sprintf(`edge_quic_datagrams_total{direction="in",listener=%q}`, name)]
	}
	p.well(t, "web")
	testutil.Eventually(t, testutil.Patience, func() bool { return came("web") > 2 }, "datagrams are counted")
	p.reload(t, site+other)
	testutil.Eventually(t, testutil.Patience, func() bool {
		p.well(t, "site")
		return came("site") > 2
	}, "datagrams of the new name")
	before, after := came("web"), came("site")
	testutil.Eventually(t, testutil.Patience, func() bool {
		p.well(t, "site")
		return came("site") > after+2
	}, "more datagrams of the new name")
	if n := came("web"); n != before {
		t.Errorf("web: %v datagrams, before %v", n, before)
	}
	p.reload(t, web)
	testutil.Eventually(t, testutil.Patience, func() bool {
		p.well(t, "web again")
		return came("web") > before+2
	}, "datagrams of the first name")
}
