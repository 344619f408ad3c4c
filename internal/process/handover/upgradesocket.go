package handover

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/base/fdpass"
	"github.com/edge-proxy/edge/internal/base/safeopen"
	"github.com/edge-proxy/edge/internal/base/socketfile"
)

// UpgradeSocket is the socket at upgrade_sock, where a new process finds the running one. Accept is safe for any
// goroutine, all else belongs to one at a time.
type UpgradeSocket struct {
	listener *net.UnixListener
	file     *socketfile.File
}

// TakenError says that another process listens at the path of an UpgradeSocket.
type TakenError struct{ Path string }

// Error is for the interface.
func (e TakenError) Error() string {
	return fmt.Sprintf("%s: another process listens there: edge runs already, or upgrade_sock belongs to another one",
		e.Path)
}

const (
	upgradeSocketBacklog = 8
	upgradeSocketMode    = 0o600
)

// ListenForUpgrades listens at path, with the mode 0600. The socket appears there by a rename, so at no time is there
// none, or a socket that others may use. What an ended process left there is replaced; a file of another kind never.
// Unless replace is given, it returns a TakenError where a process listens; with replace the name becomes this one's.
func ListenForUpgrades(path string, replace bool) (*UpgradeSocket, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	switch at, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case at.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is a file, not a socket: it is not replaced", path)
	case !replace && listens(path):
		return nil, TakenError{path}
	}
	s := &UpgradeSocket{}
	safeopen.RemoveHidden(path)
	hidden := safeopen.Hidden(path)
	if err := s.bind(hidden); err != nil {
		return nil, err
	}
	if err := s.file.Rename(path); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// bind makes the socket at hidden. Before listen(2) no client can connect, so that none does with another mode.
func (s *UpgradeSocket) bind(hidden string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), hidden)
	defer f.Close()                                            // FileListener has a copy
	if err := unix.Fchmod(fd, upgradeSocketMode); err != nil { // bind(2) makes the file with it, less the umask
		return os.NewSyscallError("fchmod", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: hidden}); err != nil {
		return fmt.Errorf("bind %s: %w", hidden, err)
	}
	s.file, err = socketfile.Made(hidden)
	if err == nil {
		err = s.file.Give(-1, -1, upgradeSocketMode)
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, upgradeSocketBacklog))
	}
	var l net.Listener
	if err == nil {
		l, err = net.FileListener(f)
	}
	if err != nil {
		s.file.Close()
		_ = os.Remove(hidden)
		return err
	}
	s.listener = l.(*net.UnixListener) // of an AF_UNIX socket it is
	return nil
}

func listens(path string) bool {
	c, err := net.Dial("unixpacket", path)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// Accept waits for a new process. One of another user is refused, which is an error of that process alone;
// net.ErrClosed is the end.
func (s *UpgradeSocket) Accept() (*Channel, *Peer, error) {
	conn, err := s.listener.AcceptUnix()
	if err != nil {
		return nil, nil, err
	}
	return channelWithPeer(conn, false)
}

// Dial connects to the running process at path.
func Dial(path string) (*Channel, *Peer, error) { return dial(path, false) }

// DialToAsk is Dial for a process that takes nothing over: root may ask the process of any user.
func DialToAsk(path string) (*Channel, *Peer, error) { return dial(path, os.Geteuid() == 0) }

func dial(path string, anyone bool) (*Channel, *Peer, error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, nil, err
	}
	return channelWithPeer(conn, anyone)
}

// channelWithPeer returns a channel over conn, and the process at its other end. Unless anyone is set, that process has
// to be of root or of the user of this one.
func channelWithPeer(conn *net.UnixConn, anyone bool) (*Channel, *Peer, error) {
	c := channelOf(fdpass.Of(conn))
	p, err := peerOf(c, anyone)
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, p, nil
}

// Close stops listening. It removes the file unless another process has taken the name.
func (s *UpgradeSocket) Close() {
	if s == nil {
		return
	}
	s.file.Remove()
	_ = s.listener.Close()
}

// InPlace reports whether the path leads to this socket.
func (s *UpgradeSocket) InPlace() bool { return s.file.InPlace() }
