package inspect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/exchange/recent"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// start serves a configuration until the test ends.
func start(t *testing.T, text string) (*server.Server, *Inspector) {
	t.Helper()
	cfg, rep := config.Parse("edge.toml", []byte("worker_threads = 2\n"+text))
	if !rep.OK() {
		t.Fatal(rep.Errors[0].Error())
	}
	s, err := server.New(cfg, server.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop() })
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return s, New(s)
}

// origin answers each request with its own address.
func origin(t *testing.T) string {
	t.Helper()
	l := testutil.Serve(t, func(c net.Conn) {
		defer c.Close()
		in := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			text := c.LocalAddr().String()
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		}
	})
	return l.Addr().String()
}

// served asks for so many answers, and returns which backends they were of.
func served(t *testing.T, url string, n int) map[string]int {
	t.Helper()
	by := make(map[string]int)
	for range n {
		_, body := testutil.Get(t, http.DefaultClient, url)
		by[body]++
	}
	return by
}

func TestInspector_drainsAndEnables(t *testing.T) {
	first, second := origin(t), origin(t)
	s, v := start(t, `
[http]
listen = "127.0.0.1:0"
access_log = false
[[routes]]
name = "all"
pattern = "/*"
dest = "api"
[upstreams.api]
load_balancing = "round_robin"
backends = [ { address = "`+first+`", weight = 2 }, { address = "`+second+`" } ]
`)
	url := "http://" + s.Addresses()[0].Addr.String()
	change := func(c admin.BackendChange) *admin.Backend {
		t.Helper()
		b, err := v.ChangeBackend("api", first, &c)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := change(admin.BackendChange{State: admin.BackendDraining})
	if b.State != admin.BackendDraining || b.Until != nil || fmt.Sprint(b.Reasons) != "[{draining operator}]" {
		t.Errorf("%+v", b)
	}
	if by := served(t, url, 6); by[second] != 6 {
		t.Errorf("while the first one drains: %v", by)
	}
	if st := v.States(); len(st) != 1 || st[0] != (admin.UpstreamState{Name: "api", Serving: 1, Backends: 2}) {
		t.Errorf("%+v", st)
	}
	if b := change(admin.BackendChange{State: admin.BackendDown}); b.State != admin.BackendDown {
		t.Errorf("%+v", b)
	}
	if b := change(admin.BackendChange{State: admin.BackendServing}); b.State != admin.BackendServing || b.Weight != 2 {
		t.Errorf("%+v", b)
	}
	if by := served(t, url, 6); by[first] != 4 {
		t.Errorf("after it was enabled: %v", by)
	}
	half := 0.5
	b = change(admin.BackendChange{Share: &half, For: admin.Duration(time.Hour)})
	if b.Share != 0.5 || b.Until == nil {
		t.Errorf("%+v", b)
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		by := served(t, url, 2)
		return by[first] == 1
	}, "half of its weight is as much as the other one has")
	change(admin.BackendChange{State: admin.BackendDraining, For: admin.Duration(time.Millisecond)})
	testutil.Eventually(t, testutil.Patience, func() bool {
		b := v.Upstreams()[0].Backends[0]
		return b.State == admin.BackendServing && b.Until != nil && b.Share == 0.5
	}, "the drain ends by itself")

	for _, c := range [][2]string{{"none", first}, {"api", "127.0.0.1:1"}} {
		if _, err := v.ChangeBackend(c[0], c[1], &admin.BackendChange{}); !errors.Is(err, admin.ErrUnknown) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if r := v.Routes(); len(r) != 1 || r[0].To != "api" || r[0].Kind != "upstream" || r[0].Match != "prefix" {
		t.Errorf("%+v", r)
	}
}

// What an operator has asked for does not disturb other reasons, and a later request takes the place of the end of an
// earlier one.
func TestAsked_change(t *testing.T) {
	set := backend.Of("127.0.0.1:1")
	m := set.Members()[0]
	m.Down(backend.Health)
	var a asked
	change := func(c admin.BackendChange) {
		c.Force = true
		if found, err := a.changeAt(set.Members(), m.Address(), &c); found != m || err != nil {
			t.Errorf("%v, %v", found, err)
		}
	}
	change(admin.BackendChange{State: admin.BackendDraining, For: admin.Duration(time.Hour)})
	first := a.until(m)
	change(admin.BackendChange{State: admin.BackendDown})
	if a.until(m) != nil || first == nil || m.Reasons() != backend.Health|backend.Operator {
		t.Errorf("%v %v %s", first, a.until(m), m.Reasons())
	}
	change(admin.BackendChange{State: admin.BackendServing, For: admin.Duration(time.Hour)})
	if a.until(m) != nil || m.Reasons() != backend.Health || m.Part() != 1 {
		t.Errorf("%v %s", a.until(m), m.Reasons())
	}
}

// The state of a backend and its share have ends of their own. An end brings back what was asked for without one.
func TestAsked_ends(t *testing.T) {
	const ends, hour = admin.Duration(time.Minute), admin.Duration(time.Hour)
	quarter, half := new(0.25), new(0.5)
	for name, c := range map[string]struct {
		changes []admin.BackendChange
		state   admin.BackendState
		share   float64
		before  admin.BackendState // before the end
	}{
		"a drain keeps the share": {[]admin.BackendChange{{Share: quarter}, {State: admin.BackendDraining, For: ends}},
			admin.BackendServing, 0.25, admin.BackendDraining},
		"a share keeps the end of a drain": {[]admin.BackendChange{{State: admin.BackendDraining, For: ends},
			{Share: half}}, admin.BackendServing, 0.5, admin.BackendDraining},
		"a share for a time": {[]admin.BackendChange{{Share: quarter}, {Share: half, For: ends}},
			admin.BackendServing, 0.25, admin.BackendServing},
		"one drain after another": {[]admin.BackendChange{{State: admin.BackendDraining, For: hour},
			{State: admin.BackendDown, For: ends}}, admin.BackendServing, 1, admin.BackendDown},
		"down again": {[]admin.BackendChange{{State: admin.BackendDown},
			{State: admin.BackendDraining, For: ends}}, admin.BackendDown, 1, admin.BackendDraining},
		"a share to the end of a drain": {[]admin.BackendChange{{Share: quarter},
			{State: admin.BackendDraining, Share: half, For: ends}}, admin.BackendServing, 0.25, admin.BackendDraining},
		"serving takes back all": {[]admin.BackendChange{{State: admin.BackendDraining, Share: half, For: ends},
			{State: admin.BackendServing}}, admin.BackendServing, 1, admin.BackendServing},
		"a drain that stays": {[]admin.BackendChange{{State: admin.BackendDraining, For: ends},
			{State: admin.BackendDraining}}, admin.BackendDraining, 1, admin.BackendDraining},
	} {
		t.Run(name, func(t *testing.T) {
			testutil.Bubble(t, func(t *testing.T) {
				members := backend.Of("127.0.0.1:1").Members()
				m := members[0]
				var a asked
				for _, change := range c.changes {
					change.Force = true
					if _, err := a.changeAt(members, m.Address(), &change); err != nil {
						t.Fatal(err)
					}
				}
				if got := stateOf(m); got != c.before {
					t.Errorf("before the end: %s, want %s", got, c.before)
				}
				time.Sleep(time.Duration(ends) + time.Second)
				synctest.Wait()
				if got := stateOf(m); got != c.state || m.Part() != c.share || a.until(m) != nil {
					t.Errorf("%s with %v until %v, want %s with %v", got, m.Part(), a.until(m), c.state, c.share)
				}
			})
		})
	}
}

func TestInspector_connections(t *testing.T) {
	s, v := start(t, `
listeners = [{ name = "web", listen = "127.0.0.1:0", access_log = false, protocols = ["h1", "h2"] }]
routes = [{ pattern = "/*", dest = "status:204" }]
`)
	addr := s.Addresses()[0].Addr.String()
	const open = 600 // more than one task looks at
	for range open {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	h2c := testutil.H2C(t)
	testutil.Get(t, h2c, "http://"+addr+"/")
	testutil.Get(t, h2c, "http://"+addr+"/")
	all := func(*admin.Connection) bool { return true }
	testutil.Eventually(t, testutil.Patience, func() bool {
		begun := func(c *admin.Connection) bool { return c.Requests > 0 }
		list, _, err := v.Connections(context.Background(), "", 1000, begun)
		return err == nil && len(list) == open+1
	}, "all are listed")

	seen, pages, cursor := make(map[string]int), 0, ""
	for {
		list, next, err := v.Connections(context.Background(), cursor, 100, all)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			seen[c.ID]++
		}
		if pages++; next == "" {
			break
		}
		if len(list) != 100 {
			t.Errorf("page %d has %d connections and is not the last one", pages, len(list))
		}
		cursor = next
	}
	if len(seen) != open+1 || pages != 7 {
		t.Errorf("%d connections on %d pages", len(seen), pages)
	}
	keep, err := admin.ParseFilter(`protocol == h2 && requests >= 2 && state == "idle" && listener == web`)
	if err != nil {
		t.Fatal(err)
	}
	list, next, err := v.Connections(context.Background(), "", 1000, keep)
	if err != nil || next != "" || len(list) != 1 || list[0].Streams != 0 || list[0].TLS != "" {
		t.Errorf("%+v %q %v", list, next, err)
	}
	if l := v.Listeners(); len(l) != 1 || l[0].Connections != open+1 || l[0].Name != "web" {
		t.Errorf("%+v", l)
	}
	for _, bad := range []string{"x", "0.0", "9.0.0", "0.-1.0", "0.0.0.0", "0.99999999999.0"} {
		if _, _, err := v.Connections(context.Background(), bad, 1, all); !errors.Is(err, admin.ErrInvalid) {
			t.Errorf("cursor %q: %v", bad, err)
		}
	}
}

// An event loop that does not answer costs the caller its time, and nothing else.
func TestInspector_connectionsOfAStoppedServer(t *testing.T) {
	s, v := start(t, "[http]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:204\"\n")
	_ = s.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := v.Connections(ctx, "", 1, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Of two backends that are drained at the same time one is left.
func TestAsked_drainsOfAllAtATime(t *testing.T) {
	for range 200 {
		set := backend.Of("127.0.0.1:1", "127.0.0.1:2")
		var a asked
		var group sync.WaitGroup
		var refused atomic.Int32
		for _, address := range []string{"127.0.0.1:1", "127.0.0.1:2"} {
			group.Go(func() {
				_, err := a.changeAt(set.Members(), address, &admin.BackendChange{State: admin.BackendDraining})
				if errors.Is(err, admin.ErrLast) {
					refused.Add(1)
				}
			})
		}
		group.Wait()
		if refused.Load() != 1 {
			t.Fatalf("%d of two drains are refused", refused.Load())
		}
	}
}

// A place of a redirect is shown without the values of parameters that are called as credentials are.
func TestDestText_hidesCredentials(t *testing.T) {
	const text = "[http]\nlisten = \":80\"\n[[routes]]\npattern = \"/*\"\n" +
		"dest = \"redirect:https://a.test/?token=s3cret&id=1&sig=s3cret\"\n"
	c, rep := config.Parse("edge.toml", []byte(text))
	if c == nil {
		t.Fatal(rep.Errors)
	}
	if got := c.DestText(&c.Routes[0].Dest); strings.Contains(got, "s3cret") || !strings.Contains(got, "id=1") {
		t.Error(got)
	}
}

// A connection of a TCP service says where it leads and what came so far; one in its handshake is none yet.
func TestInspector_connectionsOfServices(t *testing.T) {
	backend := testutil.Serve(t, func(c net.Conn) {
		io.Copy(c, c) //nolint:errcheck // the client ends it
		c.Close()
	}).Addr().String()
	s, v := start(t, "log = { output = [] }\n[services.db]\ntype = \"tcp\"\nlisten = \"127.0.0.1:0\"\ndest = \""+
		backend+"\"\n[services.secure]\ntype = \"tcp\"\nlisten = \"127.0.0.1:0\"\ncert = \"internal\"\ndest = \""+
		backend+"\"\n")
	for _, a := range s.Addresses() {
		w := testutil.Dial(t, a.Addr.String())
		if a.TLS {
			w.Send("\x16\x03\x01") // the begin of a ClientHello
			continue
		}
		w.Send("hello")
		w.Want("hello")
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		list, _, err := v.Connections(context.Background(), "", 9, func(*admin.Connection) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		var tcp, shaking admin.Connection
		for _, c := range list {
			switch c.Listener {
			case "db":
				tcp = c
			case "secure":
				shaking = c
			}
		}
		return tcp.Protocol == "tcp" && tcp.Backend == backend && tcp.BytesIn == 5 && tcp.BytesOut == 5 &&
			tcp.Age > tcp.Idle && tcp.Idle > 0 && shaking.Protocol == "handshake" && shaking.Backend == ""
	}, "both are as they should be")
}

// The sentence about a connection says what happened, when, and what came before.
func TestExplain_connections(t *testing.T) {
	var tag observe.Tag
	member := tag.Of("10.0.0.7:1")
	for _, c := range []struct {
		status  uint16
		took    time.Duration
		connect recent.Span
		why     recent.Reason
		tries   uint8
		want    string
	}{
		{200, 2 * time.Second, 1, recent.Reason{}, 1, "Both sides have ended it, 2s after the client came."},
		{200, 26 * time.Hour, recent.SpanOf(3e7), recent.Reason{Word: "edge:idle", Text: "No byte came."}, 1,
			"No byte came, 25h59m59s after the client came. It took 30ms until 10.0.0.7:1 was connected to."},
		{499, time.Second, 0, recent.Reason{Word: "client:gone", Text: "The client left early."}, 1,
			"The client left early, 1s after the client came."},
		{502, time.Second, 0, recent.Reason{Word: "backend:connect", Text: "It refused."}, 2,
			"No backend of u could be connected to. The last attempt, at 10.0.0.7:1, ended 1s after the client came: " +
				"It refused. The first of 2 attempts failed: 10.0.0.7:1, backend:connect (It refused)."},
	} {
		r := remembered{Record: recent.Record{Proto: observe.ProtoTCP, Status: c.status, Connect: c.connect,
			Attempts: c.tries, Upstream: new(observe.Tag).Of("u")}}
		r.SetTook(int64(c.took) + 1<<20)
		r.Tries = [2]recent.Try{recent.MakeTry(member, 0, 0), {Backend: member}}
		if c.why.Word != "" {
			r.Reason = recent.NumberOf(c.why)
			r.Tries[0] = recent.MakeTry(member, r.Reason, time.Second)
		}
		one := describeRequest(&r, 0)
		if one.Protocol != "TCP" || one.Explained != c.want {
			t.Errorf("%s %q, want %q", one.Protocol, one.Explained, c.want)
		}
	}
}
