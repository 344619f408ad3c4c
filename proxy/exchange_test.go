package proxy

import (
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
)

// simLocal is a local of a reactor without a network.
func simLocal(t *testing.T) *local {
	t.Helper()
	e, err := engine.New(engine.Options{
		Reactors: 1, Kernel: func(int) (poller.Kernel, error) { return sim.NewLoop(), nil }, Memory: 32 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	return newLocal(nil, e.Reactors()[0])
}

// After a moment with many exchanges few are kept, which count as such, and under pressure none.
func TestLocal_keepsFewExchanges(t *testing.T) {
	l := simLocal(t)
	var all []*Exchange
	for range 2 * exchangesKept {
		all = append(all, l.take())
	}
	const size = exchangeSize + 2*headCapacity
	if n := l.reactor.Stats().BufBytes; n != 2*exchangesKept*size {
		t.Errorf("%d bytes are counted", n)
	}
	for _, x := range all {
		x.toDown.Hold(make([]byte, 100))
		x.local.recycle(x)
	}
	kept := 0
	for x := l.free; x != nil; x = x.next {
		kept++
	}
	if n := l.reactor.Stats().BufBytes; kept != exchangesKept || l.kept != kept || l.active != 0 || n != 0 {
		t.Errorf("%d are kept, %d are active, %d bytes are counted", kept, l.active, n)
	}
	if n := l.reactor.Stats().BufKept; n != exchangesKept*size {
		t.Errorf("%d bytes are counted as kept", n)
	}
	all = all[:0]
	for range exchangesKept {
		all = append(all, l.take())
	}
	l.reactor.Account(24 << 20)
	for _, x := range all {
		x.local.recycle(x)
	}
	l.reactor.Account(-24 << 20)
	if n := l.reactor.Stats(); l.kept > 0 || n.BufKept != 0 || n.BufBytes != 0 {
		t.Errorf("%d are kept under pressure, %d and %d bytes are counted", l.kept, n.BufKept, n.BufBytes)
	}
}

// The budget counts for an exchange all that its heads hold, whatever they have grown to.
func TestExchange_chargesWhatItsHeadsHold(t *testing.T) {
	l := simLocal(t)
	x := l.take()
	x.Request.Base = append(x.Request.Base, make([]byte, 40<<10)...)
	x.Response.Fields = append(x.Response.Fields, make([]message.Field, 1000)...)
	x.charge()
	want := exchangeSize + cap(x.Request.Base) + cap(x.Response.Base) + 16*cap(x.Response.Fields)
	if n := l.reactor.Stats().BufBytes; n != int64(want) || n < 40<<10+16000 {
		t.Errorf("%d bytes are counted, want %d", n, want)
	}
	x.Request.Base = append(x.Request.Base, make([]byte, 100<<10)...) // after it was charged last
	x.local.recycle(x)
	if n := l.reactor.Stats(); n.BufBytes != 0 || n.BufKept != 0 {
		t.Errorf("%d and %d bytes are counted of a large one that ended", n.BufBytes, n.BufKept)
	}
}

var bulky = NewLocal[[4 << 10]byte]()

// The budget counts what Locals have, until the exchanges that had it are gone.
func TestLocal_isCounted(t *testing.T) {
	l := simLocal(t)
	var all []*Exchange
	for range 2 * exchangesKept {
		x := l.take()
		bulky.Of(x)[0] = 1
		x.charge()
		all = append(all, x)
	}
	if n := l.reactor.Stats().BufBytes; n < 2*exchangesKept*(4<<10) {
		t.Errorf("%d bytes are counted", n)
	}
	for _, x := range all {
		l.recycle(x)
	}
	if n := l.reactor.Stats().BufBytes; n != 0 {
		t.Errorf("%d bytes are counted of none", n)
	}
	if n := l.slab.Bytes(); n > (exchangesKept+64)*(4<<10+64) {
		t.Errorf("Locals have %d bytes for %d exchanges", n, exchangesKept)
	}
	if x := l.take(); bulky.Of(x)[0] != 0 {
		t.Error("an exchange has what another one kept")
	}
}
