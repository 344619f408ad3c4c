package proxy

import (
	"errors"
	"fmt"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// Switch is a setting of a Route that its listener decides where the route does not.
type Switch uint8

// The positions of a Switch.
const (
	ByListener Switch = iota
	On
	Off
)

// on reports whether s is on for a request of a listener that says so, or not.
func (s Switch) on(listener bool) bool { return s == On || s == ByListener && listener }

// Tunnels says which requests of a route may turn their connections into tunnels by Upgrade. What may not is sent on
// as a request without Upgrade. CONNECT is a method like any other that a route has to name: see Route.Methods.
type Tunnels struct {
	WebSocket Switch
	Protocols []string // further ones, by their names in Upgrade; an upgrade to HTTP/2 is none
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

// allow reports whether a connection of l may be upgraded to a protocol.
func (t *Tunnels) allow(protocol []byte, l *Listener) bool {
	if message.EqualFold(protocol, webSocket) {
		return t.WebSocket.on(!l.NoWebSocket)
	}
	for _, p := range t.Protocols {
		if message.EqualFold(protocol, p) {
			return true
		}
	}
	return false
}

// settleUpgrade leaves of the protocols that a request of HTTP/1 lists in Upgrade the first that is no version of HTTP,
// so that conditions see the protocol that the backend is asked for. A request with content asks for none: where a
// backend took the content for the new protocol, an answer to it could be taken for that to the next request of its
// connection. RFC 9110 §7.8: an Upgrade may be ignored.
func settleUpgrade(h *message.Head) {
	h.Upgrade = false
	if h.Verb == message.VerbConnect || h.Length != 0 { // it asks for a tunnel already, or has content
		return
	}
	for p := range h.Elements(message.Upgrade) {
		if len(p) > 0 && !isHTTP(p) {
			h.DelID(message.Upgrade)
			h.AddBytes(message.Upgrade, "Upgrade", p)
			f := &h.Fields[len(h.Fields)-1]
			h.Protocol, h.Upgrade = message.Span{At: f.ValueAt, Len: f.ValueLen}, true
			return
		}
	}
}

// ask prepares h to ask the backend for the protocol that it names, if t allows it. It returns why h is refused,
// or nil.
func (s *socket) ask(h *message.Head, t *Tunnels, l *Listener) *Error {
	switch p := h.Bytes(h.Protocol); {
	case t.allow(p, l):
		if message.EqualFold(p, webSocket) {
			s.asked, s.made = true, askWebSocket(h)
		}
	case h.Proto.Shared(): // RFC 8441: nothing is left of an extended CONNECT without its protocol
		return upgradeRefused
	default:
		h.Upgrade = false
	}
	return nil
}

// openTunnel takes an answer that makes a tunnel of the exchange. It reports false when the protocol is not the
// protocol that was asked for. Once the client's stream has the head as well, bytes go both ways:
//
//	client ──► downSide.OnData ─► toUp ─► up        filters of bodies do not see them
//	client ◄─ down ◄─ toDown ◄─ upSide.OnData ◄──
//
// The end of either is passed on, and the exchange is over when both have ended.
func openTunnel(x *Exchange, h *message.Head) bool {
	if h.Status == 101 && !message.EqualFoldBytes(h.Bytes(h.Protocol), x.Request.Bytes(x.Request.Protocol)) {
		x.fail(malformedAnswer)
		return false
	}
	if x.socket.asked {
		switch acceptWebSocket(&x.Request, h, x.socket.made) {
		case errNoKey:
			x.fail(upgradeRefused)
			return false
		case errAccept:
			x.fail(malformedAnswer)
			return false
		}
	}
	x.tunnel = true
	x.up.BecomeTunnel()
	if x.total != nil {
		x.local.reactor.Disarm(x.total)
	}
	x.local.stats.Tunnels++
	return true
}

// unswitched reports whether an answer to an upgrade would open a tunnel where none was made: RFC 8441 §5 takes any 2xx
// to an extended CONNECT for a 101.
func unswitched(request, answer *message.Head) bool {
	return request.Proto.Shared() && request.Verb != message.VerbConnect && answer.Status/100 == 2
}

// OnTunnelDrain tells the client of a WebSocket why its connection ends, where that can be said between two frames.
func (d *downSide) OnTunnelDrain(s session.Stream) {
	x := (*Exchange)(d)
	if x.tunnel && x.answering && x.socket.asked && x.socket.sent.Between() && len(x.toDown.Held) == 0 &&
		!x.toDown.EndSent {
		s.SendData(goingAway, true) //nolint:errcheck // it is the last word
	}
}
