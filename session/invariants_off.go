//go:build !invariants

package session

// The checks do something with -tags invariants only.
func (s *h1Server) check() {}
func (c *Client) check()   {}
func (l *link) check()     {}

func (b *bodyWriter) check() {}

func (s *h1Server) mustOwn() {}
func (c *Client) mustOwn()   {}
func (l *link) mustOwn()     {}
