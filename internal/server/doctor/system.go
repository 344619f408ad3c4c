package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/base/build"
)

// System is the Host that this process runs on.
type System struct{}

// Path returns name.
func (System) Path(name string) string { return name }

// Getenv is os.Getenv.
func (System) Getenv(name string) string { return os.Getenv(name) }

// Descriptors returns RLIMIT_NOFILE of this process: a service may have another one.
func (System) Descriptors() (soft, hard uint64, err error) {
	var limit unix.Rlimit
	err = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	return limit.Cur, limit.Max, err
}

// UID returns the effective user.
func (System) UID() int { return os.Geteuid() }

// CPUs returns how many this process may use.
func (System) CPUs() int { return runtime.NumCPU() }

// Release is the release by uname -r.
func (System) Release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// Now is time.Now.
func (System) Now() time.Time { return time.Now() }

// Addresses returns the addresses of all interfaces.
func (System) Addresses() (all []netip.Addr, err error) {
	list, err := net.InterfaceAddrs()
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, p.Addr())
		}
	}
	return all, err
}

// Space asks statfs(2), as an ordinary user has it.
func (System) Space(path string) (bytes, inodes float64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, 0, err
	}
	part := func(free, of uint64) float64 {
		if of == 0 {
			return 1 // a file system without a fixed number of them
		}
		return float64(free) / float64(of)
	}
	return part(s.Bavail, s.Blocks), part(s.Ffree, s.Files), nil
}

// Synchronised asks adjtimex(2).
func (System) Synchronised() (bool, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, err
}

var errCall = errors.New("no such probe")

// Probe makes the call "splice", "memfd_create" or "pidfd_open", watches a folder by "inotify", or sets "UDP_SEGMENT"
// or "SO_ATTACH_REUSEPORT_CBPF" of a UDP socket, and undoes what it did.
func (System) Probe(call string) error {
	var fd int
	var err error
	switch call {
	case "splice":
		// Both ends are none: a call that is allowed answers EBADF.
		if _, err = unix.Splice(-1, nil, -1, nil, 1, unix.SPLICE_F_NONBLOCK); errors.Is(err, unix.EBADF) {
			err = nil
		}
		return err
	case "memfd_create":
		fd, err = unix.MemfdCreate("edge-doctor", unix.MFD_CLOEXEC)
	case "inotify":
		if fd, err = unix.InotifyInit1(unix.IN_CLOEXEC); err == nil {
			_, err = unix.InotifyAddWatch(fd, "/", unix.IN_CREATE)
			err = errors.Join(err, unix.Close(fd))
		}
		return err
	case "pidfd_open":
		fd, err = unix.PidfdOpen(os.Getpid(), 0)
	case "UDP_SEGMENT", "SO_ATTACH_REUSEPORT_CBPF":
		return probeUDP(call)
	default:
		return errCall
	}
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

func probeUDP(option string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was sent
	if option == "UDP_SEGMENT" {
		return unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1200)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return err
	}
	first := unix.SockFilter{Code: unix.BPF_RET} // the first socket has all
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
		&unix.SockFprog{Len: 1, Filter: &first})
}

const lookUpTime = 3 * time.Second

// LookUp asks the resolver of the system, for up to 3 s.
func (System) LookUp(name string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookUpTime)
	defer cancel()
	begun := time.Now()
	_, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	return time.Since(begun), err
}

// HasACL looks for an attribute of POSIX ACLs.
func (System) HasACL(path string) bool {
	n, err := unix.Getxattr(path, "system.posix_acl_access", nil)
	return err == nil && n > 0
}

// Sum is build.Sum.
func (System) Sum(path string) (string, error) { return build.Sum(path) }
