package handover

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Peer is the process at the other end of a channel that came over an UpgradeSocket or Dial. It is held by a pidfd:
// another process that gets its number is not taken for it.
type Peer struct {
	PID, UID int
	fd       int // -1: the kernel has no pidfd
}

// errOtherUser says that a process of another user has connected.
type errOtherUser struct{ uid int }

func (e errOtherUser) Error() string {
	return fmt.Sprintf("a process of user %d: only one of user %d, or of root, may take part in an upgrade", e.uid,
		os.Geteuid())
}

// peerOf returns the process at the other end. Unless anyone is set, it checks the rights of that process.
func peerOf(c *Channel, anyone bool) (*Peer, error) {
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	p := &Peer{fd: -1}
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			failed = os.NewSyscallError("getsockopt", err)
			return
		}
		p.PID, p.UID = int(cred.Pid), int(cred.Uid)
		if pidfd, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD); err == nil {
			p.fd = pidfd // since Linux 6.5
		}
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	if !anyone && p.UID != 0 && p.UID != os.Geteuid() {
		p.Close()
		return nil, errOtherUser{p.UID}
	}
	if p.fd < 0 && p.PID > 0 {
		if p.fd, err = unix.PidfdOpen(p.PID, 0); err != nil {
			p.fd = -1
		}
	}
	return p, nil
}

// PID returns the number of the process at the other end; 0: it is not known.
func (c *Channel) PID() int {
	p, err := peerOf(c, true)
	if err != nil {
		return 0
	}
	p.Close()
	return p.PID
}

// Kill ends the process by SIGKILL.
func (p *Peer) Kill() error { return p.Signal(unix.SIGKILL) }

// Signal sends a signal to the process.
func (p *Peer) Signal(s unix.Signal) error {
	if p.fd < 0 {
		return os.ErrProcessDone
	}
	return unix.PidfdSendSignal(p.fd, s, nil, 0)
}

// Close lets go of the process.
func (p *Peer) Close() {
	if p.fd >= 0 {
		_ = unix.Close(p.fd)
		p.fd = -1
	}
}
