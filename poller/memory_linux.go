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

// Size returns how many bytes f has.
func (f File) Size() (int64, error) {
	var at unix.Stat_t
	err := unix.Fstat(int(f), &at)
	return at.Size, os.NewSyscallError("fstat", err)
}

// Map makes f as large as that at least, and returns its memory, which all processes share that map it. Unmap gives it
// up.
func (f File) Map(size int) ([]byte, error) {
	if n, err := f.Size(); err != nil {
		return nil, err
	} else if n < int64(size) { // never smaller: others have mapped it
		if err := unix.Ftruncate(int(f), int64(size)); err != nil {
			return nil, os.NewSyscallError("ftruncate", err)
		}
	}
	memory, err := unix.Mmap(int(f), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return memory, os.NewSyscallError("mmap", err)
}

// Unmap gives memory of Map up.
func Unmap(memory []byte) { _ = unix.Munmap(memory) }

// Cached reports whether n bytes of f at an offset can be read without waiting for a disk. A kernel before 6.5 is asked
// for the first and the last one of them.
func (f File) Cached(at int64, n int) bool {
	if n <= 0 {
		return n == 0
	}
	last := at + int64(n) - 1
	var of unix.Cachestat_t
	err := unix.Cachestat(uint(f), &unix.CachestatRange{Off: uint64(at), Len: uint64(n)}, &of, 0)
	if size := int64(os.Getpagesize()); err == nil {
		return of.Cache >= uint64(last/size-at/size+1)
	}
	return f.cachedByte(at) && f.cachedByte(last)
}

// cachedByte reads a byte unless that takes a wait.
func (f File) cachedByte(at int64) bool {
	var p [1]byte
	n, err := unix.Preadv2(int(f), [][]byte{p[:]}, at, unix.RWF_NOWAIT)
	return err == nil && n == 1
}

// WriteAt writes p at an offset, maybe not all of it.
func (f File) WriteAt(p []byte, at int64) (int, error) { return unix.Pwrite(int(f), p, at) }

// Truncate frees all bytes of f, which has none from then on. Bytes that a socket has to send stay until they are sent.
func (f File) Truncate() error { return os.NewSyscallError("ftruncate", unix.Ftruncate(int(f), 0)) }

// Close frees the memory of f, once no socket sends from it any more.
func (f File) Close() { _ = unix.Close(int(f)) }
