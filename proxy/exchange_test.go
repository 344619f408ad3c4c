package proxy

import (
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/sim"
	"github.com/edge-proxy/edge/poller"
)

// After a moment with many exchanges few are kept, and nothing of them is counted.
func TestLocal_keepsFewExchanges(t *testing.T) {
	e, err := engine.New(engine.Options{
		Reactors: 1, Kernel: func(int) (poller.Kernel, error) { return sim.NewLoop(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	l := &local{reactor: e.Reactors()[0]}
	var all []*Exchange
	for range 2 * exchangesKept {
		all = append(all, l.take())
	}
	if n := l.reactor.Stats().BufBytes; n != 2*exchangesKept*exchangeSize {
		t.Errorf("%d bytes are counted", n)
	}
	for _, x := range all {
		x.toDown.hold(make([]byte, 100))
		x.recycle()
	}
	kept := 0
	for x := l.free; x != nil; x = x.next {
		kept++
	}
	if n := l.reactor.Stats().BufBytes; kept != exchangesKept || l.kept != kept || l.active != 0 || n != 0 {
		t.Errorf("%d are kept, %d are active, %d bytes are counted", kept, l.active, n)
	}
}
