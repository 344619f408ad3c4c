package upstream

import (
	"cmp"
	"crypto/tls"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/pool"
	"github.com/edge-proxy/edge/session"
)

// New makes an Upstream for the reactors of e.
func New(e *engine.Engine, o Options) *Upstream {
	if o.Backends == nil {
		o.Backends = backend.NewSet()
	}
	u := &Upstream{opts: o, origins: make(map[*backend.Member]*origin)}
	u.idle = cmp.Or(o.IdleTimeout, idleTimeoutDefault)
	u.setProtocol()
	u.secure(e)
	u.queue = int64(orDefault(o.Queue, queueDefault))
	u.places.init(orDefault(o.Idle, idleDefault), len(e.Reactors()))
	for _, r := range e.Reactors() {
		u.local = append(u.local, u.newLocal(r))
	}
	u.view = o.Backends.View(len(u.local), nil)
	o.Backends.Follow((*following)(u))
	return u
}

func (u *Upstream) newLocal(r *engine.Reactor) *local {
	o := &u.opts
	l := &local{upstream: u, reactor: r, capacity: u.places.floor, options: engine.DialOptions{
		Timeout: o.Connect, Socket: poller.ConnectOptions{UserTimeout: o.UserTimeout, FastOpen: o.FastOpen},
	}}
	l.shard = pool.New[*peer](l.capacity, func(c *Conn) {
		l.stats.Evicted++
		c.publish()
		c.client.Close()
	})
	l.server.Run = l.serve
	return l
}

// setProtocol resolves what the options say of it.
func (u *Upstream) setProtocol() {
	o := &u.opts
	u.protocol = o.Protocol
	if u.protocol == Auto && !o.TLS.On {
		u.protocol = H1
	}
	u.share = u.protocol != H1
	u.movable = !u.share && !o.TLS.On
	u.mux = session.MuxOptions{
		FirstByte: o.Client.FirstByte, BetweenBytes: o.Client.BetweenBytes, TunnelIdle: o.Client.TunnelIdle,
		StreamsMax: o.Streams, Limits: o.Client.Limits,
	}
}

// secure makes ready what all connections of u are secured with.
func (u *Upstream) secure(e *engine.Engine) {
	if !u.opts.TLS.On {
		return
	}
	if u.handshaker = u.opts.Handshaker; u.handshaker == nil {
		u.handshaker = tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{})
	}
	if n := orDefault(u.opts.TLS.Sessions, sessionsDefault); n > 0 {
		u.sessions = tls.NewLRUClientSessionCache(n)
	}
}

// following is an Upstream as its Set sees it.
type following Upstream

// Joined makes an origin of m.
func (f *following) Joined(m *backend.Member) {
	u := (*Upstream)(f)
	o := u.newOrigin(m)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.origins[m] = o
}

// Left closes the idle connections to m, on each reactor by a task; exchanges in progress go on.
func (f *following) Left(m *backend.Member) {
	u := (*Upstream)(f)
	u.mu.Lock()
	o := u.origins[m]
	delete(u.origins, m)
	u.mu.Unlock()
	for i, l := range u.local {
		l.reactor.Post(&engine.Task{Run: func(*engine.Reactor) {
			if s := o.sites[i]; s != nil {
				s.close()
			}
		}})
	}
}

// Close closes idle connections and keeps none any more; exchanges in progress go on. On each reactor by a task.
func (u *Upstream) Close() {
	u.opts.Backends.Unfollow((*following)(u))
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	for _, l := range u.local {
		l.reactor.Post(&engine.Task{Run: func(*engine.Reactor) {
			for _, s := range l.sites {
				if s != nil {
					s.close()
				}
			}
		}})
	}
}
