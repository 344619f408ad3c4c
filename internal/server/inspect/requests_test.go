package inspect

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/exchange/recent"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

const slowIs = 20 * time.Millisecond

// whyRig is a server whose routes lead to backends that do well and badly.
type whyRig struct {
	server    *server.Server
	inspector *Inspector
	url       string // of the plain listener
	secure    string
	client    *http.Client
	hangs     chan net.Conn // connections of which a request has come that is not answered
	good      string
	refusing  string
	text      string // of the configuration
}

// kept remembers enough for each test.
const kept = 64

func newWhyRig(t *testing.T) *whyRig {
	t.Helper()
	w := &whyRig{hangs: make(chan net.Conn, 8), good: origin(t), refusing: testutil.FreeAddr(t)}
	slow := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		<-time.After(2 * slowIs)
		rw.WriteHeader(http.StatusTeapot)
	})}
	slowAt := testutil.Listen(t)
	go func() { _ = slow.Serve(slowAt) }()
	t.Cleanup(func() { _ = slow.Close() })
	hang := testutil.Serve(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		w.hangs <- c
	})
	failing := testutil.Serve(t, func(c net.Conn) {
		defer c.Close()
		for {
			if _, err := c.Read(make([]byte, 4096)); err != nil {
				return
			}
			fmt.Fprint(c, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
		}
	})
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	ca.IssueTo(t, dir, "a", nil, "example.org")
	route := func(name, to string) string {
		return fmt.Sprintf("[[routes]]\nname = %q\npattern = \"/%s\"\ndest = %q\n", name, name, to)
	}
	upstream := func(name string, addresses ...string) string {
		return fmt.Sprintf("[upstreams.%s]\nload_balancing = \"round_robin\"\nbackends = [ { address = \"%s\" } ]\n",
			name, strings.Join(addresses, "\" }, { address = \""))
	}
	w.text = "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\naccess_log = false\n" +
		"request_id = { accept = \"all\" }\n" +
		fmt.Sprintf("[[listeners]]\nname = \"secure\"\nlisten = \"127.0.0.1:0\"\naccess_log = false\ntls = true\n"+
			"request_id = true\ncert = %q\nkey = %q\n", filepath.Join(dir, "a.pem"), filepath.Join(dir, "a.key")) +
		route("good", "good") + route("slow", "slow") + route("hang", "hang") + route("dead", "dead") +
		route("half", "half") + route("failing", "failing") + route("own", "status:503") +
		upstream("good", w.good) + upstream("slow", slowAt.Addr().String()) + upstream("hang", hang.Addr().String()) +
		upstream("dead", w.refusing) + upstream("half", w.refusing, w.good) +
		upstream("failing", failing.Addr().String())
	w.server, w.inspector = start(t, w.text)
	w.server.Parts().Proxy.Remember(kept, slowIs)
	for _, a := range w.server.Addresses() {
		if w.url = "http://" + a.Addr.String(); a.TLS {
			w.secure = "https://" + a.Addr.String()
		}
	}
	w.url = "http://" + w.server.Addresses()[0].Addr.String()
	config := &tls.Config{RootCAs: ca.Pool, ServerName: "example.org"}
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: config}
	t.Cleanup(tr.CloseIdleConnections)
	w.client = &http.Client{Transport: tr, Timeout: testutil.Patience}
	return w
}

// ask has the server asked for a URL, and returns what is remembered of that under the number in the answer.
func (w *whyRig) ask(t *testing.T, url string) admin.Request {
	t.Helper()
	resp, _ := testutil.Get(t, w.client, url)
	return w.why(t, resp.Header.Get("X-Request-Id"))
}

// why returns what is remembered of a request, as soon as something is.
func (w *whyRig) why(t *testing.T, id string) (one admin.Request) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		list, err := w.inspector.Requests(context.Background(), &admin.RequestQuery{ID: id}, w.version)
		if errors.Is(err, admin.ErrUnknown) {
			return false // the client has its answer before the request has ended
		}
		if err != nil || len(list) != 1 {
			t.Fatalf("%q: %d requests, %v", id, len(list), err)
		}
		one = list[0]
		return true
	}, "request", id, "is remembered")
	return one
}

func (w *whyRig) version(uint16) int { return 7 }

// want compares what is remembered with what a test expects.
func want(t *testing.T, r *admin.Request, status int, reason string, attempts int, explained ...string) {
	t.Helper()
	text, _ := json.Marshal(r)
	if r.Status != status || r.Reason != reason || r.Attempts != attempts {
		t.Errorf("want %d %q after %d attempts: %s", status, reason, attempts, text)
	}
	for _, part := range explained {
		if !strings.Contains(r.Explained, part) {
			t.Errorf("%q is not in %q: %s", part, r.Explained, text)
		}
	}
	names := ""
	for _, p := range r.Phases {
		names += " " + p.Name
	}
	if !strings.HasSuffix(names, " end") || r.Version != 7 || r.Began.IsZero() {
		t.Errorf("%s: %s", names, text)
	}
}

func TestInspector_requests(t *testing.T) {
	w := newWhyRig(t)
	good := w.ask(t, w.url+"/good")
	want(t, &good, 200, "", 1, "It was answered with 200")
	if good.Route != "good" || good.Upstream != "good" || good.Listener != "web" || good.Protocol != "HTTP/1.1" ||
		len(good.Tries) != 1 || good.Tries[0].Backend != w.good || good.Tries[0].Outcome != "answered" ||
		!strings.HasPrefix(good.Client, "127.0.0.1:") || good.TLS || good.Reused ||
		good.BytesOut != uint64(len(w.good)) {
		t.Errorf("%+v", good)
	}
	slow := w.ask(t, w.url+"/slow")
	want(t, &slow, 418, "", 1, "Of ", "until "+slow.Tries[0].Backend+" began to answer")
	dead := w.ask(t, w.url+"/dead")
	want(t, &dead, 502, "backend:connect", 1, "The backend refused the connection: "+w.refusing)
	if !dead.Own || dead.EndedBy != "backend" || !strings.HasPrefix(dead.Try, "does it run") {
		t.Errorf("%+v", dead)
	}
	failing := w.ask(t, w.url+"/failing")
	want(t, &failing, 503, "", 1, "came from "+failing.Tries[0].Backend)
	own := w.ask(t, w.url+"/own")
	want(t, &own, 503, "", 0, "The route answers 503 by itself")
	nowhere := w.ask(t, w.url+"/nowhere")
	want(t, &nowhere, 404, "edge:route", 0, "There is nothing at this address.")
	secure := w.ask(t, w.secure+"/good")
	want(t, &secure, 200, "", 1)
	if !secure.TLS || secure.Protocol != "HTTP/2" || secure.Listener != "secure" {
		t.Errorf("%+v", secure)
	}
}

// A request that a refusing backend got first says which one that was.
func TestInspector_requestsTriedAgain(t *testing.T) {
	w := newWhyRig(t)
	for range 4 {
		one := w.ask(t, w.url+"/half")
		if one.Attempts == 1 {
			continue
		}
		want(t, &one, 200, "", 2, "The first of 2 attempts failed: "+w.refusing+", backend:connect")
		if len(one.Tries) != 2 || one.Tries[0].Backend != w.refusing || one.Tries[0].Outcome != "backend:connect" ||
			one.Tries[1].Backend != w.good || one.Tries[1].Outcome != "answered" || one.Tries[1].Attempt != 2 {
			t.Errorf("%+v", one.Tries)
		}
		return
	}
	t.Error("no request came to the backend that refuses")
}

// A client that leaves is told apart from a backend that fails, by the numbers that it gave its request.
func TestInspector_requestsOfClientsThatLeave(t *testing.T) {
	w := newWhyRig(t)
	c := testutil.Dial(t, strings.TrimPrefix(w.url, "http://"))
	c.Send("GET /hang HTTP/1.1\r\nHost: a\r\nX-Request-Id: order-66\r\n\r\n")
	backend := <-w.hangs
	c.Close()
	one := w.why(t, "order-66")
	want(t, &one, 499, "client:gone", 1, "The client left after",
		"while "+backend.LocalAddr().String()+" had the request", "had not begun to answer")
	if one.ID != "order-66" || one.EndedBy != "client" || one.Tries[0].Outcome != "no answer" {
		t.Errorf("%+v", one)
	}
	list, err := w.inspector.Requests(context.Background(), &admin.RequestQuery{Most: 5}, w.version)
	if err != nil || len(list) != 1 || list[0].Reason != "client:gone" {
		t.Fatalf("%+v %v", list, err)
	}
	if again := w.why(t, list[0].ID); again.Took != one.Took || again.Client != one.Client {
		t.Errorf("its own number leads to %+v", again)
	}
	backend.Close()
}

// What was bad is remembered while others pass. Without it there is nothing to be found, and no memory.
func TestInspector_requestsForgotten(t *testing.T) {
	w := newWhyRig(t)
	resp, _ := testutil.Get(t, w.client, w.url+"/own")
	bad := resp.Header.Get("X-Request-Id")
	resp, _ = testutil.Get(t, w.client, w.url+"/good")
	good := resp.Header.Get("X-Request-Id")
	w.why(t, good)
	for range 3 * kept { // twice as many as both event loops remember, and more
		testutil.Get(t, w.client, w.url+"/nowhere")
	}
	w.why(t, bad)
	list, err := w.inspector.Requests(context.Background(), &admin.RequestQuery{Most: 1000, All: true}, w.version)
	if err != nil || len(list) < kept || len(list) > 2*kept+1 {
		t.Errorf("%d requests, %v", len(list), err)
	}
	for i := 1; i < len(list); i++ {
		if end := func(r *admin.Request) time.Time { return r.Began.Add(time.Duration(r.Took)) }; end(&list[i]).After(
			end(&list[i-1]).Add(2 * time.Microsecond)) {
			t.Fatalf("%v comes after %v", list[i].Began, list[i-1].Began)
		}
	}
	w.server.Parts().Proxy.Remember(0, 0)
	_, err = w.inspector.Requests(context.Background(), &admin.RequestQuery{ID: bad}, w.version)
	if !errors.Is(err, admin.ErrUnknown) || !strings.Contains(err.Error(), "why = 0") {
		t.Error(err)
	}
	w.server.Parts().Proxy.Remember(kept, slowIs)
	_, err = w.inspector.Requests(context.Background(), &admin.RequestQuery{ID: bad}, w.version)
	if !errors.Is(err, admin.ErrUnknown) || !strings.Contains(err.Error(), "the last 64 of its event loop") {
		t.Error(err)
	}
}

// A request belongs to the routes that it was served by, whatever a reload has made of them.
func TestInspector_requestsOfAGenerationBefore(t *testing.T) {
	w := newWhyRig(t)
	before := uint16(w.server.Parts().Proxy.Generation())
	old := w.ask(t, w.url+"/own")
	cfg, rep := config.Parse("edge.toml", []byte("worker_threads = 2\n"+strings.Replace(w.text, `name = "own"`,
		`name = "renamed"`, 1)))
	if !rep.OK() {
		t.Fatal(rep.Errors[0].Error())
	}
	if _, err := w.server.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	now := w.ask(t, w.url+"/own")
	if old.Route != "own" || now.Route != "renamed" {
		t.Errorf("%q and %q", old.Route, now.Route)
	}
	version := func(snapshot uint16) int {
		return map[uint16]int{before: 3, uint16(w.server.Parts().Proxy.Generation()): 4}[snapshot]
	}
	for id, want := range map[string]int{old.ID: 3, now.ID: 4} {
		list, err := w.inspector.Requests(context.Background(), &admin.RequestQuery{ID: id}, version)
		if err != nil || len(list) != 1 || list[0].Version != want {
			t.Errorf("%+v %v, want version %d", list, err, want)
		}
	}
}

// A name that is not remembered any more is that of the version.
func TestNameOf(t *testing.T) {
	for _, c := range []struct {
		n       uint32
		version int
		want    string
	}{{0, 1, ""}, {1 << 31, 12, "route of version 12"}, {1 << 31, 0, "route that is gone"}} {
		if got := nameOf(c.n, "route", c.version); got != c.want {
			t.Errorf("%d: %q", c.n, got)
		}
	}
}

// Each end of a request has its sentence.
func TestExplain(t *testing.T) {
	ms := func(n int64) recent.Span { return recent.Bounded(n * 1e6) }
	gone := recent.NumberOf(recent.Reason{Word: "client:gone"})
	queue := recent.NumberOf(recent.Reason{Word: "edge:max_requests", Text: "They are full."})
	method := recent.NumberOf(recent.Reason{Word: "method", Text: "no cache answers it"})
	hit, miss, bypass := recent.CacheFlags(1), recent.CacheFlags(4), recent.CacheFlags(5)|recent.OfCache
	for _, c := range []struct {
		r    recent.Record
		want string
	}{
		{recent.Record{Status: 200, Flags: hit, End: ms(1)}, "It was answered with 200, by the cache."},
		{recent.Record{Status: 503, Flags: hit, End: ms(9)}, "503, by the cache. Of 9ms the most, 9ms, went by until"},
		{recent.Record{Status: 200, Flags: miss, End: ms(9)}, "until the answer to another request for the same came"},
		{recent.Record{Status: 200, Flags: bypass, Reason: method, End: ms(1)}, "It was answered with 200."},
		{recent.Record{Status: 503, Flags: miss, Reason: queue, End: ms(1)}, "They are full."},
		{recent.Record{Status: 200, Flags: hit, Reason: gone, End: ms(9), BytesOut: 7}, "the answer: it took 7 bytes"},
		{recent.Record{Status: 499, Flags: hit, Reason: gone, End: ms(9)}, "before the request was sent to a backend"},
		{recent.Record{Status: 200, Sent: ms(1), FirstByte: ms(2), LastByte: ms(3), End: ms(4)},
			"It was answered with 200."},
		{recent.Record{Status: 200, Queue: ms(50), Sent: ms(51), FirstByte: ms(52), LastByte: ms(53), End: ms(54)},
			"Of 54ms the most, 50ms, went by waiting for a connection"},
		{recent.Record{Status: 200, Lookup: ms(50), Sent: ms(51), FirstByte: ms(52), End: ms(54)},
			"looking the name of the backend up"},
		{recent.Record{Status: 200, Connect: ms(50), TLS: ms(10), Sent: ms(51), FirstByte: ms(52), End: ms(54)},
			"the most, 40ms, went by connecting"},
		{recent.Record{Status: 200, Connect: ms(50), TLS: ms(40), Sent: ms(51), FirstByte: ms(52), End: ms(54)},
			"the TLS handshake"},
		{recent.Record{Status: 200, Sent: ms(50), FirstByte: ms(52), End: ms(54)},
			"for which the client takes its time"},
		{recent.Record{Status: 200, Sent: ms(1), FirstByte: ms(2), LastByte: ms(50), End: ms(51)},
			"until the answer was whole"},
		{recent.Record{Status: 200, Sent: ms(1), FirstByte: ms(2), LastByte: ms(3), End: ms(51)},
			"until the client had taken the answer"},
		{recent.Record{Status: 200, Reason: gone, Sent: ms(1), FirstByte: ms(2), End: ms(51), BytesOut: 9},
			"during the answer: it took 9 bytes"},
		{recent.Record{Status: 200, Reason: gone, Sent: ms(1), FirstByte: ms(2), LastByte: ms(4), End: ms(51)},
			"when edge had the whole answer"},
		{recent.Record{Status: 499, Reason: gone, End: ms(51), Queue: ms(51)}, "waited for a backend that has room"},
		{recent.Record{Status: 499, Reason: gone, End: ms(51)}, "before the request was sent to a backend"},
		{recent.Record{Status: 503, Reason: queue, Flags: recent.Own | recent.Denied},
			"They are full. Another attempt"},
		{recent.Record{Status: 200, Call: 15, FirstByte: ms(1), End: ms(2)}, "the status 14 of gRPC"},
		{recent.Record{Status: 400, Flags: recent.Own | recent.Refused,
			Reason: recent.NumberOf(recent.Reason{Word: "client:nonsense"})}, "It failed: client:nonsense."},
	} {
		one := describeRequest(&remembered{Record: c.r}, 1)
		if !strings.Contains(one.Explained, c.want) || !strings.HasSuffix(one.Explained, ".") {
			t.Errorf("%q is not in %q", c.want, one.Explained)
		}
	}
}

// What a cache did is in a sentence of its own, and its reason is not the reason of a failure.
func TestDescribeRequest_cache(t *testing.T) {
	full := recent.NumberOf(recent.Reason{Word: "edge:full"})
	cookie := recent.NumberOf(recent.Reason{
		Word: "set-cookie", Text: "the answer sets a cookie", Try: "set_cookie = \"strip\"",
	})
	purged, miss := recent.NumberOf(recent.Reason{Word: "purged"}), recent.CacheFlags(4)
	for _, c := range []struct {
		r                        recent.Record
		cache, reason, explained string
		failure                  string
	}{
		{recent.Record{}, "", "", "", ""},
		{recent.Record{Flags: recent.CacheFlags(1)}, "hit", "", "hit", ""},
		{recent.Record{Flags: miss | recent.OfCache | recent.Unstored, Reason: cookie}, "miss", "set-cookie",
			`miss, not stored: set-cookie (the answer sets a cookie). Try: set_cookie = "strip"`, ""},
		{recent.Record{Flags: miss | recent.OfCache, Reason: purged}, "miss", "purged", "miss: purged", ""},
		{recent.Record{Flags: miss, Reason: full}, "miss", "", "miss", "edge:full"},
	} {
		one := describeRequest(&remembered{Record: c.r}, 1)
		if one.Cache != c.cache || one.CacheReason != c.reason || one.CacheExplained != c.explained ||
			one.Reason != c.failure {
			t.Errorf("%q %q %q %q, want %+v", one.Cache, one.CacheReason, one.CacheExplained, one.Reason, c)
		}
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 312: "312ns", 1234567: "1.23ms", 31234567: "31.2ms", 312345678: "312ms", 1312345678: "1.31s",
		90 * time.Second: "1m30s",
	} {
		if got := Short(d); got != want {
			t.Errorf("%d: %s, not %s", d, got, want)
		}
	}
}

// A head that is too large is explained by the keys that bound it.
func TestInspector_headsTooLarge(t *testing.T) {
	large := testutil.Serve(t, func(c net.Conn) {
		defer c.Close()
		_, _ = c.Read(make([]byte, 4096))
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Long: %s\r\n\r\n", strings.Repeat("x", 20000))
	})
	server, inspector := start(t, fmt.Sprintf("http = { listen = \"127.0.0.1:0\", access_log = false }\n"+
		"[[routes]]\npattern = \"/*\"\ndest = %q\n", large.Addr()))
	server.Parts().Proxy.Remember(kept, slowIs)
	for _, c := range []struct {
		target, field string
		status        int
		try           string
	}{
		{"/", "", 502, "limits.header_size, header_count and field_size of the upstream"},
		{"/?" + strings.Repeat("q", 9000), "", 414, "limits.target_size of the listener"},
		{"/", strings.Repeat("x", 20000), 431, "limits.header_size, header_count and field_size of the listener"},
	} {
		w := testutil.Dial(t, server.Addresses()[0].Addr.String())
		w.Send("GET " + c.target + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Long: " + c.field + "\r\n\r\n")
		if resp, _ := w.ReadResponse("GET"); resp.StatusCode != c.status {
			t.Fatalf("%d, want %d", resp.StatusCode, c.status)
		}
		var one admin.Request
		testutil.Eventually(t, testutil.Patience, func() bool {
			list, err := inspector.Requests(context.Background(), &admin.RequestQuery{Most: 1, All: true},
				func(uint16) int { return 7 })
			if err != nil {
				t.Fatal(err)
			}
			if len(list) > 0 {
				one = list[0]
			}
			return one.Status == c.status
		}, "%d is remembered", c.status)
		if !strings.HasPrefix(one.Try, c.try) {
			t.Errorf("%d: %q, %q", c.status, one.Explained, one.Try)
		}
	}
}
