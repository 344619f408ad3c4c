package proxy_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
)

// What is refused before it is a request is logged with the version that it came in.
func TestLog_refused(t *testing.T) {
	e := newEngine(t, engine.Options{Reactors: 1})
	defer e.Stop()
	snapshot := newSnapshot(t, nil)
	for cause, proto := range map[error]message.Proto{h2.ErrTooManyFields: message.HTTP20, h1.ErrHost: message.HTTP11} {
		log := &keptLog{}
		s := proxy.New(e, snapshot).Service(&proxy.Listener{Log: []proxy.AccessLog{log}})
		peer := poller.Addr{IP: netip.MustParseAddrPort("192.0.2.7:5555")}
		s.Refused(e.Reactors()[0], peer, 400, cause)
		if r := log.want(t, 1, 400, "client:"+cause.Error()); r.Proto != uint8(proto) {
			t.Errorf("%v: %d", cause, r.Proto)
		}
	}
}

// The answer to what is refused is counted in the record, and to HEAD it has no body.
func TestLog_bytesOfARefusal(t *testing.T) {
	log := &keptLog{}
	r := newWorkerRig(t, &proxy.Listener{}, log, func(*engine.Engine) proxy.Route {
		return proxy.Route{To: proxy.Answer(200, "", "")}
	})
	for i, method := range []string{"GET", "HEAD"} {
		conn := testutil.Dial(t, strings.TrimPrefix(r.url, "http://"))
		conn.Send(method + " / HTTP/1.1\r\n\r\n")
		head, body, _ := strings.Cut(conn.ReadAll(), "\r\n\r\n")
		if !strings.HasPrefix(head, "HTTP/1.1 400 ") || (method == "HEAD") != (body == "") {
			t.Fatalf("%s: %q, body %q", method, head, body)
		}
		if got := log.want(t, 1+i, 400, "client:"+h1.ErrNoHost.Error()); got.BytesOut != int64(len(body)) {
			t.Errorf("%s: logged %d bytes of %d", method, got.BytesOut, len(body))
		}
	}
}

// A log has what its condition chooses, in lines of its own form, which no client can end.
func TestChooseLog(t *testing.T) {
	scope, err := variables.Scope(lang.Names{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ when, line, want string }{
		{`status >= 500 and duration < 1h`, "", `"path":"/failed"`},
		{`path ends_with "1"`, `{method} "{query.q}" {status} {header.x-none}.`, `GET "a\x22\x0Ab" 503 .`},
		{`path ends_with "1"`, `{{"q":"{query.q}","agent":"{header.user-agent}"}}`, `{"q":"a\"\nb","agent":"a\"b"}`},
		{"", `{path}`, "/failed\n/failed1"},
	} {
		var when *lang.Condition
		var line *lang.Template
		if c.when != "" {
			if when, err = scope.Condition(c.when, lang.Log); err != nil {
				t.Fatal(err)
			}
		}
		if c.line != "" {
			if line, err = scope.Template(c.line, lang.Log); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(t.TempDir(), "access.log")
		sink, err := observe.Open(observe.Options{Path: path, Flush: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		var log proxy.AccessLog = sink.AccessLog(observe.FormatJSON)
		if line != nil {
			log = proxy.LogLines(log.(*observe.AccessLog), line)
		}
		log = proxy.ChooseLog(log, &proxy.LogChoice{When: when})
		r := newRigWith(t, engine.Options{Reactors: 1}, func(*engine.Engine) []proxy.Route {
			failed := proxy.MustRoute("/*", proxy.Answer(503, "", ""))
			failed.Log = []proxy.AccessLog{log}
			return []proxy.Route{failed}
		})
		for _, target := range []string{"/failed", "/failed1?q=a%22%0Ab"} {
			if status, _ := askFor(t, r.url+target, "User-Agent", `a"b`); status != 503 {
				t.Fatal(status)
			}
			if c.when != "" && strings.HasPrefix(c.when, "status") {
				break
			}
		}
		testutil.Eventually(t, testutil.Patience, func() bool {
			text, _ := os.ReadFile(path)
			return strings.Contains(string(text), c.want) && strings.HasSuffix(string(text), "\n") &&
				strings.Count(string(text), "\n") == 1+strings.Count(c.want, "\n")
		}, "%s: %s", c.when, c.line)
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
	}
}
