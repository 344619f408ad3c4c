//go:build !invariants

package quic

func (p *page) poison()    {}
func (s *assembly) check() {}
func (o *outgoing) check() {}

func (c *Conn) check() {}
