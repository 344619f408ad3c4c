package poller

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// NewFile makes an empty File. sealable: it may be sealed.
func NewFile(name string, sealable bool) (File, error) {
	flags := unix.MFD_CLOEXEC
	if sealable {
		flags |= unix.MFD_ALLOW_SEALING
	}
	// A process that is locked down may make only memory files that nothing can execute. Linux 6.3 is the first to have
	// these.
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, flags)
	}
	return File(fd), os.NewSyscallError("memfd_create", err)
}

// ReadAt reads what f has at a place, maybe less than p has room for.
func (f File) ReadAt(p []byte, at int64) (int, error) { return unix.Pread(int(f), p, at) }

// WriteAt writes p to a place, maybe not all of it.
func (f File) WriteAt(p []byte, at int64) (int, error) { return unix.Pwrite(int(f), p, at) }

// Close frees the memory of f, once no socket sends from it any more.
func (f File) Close() { _ = unix.Close(int(f)) }
