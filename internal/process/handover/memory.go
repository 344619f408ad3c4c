package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/poller"
)

// memoryMax bounds what one memory file may hold: the manifest of 100 000 sockets has a fifth of it.
const memoryMax = 64 << 20

// Memory files are sealed, so that what one process has checked the other one cannot change.
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

var (
	errUnsealed = errors.New("its content may change still")
	errLarge    = fmt.Errorf("it holds more than %d bytes", memoryMax)
)

// WriteMemory makes a file that exists in memory alone and holds v as JSON. The caller closes it.
func WriteMemory(name string, v any) (*os.File, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	fd, err := poller.NewFile("edge-"+name, true)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(text)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// ReadMemory reads a file of WriteMemory into v. It leaves the descriptor open.
func ReadMemory(name string, fd int, v any) error {
	got, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || got&seals != seals {
		return fmt.Errorf("%s: %w", name, errors.Join(errUnsealed, err))
	}
	var at unix.Stat_t
	if err := unix.Fstat(fd, &at); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if at.Size > memoryMax {
		return fmt.Errorf("%s: %w", name, errLarge)
	}
	text := make([]byte, at.Size)
	for n := 0; n < len(text); {
		m, err := unix.Pread(fd, text[n:], int64(n))
		if err != nil && !errors.Is(err, unix.EINTR) || m == 0 && err == nil {
			return fmt.Errorf("%s: %w", name, errors.Join(err, errUnsealed))
		}
		n += max(m, 0)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
