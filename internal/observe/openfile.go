package observe

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/edge-proxy/edge/internal/base/safeopen"
)

// OpenFile opens a log to append to it, and makes it where there is none. A pipe must have a reader: waiting for one
// would hold up a start, a reload or an end. Root follows no link that another user may have made.
func OpenFile(path string) (*os.File, error) {
	flags := os.O_WRONLY | os.O_APPEND | os.O_CREATE
	if at, err := os.Stat(path); err == nil && at.Mode()&os.ModeNamedPipe != 0 {
		flags |= syscall.O_NONBLOCK
	}
	f, err := safeopen.Open(path, flags, 0o640)
	if errors.Is(err, syscall.ENXIO) {
		err = fmt.Errorf("%w: nobody reads the pipe", err)
	}
	return f, err
}
