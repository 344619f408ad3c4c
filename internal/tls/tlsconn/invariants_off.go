//go:build !invariants

package tlsconn

// check does something with -tags invariants only.
func (t *turns) check()     {}
func (h *handshake) check() {}
func (*QUIC) check()        {}
