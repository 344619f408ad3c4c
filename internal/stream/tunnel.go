package stream

import "github.com/edge-proxy/edge/message"

// A tunnel is what an exchange becomes after 101, or after 2xx to CONNECT: both messages go on as raw bytes, each
// until its sender ends it by FIN, with the same back-pressure as a body.
//
//	client ──Upgrade──► server …… Client ──► origin        requestDone: what follows the request waits
//	       ◄───101───── SendHead ◄─ OnHead ◄──              Tunnel of the head is set: both ends turn
//	       ◄══════════ SendData, OnData, Release ═════►     half close is passed on by SendData with end
//
// It is over when both sides have ended. The connection to the origin alone has a deadline, which every byte in
// either direction moves.

// TunnelState says how far an exchange has become a tunnel.
type TunnelState uint8

// The states of an exchange that may become a tunnel.
const (
	NoTunnel    TunnelState = iota
	TunnelAsked             // the request has Upgrade, or is CONNECT
	TunnelOpen              // the answer agreed
)

// AsksForTunnel returns the state in which the exchange of a request with head h begins.
func AsksForTunnel(h *message.Head) TunnelState {
	if h.Upgrade || h.Verb == message.VerbConnect {
		return TunnelAsked
	}
	return NoTunnel
}
