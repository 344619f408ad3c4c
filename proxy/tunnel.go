package proxy

import (
	"errors"
	"fmt"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
)

// Tunnels says which requests of a route may turn their connections into tunnels by Upgrade. What may not is sent on
// as a request without Upgrade. CONNECT is a method like any other that a route has to name: see Route.Methods.
type Tunnels struct {
	NoWebSocket bool
	Protocols   []string // further ones, by their names in Upgrade; an upgrade to HTTP/2 is none
}

// errProtocol refuses what a route must not let through. RFC 9113 §3.1: h2c by Upgrade is gone; a proxy that forwards
// it lets requests pass that it does not see.
var errProtocol = errors.New("not a protocol to upgrade to")

func (t *Tunnels) check() error {
	for _, p := range t.Protocols {
		if !message.ValidValue(p) || p == "" || isHTTP([]byte(p)) {
			return fmt.Errorf("%q: %w", p, errProtocol)
		}
	}
	return nil
}

func isHTTP(protocol []byte) bool {
	return len(protocol) >= 2 && message.EqualFold(protocol[:2], "h2") ||
		len(protocol) >= 4 && message.EqualFold(protocol[:4], "http")
}

func (t *Tunnels) allows(protocol []byte) bool {
	if message.EqualFold(protocol, "websocket") {
		return !t.NoWebSocket
	}
	for _, p := range t.Protocols {
		if message.EqualFold(protocol, p) {
			return true
		}
	}
	return false
}

// askTunnel leaves of the protocols that the request would like to be upgraded to the first that the route allows.
func (x *Exchange) askTunnel() {
	h := &x.Request
	h.Upgrade = false
	if h.Verb == message.VerbConnect { // it asks for a tunnel already
		return
	}
	list := h.Bytes(h.Protocol)
	at := int(h.Protocol.At)
	for i, from := 0, 0; i <= len(list); i++ {
		if i < len(list) && list[i] != ',' {
			continue
		}
		start, end := from, i
		for start < end && (list[start] == ' ' || list[start] == '\t') {
			start++
		}
		for end > start && (list[end-1] == ' ' || list[end-1] == '\t') {
			end--
		}
		if start < end && x.route.Tunnels.allows(list[start:end]) {
			h.Upgrade = true
			h.Protocol = message.Span{At: uint32(at + start), Len: uint32(end - start)}
			return
		}
		from = i + 1
	}
}

// openTunnel takes an answer that makes a tunnel of the exchange. It reports false when the protocol is not the one
// that was asked for. Once the client's stream has the head as well, bytes go both ways:
//
//	client ──► downSide.OnData ─► toUp ─► up        filters of bodies do not see them
//	client ◄─ down ◄─ toDown ◄─ upSide.OnData ◄──
//
// The end of either is passed on, and the exchange is over when both have ended.
func (x *Exchange) openTunnel(h *message.Head) bool {
	if h.Status == 101 && !message.EqualFoldBytes(h.Bytes(h.Protocol), x.Request.Bytes(x.Request.Protocol)) {
		x.fail(faultMalformed)
		return false
	}
	x.tunnel = true
	x.toUp.reset()
	if x.total != nil {
		x.local.reactor.Disarm(x.total)
	}
	x.local.stats.Tunnels++
	return true
}

// cutTunnel ends a tunnel whose destination broke, or through which nothing came for too long.
func (x *Exchange) cutTunnel(f *fault) {
	if f == faultTimeout {
		x.local.stats.TunnelsIdle++
		f = faultTunnelIdle
	}
	x.cut(f)
}

// armTotal bounds the time of the exchange.
func (x *Exchange) armTotal() {
	if x.total == nil {
		x.total = &engine.Timer{Run: func(*engine.Reactor) { x.expire() }}
	}
	x.local.reactor.Arm(x.total, x.started+int64(x.route.Total))
}

// expire ends an exchange that takes too long.
func (x *Exchange) expire() {
	defer x.rescue()
	x.local.stats.Expired++
	switch {
	case x.working: // its Done ends it
		x.lost = faultTotal
		x.cancel()
	case x.answering:
		x.cut(faultTotal)
	default:
		x.fail(faultTotal)
	}
}
