package server

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/recent"
	"github.com/edge-proxy/edge/internal/l4"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/proxy"
)

// reasonOf returns why a connection has ended, by the words of the access log; zero for an ordinary end.
func reasonOf(r *l4.Record) recent.Reason {
	word := "closed"
	switch i := slices.IndexFunc(relayWords, func(o relayWord) bool { return o.of == r.Why }); {
	case r.Why == nil:
		return recent.Reason{}
	case i >= 0:
		word = relayWords[i].word
	case errors.Is(r.Why, engine.ErrStopped):
		return recent.Reason{Word: "edge:drain", Text: "The process was ending."}
	case r.By == l4.ByBackend && r.Connect == 0:
		return proxy.ConnectError(r.Why).Remembered()
	case errors.Is(r.Why, syscall.ECONNRESET):
		word = "reset"
	case errors.Is(r.Why, syscall.ETIMEDOUT), errors.Is(r.Why, engine.ErrTimeout):
		word = "timeout"
	}
	word = r.By.String() + ":" + word
	if i := slices.IndexFunc(relayReasons, func(o recent.Reason) bool { return o.Word == word }); i >= 0 {
		return relayReasons[i]
	}
	return recent.Reason{Word: word, Text: "It failed: " + word + "."}
}

// relayWords are the words for what package l4 ends connections for.
var relayWords = []relayWord{
	{l4.ErrIdle, "idle"}, {l4.ErrNoBackend, "no_backend"}, {l4.ErrMaxConns, "max_requests"},
	{l4.ErrClientLeft, "gone"}, {l4.ErrTruncated, "truncated"}, {l4.ErrNoRoute, "no_route"},
	{l4.ErrHello, "hello"}, {l4.ErrHelloSlow, "hello_timeout"}, {l4.ErrNoTLS, "no_tls"},
}

type relayWord struct {
	of   error
	word string
}

// relayReasons are reasons of connections that ended in no ordinary way.
var relayReasons = []recent.Reason{
	{Word: "client:gone", Text: "The client left before a backend was connected to.",
		Try: "can the backend be reached? timeouts.connect of the upstream says how long it has"},
	{Word: "client:reset", Text: "The client reset the connection."},
	{Word: "client:timeout", Text: "The client has vanished, or took nothing of the backend's bytes for too long."},
	{Word: "client:truncated", Text: "The client ended TLS without close_notify: bytes may be missing."},
	{Word: "client:closed", Text: "The connection of the client failed."},
	{Word: "backend:reset", Text: "The backend reset the connection.", Try: "the log of the backend"},
	{Word: "backend:timeout", Text: "The backend has vanished, or took nothing of the client's bytes for too long.",
		Try: "does its host run?"},
	{Word: "backend:truncated", Text: "The backend ended TLS without close_notify: bytes may be missing.",
		Try: "the log of the backend"},
	{Word: "backend:closed", Text: "The connection of the backend failed."},
	{Word: "client:hello", Text: "The ClientHello is wrong, too large, or none where the client had asked for TLS."},
	{Word: "client:hello_timeout", Text: "The ClientHello of the client did not come in time."},
	{Word: "backend:no_tls", Text: "The backend was asked for TLS, and refused.", Try: "ssl of its PostgreSQL"},
	{Word: "edge:no_route", Text: "No route takes the connection.", Try: "edge explain tcp://HOST:PORT"},
	{Word: "edge:idle", Text: "No byte came from either side for too long.", Try: "timeouts.idle of the service"},
	{Word: "edge:no_backend", Text: "No backend of the upstream serves.", Try: "edge upstreams: which are up?"},
	{Word: "edge:max_requests", Text: "Each backend has as many connections as it may.",
		Try: "breaker.max_requests of the upstream (edge upstreams)"},
	{Word: "edge:closed", Text: "edge had to end the connection.", Try: "the error log"},
}

// relayStatus is how r ended, in the statuses of HTTP and nginx: 200 where there was a connection, 502 where none could
// be made, 503 where there was nowhere to make one, 404 where it leads nowhere, 499 where the client left before, 400
// and 408 where its first bytes were wrong, or late.
func relayStatus(r *l4.Record) int {
	switch {
	case r.Connect > 0:
		return 200
	case r.Why == l4.ErrHello:
		return 400
	case r.Why == l4.ErrHelloSlow:
		return 408
	case r.Why == l4.ErrNoRoute:
		return 404
	case r.By == l4.ByClient:
		return 499
	case r.By == l4.ByEdge:
		return 503
	}
	return 502
}

// remember adds r to k. Among the bad ones is each connection that has a reason, or was tried again.
func remember(k *recent.Rings, name *observe.Tag, r *l4.Record, id [16]byte, why recent.Reason) {
	o, peer := k.Next(), r.Client.Peer().IP
	*o = recent.Record{
		ID: binary.BigEndian.Uint64(id[8:]), Began: r.Began, Connect: recent.Bounded(r.Connect),
		BytesIn: uint64(r.In), BytesOut: uint64(r.Out), Listener: name.Of(r.Service.Name),
		Status: uint16(relayStatus(r)), Attempts: uint8(min(r.Tries, 255)),
		Proto: observe.ProtoTCP,
	}
	if r.To != nil {
		o.Upstream = r.To.Tag.Of(r.To.Name)
	}
	o.SetTook(r.Ended - r.Began)
	o.SetClient(peer.Addr(), peer.Port())
	if tlsconn.DigestOf(r.Client) != nil {
		o.Flags |= recent.Secured
	}
	if why.Word != "" {
		o.Reason = recent.NumberOf(why)
	}
	if m := r.Backend; m != nil {
		o.Tries[1].Backend = backend.TagOf(m).Of(m.Address())
	}
	if f := &r.First; f.Backend != nil && r.Tries > 1 {
		outcome := recent.NumberOf(proxy.ConnectError(f.Why).Remembered())
		o.Tries[0] = recent.MakeTry(backend.TagOf(f.Backend).Of(f.Backend.Address()), outcome,
			time.Duration(f.At-r.Began))
	}
	k.Put(why.Word != "" || r.Tries > 1)
}

// recordOf is r as access logs have it.
func recordOf(r *l4.Record, id [16]byte, reason string) *observe.Record {
	peer, took := r.Client.Peer().IP, r.Ended-r.Began
	o := &observe.Record{
		Time: time.Now().UnixNano() - took, ID: id, Listener: r.Service.Name, ClientIP: peer.Addr(),
		ClientPort: peer.Port(), Proto: observe.ProtoTCP, Status: relayStatus(r), Reason: reason,
		BytesIn: r.In, BytesOut: r.Out, Dur: took, T: observe.Timings{Connect: r.Connect}, Attempts: r.Tries,
		SNI: r.Asked,
	}
	if r.To != nil {
		o.Upstream = r.To.Name
	}
	if r.Backend != nil {
		o.Backend = r.Backend.Address()
	}
	if d := tlsconn.DigestOf(r.Client); d != nil {
		o.TLSVersion, o.TLSGroup, o.SNI = d.VersionName(), d.GroupName(), d.ServerName
	}
	return o
}

// relayCounts counts connections of services.
type relayCounts struct{ byName[relayCount] }

// relayCount is the count of one service.
type relayCount struct {
	ends    [3]atomic.Uint64 // by l4.Side, of failures
	closed  atomic.Uint64    // in an ordinary way
	in, out atomic.Uint64    // bytes
	time    atomic.Int64     // ns
}

func (n *relayCount) add(r *l4.Record, failed bool) {
	if failed {
		n.ends[r.By].Add(1)
	} else {
		n.closed.Add(1)
	}
	n.in.Add(uint64(r.In))
	n.out.Add(uint64(r.Out))
	n.time.Add(r.Ended - r.Began)
}

// list adds the counts to a registry.
func (c *relayCounts) list(r *observe.Registry) {
	label := func(name, value string) observe.Label { return observe.Label{Name: name, Value: value} }
	type show func(n *relayCount, of observe.Label, yield func(float64, ...observe.Label))
	each := func(family, help string, show show) {
		r.Counters(family, help, func(yield func(float64, ...observe.Label)) {
			c.each(func(name string, n *relayCount) { show(n, label("service", name), yield) })
		})
	}
	each("edge_service_connections_total", "Connections of services of the type tcp that have ended, by service and "+
		"result: `closed` by both sides, or failed by the `client`, the `backend` or `edge`.",
		func(n *relayCount, of observe.Label, yield func(float64, ...observe.Label)) {
			yield(float64(n.closed.Load()), of, label("result", "closed"))
			for side := range n.ends {
				yield(float64(n.ends[side].Load()), of, label("result", l4.Side(side).String()))
			}
		})
	each("edge_service_bytes_total", "Bytes that connections of services of the type tcp have moved, once they have "+
		"ended, by service and direction: `in` is from clients, `out` to clients.",
		func(n *relayCount, of observe.Label, yield func(float64, ...observe.Label)) {
			yield(float64(n.in.Load()), of, label("direction", "in"))
			yield(float64(n.out.Load()), of, label("direction", "out"))
		})
	each("edge_service_seconds_total", "How long the connections of services of the type tcp that have ended have "+
		"lasted together, by service.", func(n *relayCount, of observe.Label, yield func(float64, ...observe.Label)) {
		yield(time.Duration(n.time.Load()).Seconds(), of)
	})
}
