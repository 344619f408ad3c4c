package process

import (
	"fmt"
	"log/slog"
	"math/bits"
	"syscall"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server"
)

// descriptorsAdvised is advised at least, where they are too few.
const descriptorsAdvised = 1 << 16

// warnDescriptors logs that there are too few file descriptors for cfg. Go has raised the soft limit to the hard one
// when the process began.
func warnDescriptors(cfg *config.Config) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return
	}
	needed := server.Descriptors(cfg)
	if limit.Cur >= needed {
		return
	}
	advised := max(descriptorsAdvised, uint64(1)<<bits.Len64(needed-1))
	slog.Warn("few file descriptors: connections will have to wait or be closed", "limit", limit.Cur, "wanted", needed,
		"try", fmt.Sprintf("LimitNOFILE=%d in its unit of systemd, ulimit -n %[1]d in a shell, --ulimit nofile=%[1]d "+
			"of docker run", advised))
}
