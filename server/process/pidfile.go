package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/edge-proxy/edge/internal/safeopen"
)

// writePID writes the id of the process to the pid file; "": there is none.
func writePID(path string) error {
	if path == "" {
		return nil
	}
	f, err := safeopen.Open(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err == nil {
		_, err = f.WriteString(pidText())
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("pid_file: %w", err)
	}
	return nil
}

// removePID removes the pid file, unless another process has written its own id to it since.
func removePID(path string) {
	if path == "" {
		return
	}
	if b, err := os.ReadFile(path); err == nil && string(b) == pidText() {
		_ = os.Remove(path)
	}
}

func pidText() string { return strconv.Itoa(os.Getpid()) + "\n" }
