package inspect

import (
	"context"
	"crypto/tls"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/l4"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

const (
	lookedAt = 256             // slots in one task on a reactor
	lookTime = 2 * time.Second // for a reactor to answer
)

// sighted is one connection as its reactor has seen it.
type sighted struct {
	ref      engine.Ref
	listener *engine.Listener
	client   poller.Addr
	socket   poller.Addr
	digest   *tlsconn.Digest // nil: it is plain, or its handshake goes on
	activity session.Activity
	relayed  *l4.Activity // nil: it is none of a TCP service, or has not begun
	now      int64        // of its reactor
	queued   int
}

// Connections returns the connections of clients after a cursor for which keep returns true, at most n. A cursor is the
// cursor of an answer before, or "". Each reactor looks at a few of its connections at a time.
func (v *Inspector) Connections(ctx context.Context, cursor string, n int, keep func(c *admin.Connection) bool) (
	list []admin.Connection, next string, err error,
) {
	parts := v.server.Parts()
	listeners := make(map[*engine.Listener]server.Part)
	for _, l := range parts.Listeners {
		listeners[l.Open], listeners[l.HTTP3] = l, l
	}
	reactors := parts.Engine.Reactors()
	at, from, offset, err := parseCursor(cursor, len(reactors))
	if err != nil {
		return nil, "", err
	}
	list = []admin.Connection{}
	for at < len(reactors) {
		seen, slot, err := look(ctx, reactors[at], from)
		if err != nil {
			return nil, "", err
		}
		for i := min(offset, len(seen)); i < len(seen); i++ {
			c := describe(&seen[i], listeners[seen[i].listener])
			if !keep(&c) {
				continue
			}
			if len(list) == n {
				return list, fmt.Sprintf("%d.%d.%d", at, from, i), nil
			}
			list = append(list, c)
		}
		if from, offset = slot, 0; slot == 0 {
			at++
		}
	}
	return list, "", nil
}

// parseCursor reads the number of a reactor, of a slot, and of connections after it to leave out.
func parseCursor(text string, reactors int) (at, slot, offset int, err error) {
	if text == "" {
		return 0, 0, 0, nil
	}
	parts := strings.Split(text, ".")
	numbers := make([]uint64, 3)
	for i := range parts {
		if i < len(numbers) && err == nil {
			numbers[i], err = strconv.ParseUint(parts[i], 10, 31)
		}
	}
	if err != nil || len(parts) != len(numbers) || int(numbers[0]) >= reactors {
		return 0, 0, 0, fmt.Errorf("%w: the cursor is none of this API", admin.ErrInvalid)
	}
	return int(numbers[0]), int(numbers[1]), int(numbers[2]), nil
}

// look asks r for its connections from a slot on. next is the slot to go on with; 0: there are no more.
func look(ctx context.Context, r *engine.Reactor, from int) (seen []sighted, next int, err error) {
	type answer struct {
		seen []sighted
		next int
	}
	a, err := ask(ctx, r, func(r *engine.Reactor) (a answer) {
		a.next = engine.Accepted(r, from, lookedAt, func(c *engine.Conn, l *engine.Listener, h engine.Handler) {
			one := sighted{ref: c.Ref(), listener: l, client: c.Peer(), socket: c.Socket(), queued: c.Queued()}
			one.digest = tlsconn.DigestOf(c)
			one.activity = session.ActivityOf(h, nil)
			if a, ok := l4.ActivityOf(h); ok {
				one.relayed, one.now = &a, r.Now()
			}
			a.seen = append(a.seen, one)
		})
		return a
	})
	return a.seen, a.next, err
}

// ask runs f on r, and waits for its answer.
func ask[T any](ctx context.Context, r *engine.Reactor, f func(r *engine.Reactor) T) (a T, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	answered := make(chan T, 1)
	r.Post(&engine.Task{Run: func(r *engine.Reactor) { answered <- f(r) }})
	select {
	case a = <-answered:
		return a, nil
	case <-ctx.Done():
		return a, fmt.Errorf("event loop %d: %w", r.Index(), context.Cause(ctx))
	}
}

// describe says what a connection does.
func describe(c *sighted, l server.Part) admin.Connection {
	one := admin.Connection{ID: c.ref.String(), Listener: l.Title, Client: c.client.String(),
		Reactor: c.ref.Reactor().Index(), Protocol: "handshake", State: "active", Queued: c.queued}
	if c.socket != c.client {
		one.Socket = c.socket.String()
	}
	if d := c.digest; d != nil {
		one.TLS, one.Host = tls.VersionName(d.Version), d.ServerName
	}
	switch a := c.relayed; {
	case a != nil:
		since := func(at int64) admin.Duration {
			return admin.Duration(time.Duration(c.now - at).Round(time.Microsecond))
		}
		one.Protocol, one.BytesIn, one.BytesOut = "tcp", a.In, a.Out
		one.Age, one.Idle = since(a.Began), since(max(a.Moved, a.Began))
		if a.Backend != nil {
			one.Backend = a.Backend.Address()
		}
		return one
	case l.Service && l.TLS && c.digest == nil:
		return one
	case l.Service:
		one.Protocol = "service"
		return one
	}
	if c.activity.Kind == session.KindOther {
		return one
	}
	one.Requests, one.Streams = uint64(c.activity.Requests), c.activity.Streams
	switch {
	case c.activity.Tunnel:
		one.Protocol = "tunnel"
	case c.activity.Kind == session.KindH2:
		one.Protocol = "h2"
	case c.activity.Kind == session.KindH3:
		one.Protocol = "h3"
	default:
		one.Protocol = "h1"
	}
	if c.activity.Idle {
		one.State = "idle"
	}
	return one
}
