package proxy

import (
	"math"
	"testing"
	"time"

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

// trimmed runs the reactor of l until the time till, or until no exchange is kept that could go. The clock jumps.
func trimmed(l *local, till int64) {
	for l.free.trimming && l.reactor.Now() < till {
		l.reactor.Tick()
	}
}

// After a moment with many exchanges those that are not needed go within seconds. They count as kept, and under
// pressure there are none.
func TestLocal_keepsFewExchanges(t *testing.T) {
	l := simLocal(t)
	const most, size = 4 * exchangesKept, exchangeSize + 2*headCapacity
	hold := func(n int) (all []*Exchange) {
		for range n {
			all = append(all, l.take())
		}
		return all
	}
	free := func(all []*Exchange) {
		for _, x := range all {
			l.recycle(x)
		}
	}
	all := hold(most)
	if n := l.reactor.Stats().BufBytes; n != most*size {
		t.Errorf("%d bytes are counted", n)
	}
	for _, x := range all {
		x.toDown.Hold(make([]byte, 100))
	}
	free(all)
	check := func(want int) {
		t.Helper()
		kept, n := len(l.free.kept), l.reactor.Stats()
		if kept != want || l.active != 0 || n.BufBytes != 0 || n.BufKept != int64(want*size) {
			t.Errorf("%d are kept, want %d; %d are active, %d bytes are counted, %d as kept", kept, want, l.active,
				n.BufBytes, n.BufKept)
		}
	}
	check(most)
	free(hold(most - 100)) // all of them are needed in this second
	trimmed(l, l.reactor.Now()+trimEvery/2)
	check(most)
	began := l.reactor.Now()
	trimmed(l, math.MaxInt64)
	if took := l.reactor.Now() - began; took < 5*trimEvery || took > 20*trimEvery {
		t.Errorf("they are gone after %v", time.Duration(took))
	}
	check(exchangesKept)
	all = hold(exchangesKept)
	l.reactor.Account(24 << 20)
	free(all)
	l.reactor.Account(-24 << 20)
	check(0)
}

// An exchange that waits has no room for its answer: the next exchange that is answered has it. No room outlives the
// exchanges.
func TestLocal_lendsRoomForAnswers(t *testing.T) {
	l := simLocal(t)
	x, y := l.take(), l.take()
	room := &x.Response.Base[:1][0]
	l.leaveRoom(x)
	l.leaveRoom(y)
	if n := len(l.free.rooms); x.Response.Base != nil || n != 2 {
		t.Fatalf("an exchange that waits has %d bytes, %d rooms are free", cap(x.Response.Base), n)
	}
	x.charge()
	if n := l.reactor.Stats().BufBytes; n != 2*(exchangeSize+2*headCapacity) {
		t.Errorf("%d bytes are counted", n)
	}
	l.takeRoom(x)
	l.takeRoom(y)
	if &y.Response.Base[:1][0] != room || len(l.free.rooms) != 0 {
		t.Errorf("the room of the one that left last was not taken first, %d are left", len(l.free.rooms))
	}
	y.Response.Base = append(y.Response.Base, 'x')
	if l.leaveRoom(y); len(l.free.rooms) != 0 {
		t.Error("a room that is used was left")
	}
	l.leaveRoom(x)
	l.reactor.Account(31 << 20)
	l.recycle(x)
	l.recycle(y)
	l.reactor.Account(-31 << 20)
	if n := len(l.free.rooms); n > 0 {
		t.Errorf("%d rooms are left of no exchange", n)
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
	trimmed(l, math.MaxInt64)
	if n := l.slab.Bytes(); n > (exchangesKept+64)*(4<<10+64) {
		t.Errorf("Locals have %d bytes for %d exchanges", n, exchangesKept)
	}
	if x := l.take(); bulky.Of(x)[0] != 0 {
		t.Error("an exchange has what another one kept")
	}
}
