package server

import "github.com/edge-proxy/edge/config"

const (
	descriptorsMin = 1024 // with fewer of them a proxy is not of much use
	descriptorsOwn = 64   // for listeners, logs and event loops
)

// Descriptors returns how many file descriptors c asks for: two for each connection that it allows, since a request on
// it needs one to a backend.
func Descriptors(c *config.Config) uint64 {
	conns := 0
	for i := range c.Listeners {
		l := &c.Listeners[i]
		conns += l.Limits.Connections * len(l.Addresses)
	}
	return max(descriptorsMin, 2*uint64(conns)+descriptorsOwn)
}
