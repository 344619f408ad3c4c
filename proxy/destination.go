package proxy

import (
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/upstream"
)

// Destination is where a route leads: To, Answer or FromHTTP make one.
type Destination interface {
	open(x *Exchange)
}

// toUpstream leads to a backend of an upstream.
type toUpstream struct {
	upstream *upstream.Upstream
	view     *upstream.View // nil: the turns are those of the upstream
	host     string         // see ToHost
}

// To leads to a backend of u.
func To(u *upstream.Upstream) Destination { return ToHost(u, "") }

func (d *toUpstream) open(x *Exchange) {
	if !x.prepared {
		x.prepared = true
		host := x.Request.Authority
		for _, f := range x.route.chain.upstreamRequest {
			f(x)
		}
		d.sendAs(x, x.Request.Authority != host)
		if x.Request.Upgrade {
			x.askTunnel()
		}
		if x.refusal != nil {
			x.fail(x.refusal)
			return
		}
		x.charge()
	}
	d.attempt(x, nextBackend, faultNoBackend)
}

// aim says where an attempt goes.
type aim uint8

const (
	nowhere     aim = iota
	nextBackend     // that was not tried
	nextAddress     // of the same backend, whose name has several
	sameAddress     // on a connection that nobody used before
	sameBackend     // on any connection
)

// addressesMax bounds how many addresses of one backend are tried for one exchange.
const addressesMax = 8

// attempt gives the request to a backend. One that fails at once is followed by the next. why is the answer when none
// is left.
func (d *toUpstream) attempt(x *Exchange, at aim, why *fault) {
	r := x.local.reactor
	for {
		if at == nextBackend {
			if !d.choose(x) {
				x.fail(why)
				return
			}
		}
		x.attempts++
		x.waiter.Upgrade = x.Request.Upgrade
		c, err := d.upstream.Take(r, x.backend, x.address, at == sameAddress, &x.waiter)
		switch err {
		case nil:
			d.send(x, c)
			return
		case upstream.ErrWait: // OnTaken goes on
			return
		}
		why = faultOfDial(err)
		if why == faultLimit {
			x.fail(why)
			return
		}
		if at = d.again(x, err); at == nowhere {
			x.fail(why)
			return
		}
	}
}

// choose takes the next backend, and the next of its addresses. It reports whether there is one.
func (d *toUpstream) choose(x *Exchange) bool {
	r := x.local.reactor
	var next int
	if v := d.view; v != nil {
		if next = v.Pick(r, &x.tried); next >= 0 {
			x.address = v.NextAddress(r, next)
		}
	} else if next = d.upstream.Pick(r, &x.tried); next >= 0 {
		x.address = d.upstream.NextAddress(r, next)
	}
	if next < 0 {
		return false
	}
	x.backend, x.refused = next, 0
	return true
}

// again notes that an address could not be connected to, and says what may be tried next: the other addresses of the
// backend first, then other backends, as many as the upstream allows.
func (d *toUpstream) again(x *Exchange, cause error) aim {
	for _, f := range x.route.chain.connectFailed {
		f(x, cause)
	}
	x.refused++
	if n := d.upstream.Addresses(x.local.reactor, x.backend); x.refused < min(n, addressesMax) {
		x.address = (x.address + 1) % n
		return nextAddress
	}
	x.tried.Add(x.backend)
	if x.retries >= d.upstream.Retries() {
		return nowhere
	}
	x.retries++
	x.local.stats.Retries++
	return nextBackend
}

// takeSide is an Exchange as the upstream sees it that it waits for.
type takeSide Exchange

// OnTaken goes on with the connection that attempt had to wait for.
func (t *takeSide) OnTaken(c *upstream.Conn, err error) {
	x := (*Exchange)(t)
	defer x.rescue()
	x.noteWait()
	d := x.destination().(*toUpstream)
	if err == nil {
		d.send(x, c)
		return
	}
	why := faultOfDial(err)
	if why == faultLimit {
		x.fail(why)
		return
	}
	if at := d.again(x, err); at != nowhere {
		d.attempt(x, at, why)
		return
	}
	x.fail(why)
}

func (d *toUpstream) send(x *Exchange, c *upstream.Conn) {
	x.conn = c
	x.up = c.Open((*upSide)(x))
	x.reused = c.Reused()
	x.connected = x.local.reactor.Now()
	if x.call.form != noCall {
		if s, ok := x.up.(session.Unhurried); ok {
			s.Unhurry()
		}
	}
	// A body that is all here already could leave with the head, but a retry may need it: see relay.begun.
	bodyless := x.toUp.ended && len(x.toUp.held) == 0 && x.toUp.passed == 0 && x.toUp.trailers == nil
	if !bodyless && (c.Shared() || x.reused && x.Request.Verb.Idempotent()) {
		x.toUp.keepUpTo(d.upstream.RetryBuffer(), x.Request.Length)
	}
	if x.hostOfBackend {
		x.Request.SetAuthority(hostOfAddress(d.upstream.Backend(x.backend), d.upstream.Options().TLS.On))
	}
	if err := x.up.SendHead(&x.Request, bodyless); err != nil {
		x.upError(err)
		return
	}
	for _, f := range x.route.chain.connected {
		f(x)
	}
	if bodyless {
		x.toUp.endSent = true
		return
	}
	if !x.up.Congested() {
		x.resumeUp()
	}
}
