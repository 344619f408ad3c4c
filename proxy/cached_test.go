package proxy_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/recent"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

var (
	setCookie = proxy.NewCacheReason("set-cookie", "the answer sets a cookie", `set_cookie = "strip"`)
	byMethod  = proxy.NewCacheReason("method", "no cache has answers to this method", "")
	whileNew  = proxy.NewCacheReason("stale-while-revalidate", "the answer may be sent while a new one is got", "")
)

// caches is a Front that does what a cache says that it does, by the path of the request.
type caches struct{ onward proxy.Destination }

func (c caches) Onward() proxy.Destination { return c.onward }
func (caches) OnPassed(*proxy.Exchange)    {}

// stored answers from the store.
func stored(x *proxy.Exchange) proxy.Opening {
	x.Response.Reset()
	x.Response.Status, x.Response.Proto = 200, message.HTTP11
	return proxy.Opening{Stored: &proxy.Stored{Body: []byte("stored")}}
}

func (c caches) Open(x *proxy.Exchange, _ session.Receiver) proxy.Opening {
	switch string(x.Path()) {
	case "/hit", "/replaced":
		proxy.SetCached(x, proxy.Cached{Status: proxy.CacheMiss, Reason: setCookie, Unstored: true})
		proxy.SetCached(x, proxy.Cached{Status: proxy.CacheHit, Age: 12})
		return stored(x)
	case "/stale":
		proxy.SetCached(x, proxy.Cached{Status: proxy.CacheStale, Age: 60, Reason: whileNew})
		return stored(x)
	case "/bypass":
		proxy.SetCached(x, proxy.Cached{Status: proxy.CacheBypass, Reason: byMethod})
	case "/miss":
		proxy.SetCached(x, proxy.Cached{Status: proxy.CacheMiss, Reason: setCookie, Unstored: true})
	case "/fails":
		proxy.SetCached(x, proxy.Cached{Status: proxy.CacheMiss, Reason: setCookie, Unstored: true})
		return proxy.Opening{Err: proxy.NoBackend}
	}
	return proxy.Opening{Onward: true}
}

// What a cache did is in the log, in texts of the language and among the last requests, where all but answers from the
// store are slow.
func TestSetCached(t *testing.T) {
	answers := testutil.Serve(t, func(c net.Conn) {
		defer c.Close()
		for {
			if _, err := c.Read(make([]byte, 4096)); err != nil {
				return
			}
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	say, err := scopeOf(t).Template(`{cache.status ?? "-"} {cache.reason ?? "-"} `+
		`{has(cache.age) ? text(cache.age < 1m) : "-"} {answer.source}`, lang.Log)
	if err != nil {
		t.Fatal(err)
	}
	said, log := make(chan string, 1), &keptLog{}
	see := &proxy.Filter{
		Response: func(x *proxy.Exchange) proxy.Verdict {
			if string(x.Path()) == "/replaced" && x.Response.Status == 200 {
				return proxy.Respond(403, "")
			}
			return proxy.Next
		},
		Log: func(x *proxy.Exchange, _ *observe.Record) { said <- string(say.Append(nil, proxy.View(x))) },
	}
	r := newWorkerRig(t, &proxy.Listener{}, log, func(e *engine.Engine) proxy.Route {
		return proxy.Route{Name: "all", To: caches{to(e, answers.Addr().String())}, Filters: []*proxy.Filter{see}}
	})
	r.proxy.Remember(16, time.Nanosecond)
	for i, c := range []struct {
		path           string
		status         int
		failure        string
		logged, said   string
		word, did, how string // of what is remembered
	}{
		{"/", 200, "", "", "- - - upstream", "", "", "slow"},
		{"/hit", 200, "", "hit  12", "hit - true upstream", "", "hit", ""},
		{"/replaced", 403, "", "hit  12", "hit - true own", "", "hit", "own"},
		{"/stale", 200, "", "stale stale-while-revalidate 60", "stale stale-while-revalidate false upstream",
			"stale-while-revalidate", "stale", "reason"},
		{"/miss", 200, "", "miss set-cookie -1", "miss set-cookie - upstream", "set-cookie", "miss",
			"slow reason unstored"},
		{"/bypass", 200, "", "bypass method -1", "bypass method - upstream", "method", "bypass", "slow reason"},
		{"/fails", 503, "edge:no_backend", "miss set-cookie -1", "miss set-cookie - own", "edge:no_backend", "miss",
			"slow own"},
		{"/", 200, "", "", "- - - upstream", "", "", "slow"},
	} {
		askFor(t, r.url+c.path)
		if got := <-said; got != c.said {
			t.Errorf("%s: said %q, want %q", c.path, got, c.said)
		}
		l, logged := log.want(t, i+1, c.status, c.failure), ""
		if l.Cache.Status != "" {
			logged = fmt.Sprintf("%s %s %d", l.Cache.Status, l.Cache.Reason, l.Cache.Age)
		}
		if logged != c.logged {
			t.Errorf("%s: logged %q, want %q", c.path, logged, c.logged)
		}
		last, how := lastRemembered(r)
		if word := recent.ReasonOf(last.Reason).Word; int(last.Status) != c.status || word != c.word ||
			last.Flags.Cache() != c.did || how != c.how {
			t.Errorf("%s: remembered %d, %q %q %q, want %+v", c.path, last.Status, word, last.Flags.Cache(), how, c)
		}
	}
}

// lastRemembered returns the last request of the rings, and in words what is said of it.
func lastRemembered(r *rig) (last recent.Record, how string) {
	done := make(chan bool)
	r.engine.Reactors()[0].Post(&engine.Task{Run: func(on *engine.Reactor) {
		all, _ := r.proxy.Recent(on, false, recent.Newest, 1)
		bad, _ := r.proxy.Recent(on, true, recent.Newest, 1)
		if last = all.Records[0]; len(bad.Records) > 0 && bad.Records[0] == last {
			how = " slow"
		}
		close(done)
	}})
	<-done
	for _, f := range []struct {
		flag recent.Flags
		word string
	}{{recent.Own, " own"}, {recent.OfCache, " reason"}, {recent.Unstored, " unstored"}} {
		if last.Flags&f.flag != 0 {
			how += f.word
		}
	}
	return last, strings.TrimPrefix(how, " ")
}

// What is not there has no word.
func TestCacheReason_word(t *testing.T) {
	if none := (*proxy.CacheReason)(nil); none.Word() != "" || setCookie.Word() != "set-cookie" {
		t.Errorf("%q %q", none.Word(), setCookie.Word())
	}
	if s := proxy.NoCache.String() + proxy.CacheRevalidated.String(); s != "revalidated" {
		t.Error(s)
	}
}

// To note, to log and to remember what a cache did allocates nothing.
func TestProxy_warmCachedAllocatesNothing(t *testing.T) {
	var seen proxy.Cached
	see := &proxy.Filter{Log: func(x *proxy.Exchange, _ *observe.Record) { seen = proxy.CachedOf(x) }}
	on := &proxy.Listener{Log: []proxy.AccessLog{dropped{}}}
	request := strings.Replace(warm.Small, "/small", "/miss", 1)
	g := warm.NewRouted(t, request, on, func(origin *upstream.Upstream) []proxy.Route {
		return []proxy.Route{{Name: "all", To: caches{proxy.To(origin, nil)}, Filters: []*proxy.Filter{see}}}
	})
	g.Proxy.Remember(64, time.Second)
	g.Exchange()
	if allocs := testutil.Allocs(1000, g.Exchange); allocs != 0 || seen.Reason != setCookie || seen.Age >= 0 {
		t.Errorf("%v allocations, %+v", allocs, seen)
	}
}
