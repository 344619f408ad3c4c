package proxy_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
)

// tally is an origin that counts its connections.
type tally struct {
	address        string
	opened, closed atomic.Int64
}

func newTally(t *testing.T) *tally {
	t.Helper()
	o := &tally{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ok")) //nolint:errcheck // the client is gone
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			o.opened.Add(1)
		case http.StateClosed:
			o.closed.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	o.address = s.Listener.Addr().String()
	return o
}

// Members come, go and change their weight under load: no request fails, no connection to a member that stays is
// closed, and none to one that has gone is left.
func TestMembers_changeUnderLoad(t *testing.T) {
	stays, first, second := newTally(t), newTally(t), newTally(t)
	set := backend.Of(stays.address, first.address)
	v := newSpread(t, upstream.Options{Backends: set})
	clients := v.uneven(4, 4)
	var served atomic.Int64
	var over atomic.Bool
	var load sync.WaitGroup
	for _, c := range clients {
		load.Go(func() {
			for !over.Load() {
				if _, err := c.ask(); err != nil {
					t.Error(err)
					return
				}
				served.Add(1)
			}
		})
	}
	list := [][]backend.Spec{
		{{Address: stays.address, Weight: 3}, {Address: first.address}},
		{{Address: second.address}, {Address: stays.address}},
		{{Address: stays.address}},
		{{Address: first.address}, {Address: second.address}, {Address: stays.address, Weight: 2}},
		{{Address: stays.address}, {Address: first.address}},
	}
	for i := range 10 {
		before := served.Load()
		testutil.Eventually(t, testutil.Patience, func() bool { return t.Failed() || served.Load() > before+100 })
		set.Update(list[i%len(list)])
	}
	over.Store(true)
	load.Wait()
	if n := stays.closed.Load(); n > 0 || stays.opened.Load() > int64(2*len(clients)) {
		t.Errorf("of %d connections to the member that stays %d were closed", stays.opened.Load(), n)
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return second.opened.Load() == second.closed.Load() },
		"connections to a member that has gone are left")
	if first.opened.Load() == 0 || second.opened.Load() == 0 {
		t.Error("a member was never used")
	}
	for _, c := range clients {
		c.conn.Close()
	}
}
