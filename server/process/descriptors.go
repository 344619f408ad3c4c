package process

import (
	"fmt"
	"log/slog"
	"math/bits"
	"syscall"

	"github.com/edge-proxy/edge/config"
)

const (
	descriptorsMin     = 1024    // with fewer of them a proxy is not of much use
	descriptorsOwn     = 64      // for listeners, logs and event loops
	descriptorsAdvised = 1 << 16 // at least, where they are too few
)

// warnDescriptors logs that there are too few file descriptors for cfg. Go has raised the soft limit to the hard one
// when the process began.
func warnDescriptors(cfg *config.Config) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return
	}
	needed := descriptorsFor(cfg)
	if limit.Cur >= needed {
		return
	}
	advised := max(descriptorsAdvised, uint64(1)<<bits.Len64(needed-1))
	slog.Warn("few file descriptors: connections will have to wait or be closed", "limit", limit.Cur, "wanted", needed,
		"try", fmt.Sprintf("LimitNOFILE=%d in its unit of systemd, ulimit -n %[1]d in a shell, --ulimit nofile=%[1]d "+
			"of docker run", advised))
}

// descriptorsFor returns how many descriptors cfg asks for: two for each connection that it allows, since a request on
// it needs one to a backend.
func descriptorsFor(cfg *config.Config) uint64 {
	conns := 0
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		conns += l.Limits.Connections * len(l.Addresses)
	}
	return max(descriptorsMin, 2*uint64(conns)+descriptorsOwn)
}
