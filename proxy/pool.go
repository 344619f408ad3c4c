package proxy

// take returns an exchange for a request on s.
func (l *local) take() *Exchange {
	x := l.free
	if x == nil {
		x = &Exchange{proxy: l.proxy, local: l}
		x.toUp.reactor, x.toDown.reactor = l.reactor, l.reactor
		x.waiter.Init((*takeSide)(x))
		x.Request.Base = make([]byte, 0, headCapacity)
		x.Response.Base = make([]byte, 0, headCapacity)
		x.charged = sizeOf(x)
		l.reactor.Account(x.charged)
	} else {
		l.unkeep(x)
	}
	x.gen.Add(1)
	l.active++
	return x
}

// exchangeSize is what an exchange takes in memory, about, beside its heads: the streams of both sides and the
// connection to the backend among it.
const exchangeSize = 3 << 10

// fieldSize is that of a message.Field.
const fieldSize = 16

// sizeOf is what x takes in memory. Bodies have an account of their own: see relay.count.
func sizeOf(x *Exchange) int {
	fields := cap(x.Request.Fields) + cap(x.Response.Fields)
	return exchangeSize + cap(x.Request.Base) + cap(x.Response.Base) + fields*fieldSize
}

// exchangesKept bounds the free exchanges of a reactor.
const exchangesKept = 1024

// Capacities that a free exchange keeps. What a large message made it grow beyond is given back.
const (
	headCapacity     = 2 << 10
	headCapacityKept = 16 << 10
)

// recycle makes x free. Nobody refers to it any more, but for a Ref.
func (l *local) recycle(x *Exchange) {
	x.gen.Add(1)
	l.active--
	if x.cancel != nil {
		x.cancel()
	}
	clear(x.locals)
	clear(x.noted)
	if cap(x.Request.Base) > headCapacityKept || cap(x.Response.Base) > headCapacityKept {
		x.toUp.reset()
		x.toDown.reset()
		l.reactor.Account(-x.charged)
		return
	}
	x.reset()
	l.keep(x)
}

// keep puts x on the free list. Where memory is short it does not, and takes another one off.
func (l *local) keep(x *Exchange) {
	switch {
	case l.kept >= exchangesKept:
		l.reactor.Account(-x.charged)
	case l.reactor.Keep(x.charged):
		x.next, l.free = l.free, x
		l.kept++
	case l.free != nil:
		other := l.free
		l.unkeep(other)
		l.reactor.Account(-other.charged)
	}
}

// unkeep takes x, the first of them, off the free list: it is held again.
func (l *local) unkeep(x *Exchange) {
	l.free, x.next = x.next, nil
	l.kept--
	l.reactor.Keep(-x.charged)
}
