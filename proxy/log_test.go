package proxy_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
)

// What is refused before it is a request is logged with the version that it came in.
func TestLog_refused(t *testing.T) {
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Stop()
	snapshot, err := proxy.NewSnapshot(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for cause, proto := range map[error]message.Proto{h2.ErrTE: message.HTTP20, h1.ErrHost: message.HTTP11} {
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
