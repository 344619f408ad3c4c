//go:build invariants

package quicconn

import (
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/quic"
)

// check walks what the comment of Conn states.
func (c *Conn) check() {
	for _, k := range c.ids {
		invariant.That(c.local.byID[k] == c, "the table has another connection for an id")
	}
	invariant.That(c.first == quic.ID{} || c.local.byFirst[c.first] == c, "the table has no first id of a connection")
	invariant.That(!c.dropped || c.shake == nil && c.session == nil, "a connection that is over keeps its session")
	invariant.That(c.session == nil || c.shake == nil, "a session and a handshake")
}
