package server

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/limits"
)

// How many clients a clientConns tells apart, in 18 to 36 bytes each. There cannot be more than one for clientMemory
// bytes of the budget for buffers: each has a connection, which takes more memory than that together with its socket.
const (
	clientsMax   = 1 << 20
	clientMemory = 2 << 10
)

// clientConns counts the open connections of each client, at the listeners that have a number for them.
//
//	accepted ─► header of the PROXY protocol ─► enter ─► connection filters ─► … ─► the end of the Conn: Guard.Leave
//	                                              └─ false ─► closed
//
// The counts belong to the name of a listener, so that reloads keep them. Connections that were accepted while the
// listener had no number are not among them.
type clientConns struct {
	byName[clientCount]
	hasher limits.Hasher
	table  *limits.SharedInFlight // of all listeners; nil: none had a number yet; guarded by shared.mu
}

// clientCount is what is counted of one listener.
type clientCount struct {
	refused atomic.Uint64
	logged  eachMinute
}

// clientLimit is the number of one listener. Immutable.
type clientLimit struct {
	*clientCount
	listener string
	most     int64
	hasher   limits.Hasher
	salt     uint64 // keeps the clients of listeners apart
	table    *limits.SharedInFlight
}

// limit returns the limit of l; nil: it has none. shared.mu is held.
func (p *clientConns) limit(l *config.Listener, e *engine.Engine) *clientLimit {
	most := int64(l.Limits.ClientConns)
	if most == 0 {
		return nil
	}
	if p.table == nil {
		p.hasher = limits.NewHasher()
		p.table = limits.NewSharedInFlight(int(min(e.Memory()/clientMemory, clientsMax)))
	}
	return &clientLimit{p.of(l.Name), l.Name, most, p.hasher, p.hasher.String(l.Name), p.table}
}

// list adds the counts to a registry.
func (p *clientConns) list(r *observe.Registry) {
	r.Counters("edge_listener_refused_total", "Connections closed when they were accepted, by listener and reason: "+
		"`connections_per_client`, since their client had as many as `limits` allows.",
		func(yield func(float64, ...observe.Label)) {
			p.each(func(listener string, n *clientCount) {
				yield(float64(n.refused.Load()), observe.Label{Name: "listener", Value: listener},
					observe.Label{Name: "reason", Value: "connections_per_client"})
			})
		})
}

// accept makes begin get the connections within the limit alone. The others are closed. n is nil without a limit.
func (n *clientLimit) accept(begin func(c *engine.Conn) engine.Handler) func(c *engine.Conn) engine.Handler {
	return n.acceptIf(func(c *engine.Conn) bool { return n.enter(c, n.most) }, begin)
}

// acceptUnproved is accept for a connection whose address may be forged: it would take the place of the client there,
// and is not counted.
func (n *clientLimit) acceptUnproved(begin func(c *engine.Conn) engine.Handler) func(c *engine.Conn) engine.Handler {
	return n.acceptIf(func(c *engine.Conn) bool {
		return n.table.Count(n.hasher.Addr(engine.PeerIP(c).Addr())^n.salt) < n.most
	}, begin)
}

// acceptIf makes begin get the connections for which allows returns true. The others are closed.
func (n *clientLimit) acceptIf(
	allows func(c *engine.Conn) bool, begin func(c *engine.Conn) engine.Handler,
) func(c *engine.Conn) engine.Handler {
	if n == nil {
		return begin
	}
	return func(c *engine.Conn) engine.Handler {
		if allows(c) {
			return begin(c)
		}
		if soFar := n.refused.Add(1); n.logged.begins() {
			slog.LogAttrs(context.Background(), slog.LevelWarn, "limits.connections_per_client: connection closed",
				slog.String("listener", n.listener), slog.String("peer", c.Peer().String()),
				slog.Int64("limit", n.most), slog.Uint64("so_far", soFar))
		}
		return nil
	}
}

// enter counts c until its end, unless its client has most connections already; then it returns false.
func (n *clientLimit) enter(c *engine.Conn, most int64) bool {
	ip := engine.PeerIP(c).Addr()
	if !ip.IsValid() {
		return true // a Unix socket
	}
	guard, ok := n.table.Enter(n.hasher.Addr(ip)^n.salt, most)
	if ok {
		c.AtEnd(guard.Leave)
	}
	return ok
}

// eachMinute says when a line of the event log that could come with every connection is due: once a minute. The zero
// value is good; safe for any goroutine.
type eachMinute struct{ last atomic.Int64 } // Unix time in ns

// begins reports whether a minute begins with this call.
func (m *eachMinute) begins() bool {
	now, last := time.Now().UnixNano(), m.last.Load()
	return now-last >= int64(time.Minute) && m.last.CompareAndSwap(last, now)
}
