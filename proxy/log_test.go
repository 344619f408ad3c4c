package proxy_test

import (
	"net/netip"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/h2"
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
