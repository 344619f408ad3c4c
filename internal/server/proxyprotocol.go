package server

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/l4/proxyproto"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// preambleEnds are the ways in which a connection of a listener with proxy_protocol begins, as results of
// edge_proxy_protocol_total, with what the event log says of those that are closed.
var preambleEnds = [...]struct {
	err          error
	result, hint string
}{
	{nil, "told", ""},
	{nil, "own", ""}, // the connection is the sender's own
	{proxyproto.ErrNone, "none", ""},
	{proxyproto.ErrNone, "missing", "is it a health check without the header? Have the sender write the header there " +
		"too, or leave required out"},
	{session.ErrUntrusted, "untrusted", "add its address to proxy_protocol.from, if it is a load balancer of yours"},
	{session.ErrHeaderSlow, "timeout", ""},
	{session.ErrHeaderBroken, "cut", ""},
	{proxyproto.ErrLength, "length", ""},
	{proxyproto.ErrSyntax, "syntax", ""},
	{proxyproto.ErrTLV, "tlv", ""},
	{proxyproto.ErrChecksum, "checksum", ""},
}

// preambles counts how connections of listeners with proxy_protocol began.
type preambles struct{ byName[preambleCount] }

// preambleCount is the count of one listener, by the order of preambleEnds.
type preambleCount struct {
	ends   [len(preambleEnds)]atomic.Uint64
	logged [len(preambleEnds)]eachMinute
}

// list adds the counts to a registry.
func (p *preambles) list(r *observe.Registry) {
	r.Counters("edge_proxy_protocol_total", "Connections of listeners with `proxy_protocol`, by listener and by how "+
		"they began: with `told` addresses, as the sender's `own`, with `none`, or closed for a reason: `missing`, "+
		"`untrusted`, `timeout`, `cut`, `length`, `syntax`, `tlv`, `checksum`.",
		func(yield func(float64, ...observe.Label)) {
			p.each(func(listener string, n *preambleCount) {
				for i := range preambleEnds {
					yield(float64(n.ends[i].Load()), observe.Label{Name: "listener", Value: listener},
						observe.Label{Name: "result", Value: preambleEnds[i].result})
				}
			})
		})
}

// announced makes begin take the headers of the PROXY protocol, where l has them. expect, if not nil, is
// session.ProxyProtocol.Expect.
func (p *preambles) announced(
	l *config.Listener, expect func(r *engine.Reactor, n int), begin func(c *engine.Conn) engine.Handler,
) func(c *engine.Conn) engine.Handler {
	o := &l.Believed.ProxyProtocol
	if len(o.From.Networks) == 0 && !o.From.Unix {
		return begin
	}
	counts := p.of(l.Name)
	rules := &session.ProxyProtocol{From: o.From.Networks, Unix: o.From.Unix, Required: o.Required}
	rules.Expect = expect
	rules.Read = func(c *engine.Conn, h proxyproto.Header, err error) {
		end := 0
		switch {
		case err == nil && !h.Told():
			end = 1
		case err == proxyproto.ErrNone && o.Required:
			end = 3
		case err != nil:
			for end = 2; preambleEnds[end].err != err; {
				end++
			}
		}
		counts.ends[end].Add(1)
		if end > 2 {
			counts.log(l.Name, c, end)
		}
	}
	return rules.Accept(begin)
}

// log writes a line about a connection that is closed, unless there was one a moment ago.
func (n *preambleCount) log(listener string, c *engine.Conn, end int) {
	if !n.logged[end].begins() {
		return
	}
	of := &preambleEnds[end]
	attrs := []slog.Attr{
		slog.String("listener", listener), slog.String("peer", c.Peer().String()), slog.String("reason", of.result),
		slog.String("error", of.err.Error()), slog.Uint64("so_far", n.ends[end].Load()),
	}
	if of.hint != "" {
		attrs = append(attrs, slog.String("try", of.hint))
	}
	slog.LogAttrs(context.Background(), slog.LevelWarn, "PROXY protocol: connection closed", attrs...)
}

// appendHeader appends the header of the PROXY protocol for a client; nil: the connection is our own. asked is the name
// in its ClientHello, where that was not for us.
func appendHeader(dst []byte, version string, client *engine.Conn, asked string) []byte {
	var from, to netip.AddrPort
	var tlvs []proxyproto.TLV
	if client != nil {
		from, to = client.Peer().IP, client.Local().IP
		if d := tlsconn.DigestOf(client); d != nil {
			asked = d.ServerName
		}
		if message.ValidHostName(asked) { // a backend that refuses another header looks as if it failed
			tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.TypeAuthority, Value: []byte(asked)})
		}
	}
	if version == "v1" {
		return proxyproto.AppendV1(dst, from, to)
	}
	return proxyproto.AppendV2(dst, from, to, tlvs...)
}
