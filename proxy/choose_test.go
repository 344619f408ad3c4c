package proxy_test

import (
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// named returns the address of an origin that tells its name, and what it was asked.
func named(t *testing.T, name string) string {
	t.Helper()
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, name, " ", r.Host, " ", r.Header.Get("Via"), " ", r.Header.Get("Connection"))
	}))
	t.Cleanup(o.Close)
	return o.Listener.Addr().String()
}

// askFor sends a request and returns status and body.
func askFor(t *testing.T, url string, fields ...string) (int, string) {
	t.Helper()
	req := newGet(t, url, fields)
	req.Host = "site.test"
	resp, body := testutil.Do(t, http.DefaultClient, req)
	return resp.StatusCode, body
}

// A filter sends each request where it wants, and it goes there as if the route led there.
func TestChoose_byAFilter(t *testing.T) {
	for name, to := range map[string]func(proxy.Destination) proxy.Destination{
		"instead of an upstream": func(d proxy.Destination) proxy.Destination { return d },
		"instead of an answer":   func(proxy.Destination) proxy.Destination { return proxy.Answer(200, "", "none") },
		"a function of the route": func(d proxy.Destination) proxy.Destination {
			return proxy.DestinationFunc(func(*proxy.Exchange) proxy.Destination { return d })
		},
	} {
		t.Run(name, func(t *testing.T) {
			var one, two proxy.Destination
			choose := &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
				switch x.Request.Get("X-To") {
				case "one":
					x.SetDestination(one)
				case "two":
					x.SetDestination(one)
					x.SetDestination(two)
				case "answer":
					x.SetDestination(proxy.Answer(299, "", "an answer"))
				}
				return proxy.Next
			}}
			r := newRig(t, func(e *engine.Engine) []proxy.Route {
				one, two = leadTo(e, named(t, "one"), ""), leadTo(e, named(t, "two"), "other.test")
				return []proxy.Route{{To: to(one)}}
			}, choose)
			for range 3 {
				for want, status := range map[string]int{
					"one site.test 1.1 edge ": 200, "two other.test 1.1 edge ": 200, "an answer": 299,
				} {
					field := strings.Fields(strings.TrimPrefix(want, "an "))[0]
					got, body := askFor(t, r.url, "X-To", field, "Connection", "x-hop")
					if got != status || body != want {
						t.Errorf("%s: %d %q, want %q", field, got, body, want)
					}
				}
			}
		})
	}
}

// leadTo leads to one backend, with a Host.
func leadTo(e *engine.Engine, address, host string) proxy.Destination {
	return proxy.To(upstream.New(e, upstream.Options{Name: address, Backends: backend.Of(address)}),
		&proxy.ToOptions{Host: host})
}

// A function chooses by the request; one that chooses none, or for ever, has no backend.
func TestChoose_byAFunction(t *testing.T) {
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		one, two := leadTo(e, named(t, "one"), ""), leadTo(e, named(t, "two"), "")
		var circle proxy.DestinationFunc
		circle = func(*proxy.Exchange) proxy.Destination { return circle }
		return []proxy.Route{{To: proxy.DestinationFunc(func(x *proxy.Exchange) proxy.Destination {
			switch string(x.Request.Path()) {
			case "/one":
				return one
			case "/two":
				return proxy.DestinationFunc(func(*proxy.Exchange) proxy.Destination { return two })
			case "/circle":
				return circle
			}
			return nil
		})}}
	})
	for path, want := range map[string]string{
		"/one": "200 one", "/two": "200 two", "/none": "503 ", "/circle": "503 ",
	} {
		status, body := askFor(t, r.url+path)
		if got := fmt.Sprint(status, " ", body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// Where a backend cannot be connected to, a filter sends the request elsewhere, with the host that it had.
func TestChoose_elsewhere(t *testing.T) {
	var dead, spare proxy.Destination
	var asked atomic.Int32
	r := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
		dead, spare = leadTo(e, "127.0.0.1:1", "dead.test"), leadTo(e, named(t, "spare"), "")
		return []proxy.Route{{Path: "/ok", To: dead}, {Path: "/circle", To: dead}}
	}, &proxy.Filter{ConnectFailed: func(x *proxy.Exchange, f *proxy.Error) proxy.Verdict {
		asked.Add(1)
		switch {
		case f.Token != "connection_refused":
			t.Error(f.Token)
		case string(x.Request.Path()) == "/ok":
			x.SetDestination(spare)
		default: // from one dead one to the next
			x.SetDestination(leadTo(x.Reactor().Engine(), "127.0.0.1:1", ""))
		}
		return proxy.Next
	}})
	status, body := askFor(t, r.url+"/ok")
	if status != 200 || body != "spare site.test 1.1 edge " || asked.Load() != 1 {
		t.Errorf("%d %q, asked %d times", status, body, asked.Load())
	}
	asked.Store(0)
	if status, _ := askFor(t, r.url+"/circle"); status != 502 || asked.Load() != 9 {
		t.Errorf("%d, asked %d times", status, asked.Load())
	}
}

// within leads to where another destination leads.
type within struct{ proxy.Destination }

// Where a backend cannot be connected to, a filter may also take back what another one has chosen: the backend of the
// one upstream is not asked for as if it were the other's.
func TestChoose_back(t *testing.T) {
	var dead, home proxy.Destination
	r := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
		dead, home = leadTo(e, "127.0.0.1:1", "dead.test"), leadTo(e, named(t, "home"), "")
		return []proxy.Route{{To: home}}
	}, &proxy.Filter{
		Request: func(x *proxy.Exchange) proxy.Verdict { x.SetDestination(dead); return proxy.Next },
		ConnectFailed: func(x *proxy.Exchange, _ *proxy.Error) proxy.Verdict {
			x.SetDestination(nil)
			return proxy.Next
		},
	})
	if status, body := askFor(t, r.url); status != 200 || body != "home site.test 1.1 edge " {
		t.Errorf("%d %q", status, body)
	}
}

// A function that is chosen then chooses as that of a route does: its answer is passed on as a proxy does.
func TestChoose_elsewhereByAFunction(t *testing.T) {
	var home proxy.Destination
	r := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
		home = leadTo(e, named(t, "home"), "")
		return []proxy.Route{{To: leadTo(e, "127.0.0.1:1", "")}}
	}, &proxy.Filter{ConnectFailed: func(x *proxy.Exchange, _ *proxy.Error) proxy.Verdict {
		switch string(x.Request.Path()) {
		case "/none":
			x.SetDestination(proxy.DestinationFunc(func(*proxy.Exchange) proxy.Destination { return nil }))
		case "/broken":
			x.SetDestination(proxy.DestinationFunc(func(*proxy.Exchange) proxy.Destination { panic(t) }))
		default:
			x.SetDestination(proxy.DestinationFunc(func(*proxy.Exchange) proxy.Destination { return home }))
		}
		return proxy.Next
	}})
	for path, want := range map[string]int{"/": 200, "/none": 503, "/broken": 500} {
		resp, _ := testutil.Get(t, http.DefaultClient, r.url+path)
		if via := resp.Header.Get("Via"); resp.StatusCode != want || want == 200 && via != "1.1 edge" {
			t.Errorf("%s: %s, Via %q", path, resp.Status, via)
		}
	}
}

// A Destination that goes from one upstream to the next asks each for a backend of its own, with the Host of that.
func TestChoose_anotherUpstreamEachTime(t *testing.T) {
	r := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
		set := backend.Of("127.0.0.1:1", "127.0.0.2:1")
		dead := proxy.To(upstream.New(e, upstream.Options{Backends: set}), &proxy.ToOptions{Host: "dead.test"})
		return []proxy.Route{{To: &alternating{dead, leadTo(e, named(t, "home"), "")}}}
	})
	if status, body := askFor(t, r.url); status != 200 || !strings.HasPrefix(body, "home site.test ") {
		t.Errorf("%d %q", status, body)
	}
}

// alternating leads to the second destination where the first one failed.
type alternating [2]proxy.Destination

func (a *alternating) Open(x *proxy.Exchange, to session.Receiver) proxy.Opening {
	return a[min(x.Attempts(), 1)].Open(x, to)
}

// A destination that opens another one is tried as often as that says, be it the route's or chosen.
func TestChoose_within(t *testing.T) {
	for _, chosen := range []bool{false, true} {
		var asked atomic.Int32
		var to proxy.Destination
		r := newRigWith(t, engine.Options{Reactors: 1}, func(e *engine.Engine) []proxy.Route {
			set := backend.Of("127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1")
			to = within{proxy.To(upstream.New(e, upstream.Options{Backends: set, Retries: 1}), nil)}
			return []proxy.Route{{To: to}}
		}, &proxy.Filter{
			Request: func(x *proxy.Exchange) proxy.Verdict {
				if chosen {
					x.SetDestination(to)
				}
				return proxy.Next
			},
			ConnectFailed: func(*proxy.Exchange, *proxy.Error) proxy.Verdict { asked.Add(1); return proxy.Next },
		})
		if status, _ := askFor(t, r.url); status != 502 || asked.Load() != 2 {
			t.Errorf("chosen %v: %d, %d attempts", chosen, status, asked.Load())
		}
	}
}

// hashing is a method of balancing as an importer writes one: the key decides, and the next one where that was tried.
type hashing struct{}

func (hashing) Pick(v *balance.View, _ *balance.Local, q *balance.Request) int {
	for k := range v.Len() {
		if i := (int(q.Key%uint64(v.Len())) + k) % v.Len(); v.Open(i) && !q.Tried.Has(i) {
			return i
		}
	}
	return -1
}

// The requests of one key go to one backend, and spread over all by their keys; a dead one is replaced by the next.
func TestChoose_picker(t *testing.T) {
	seed := maphash.MakeSeed()
	r := newRig(t, func(e *engine.Engine) []proxy.Route {
		set := backend.Of(named(t, "a"), named(t, "b"), "127.0.0.1:1")
		u := upstream.New(e, upstream.Options{Name: "all", Backends: set})
		return []proxy.Route{{To: proxy.To(u, &proxy.ToOptions{
			Method: &balance.Method{New: func(int, int) balance.Picker { return hashing{} }},
			Key: func(x *proxy.Exchange) (uint64, bool) {
				return maphash.Bytes(seed, x.Request.Path()), true
			},
		})}}
	})
	seen := map[string]int{}
	for i := range 30 {
		path := fmt.Sprint("/", i)
		_, first := askFor(t, r.url+path)
		seen[first]++
		for range 3 {
			if _, again := askFor(t, r.url+path); again != first {
				t.Errorf("%s: %q, then %q", path, first, again)
			}
		}
	}
	if len(seen) != 2 {
		t.Error(seen)
	}
}

// A filter gives a request less time than its upstream would, over either version of HTTP.
func TestChoose_timeouts(t *testing.T) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	o := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/read" {
			_, _ = io.WriteString(w, "some")
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	o.Config.Protocols = new(http.Protocols)
	o.Config.Protocols.SetHTTP1(true)
	o.Config.Protocols.SetUnencryptedHTTP2(true)
	o.Start()
	testutil.CloseServer(t, o)
	filter := &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		const short = 50 * time.Millisecond
		x.SetTimeouts(map[string]proxy.Timeouts{
			"/first": {FirstByte: short}, "/read": {Read: short}, "/total": {Total: short},
		}[string(x.Request.Path())])
		return proxy.Next
	}}
	for _, protocol := range []upstream.Protocol{upstream.H1, upstream.H2} {
		r := newRig(t, func(e *engine.Engine) []proxy.Route {
			return []proxy.Route{{To: proxy.To(upstream.New(e, upstream.Options{
				Backends: backend.Of(o.Listener.Addr().String()), Protocol: protocol,
				Client: session.ClientOptions{FirstByte: time.Hour, BetweenBytes: time.Hour},
			}), nil)}}
		}, filter)
		for _, path := range []string{"/first", "/total"} {
			if status, _ := askFor(t, r.url+path); status != 504 {
				t.Errorf("%v %s: %d", protocol, path, status)
			}
		}
		resp, err := http.Get(r.url + "/read")
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err == nil || string(body) != "some" {
			t.Errorf("%v: %q, %v", protocol, body, err)
		}
		resp.Body.Close()
	}
}
