//go:build !invariants

package session

// The checks do something with -tags invariants only.
func (s *h1Server) check() {}
func (c *Client) check()   {}
func (l *link) check()     {}
