package server

import (
	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/config"
)

const (
	descriptorsMin = 1024 // with fewer of them a proxy is not of much use
	descriptorsOwn = 64   // for listeners, logs and event loops
)

// connsMax returns how many connections clients may have where descriptors are few: half of them, since a request
// needs one to a backend as well. Otherwise clients that send nothing would keep backends from those that do.
func connsMax() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	n := int(min(limit.Cur, 1<<30))
	return (n - min(descriptorsOwn, n/4)) / 2
}

// Descriptors returns how many file descriptors c asks for: two for each connection that it allows, since a request on
// it needs one to a backend.
func Descriptors(c *config.Config) uint64 {
	conns := 0
	for _, l := range c.Listening() {
		conns += l.Limits.Connections * len(l.Addresses)
	}
	return max(descriptorsMin, 2*uint64(conns)+descriptorsOwn)
}
