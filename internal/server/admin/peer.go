package admin

import (
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// peer is the process at the other end of a Unix socket, as it was when it connected.
// Immutable.
type peer struct{ uid, gid, pid int }

// peerKey is the key of the peer in the context of a connection.
type peerKey struct{}

// peerOf asks the kernel who is at the other end of c; nil: it does not say.
func peerOf(c net.Conn) *peer {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || failed != nil {
		return nil
	}
	return &peer{int(cred.Uid), int(cred.Gid), int(cred.Pid)}
}

// owns reports whether p is root or the user of this process: it may read and start the same files anyway.
func (p *peer) owns() bool { return p.uid == 0 || p.uid == os.Geteuid() }

// trusted reports whether p may change things: root, the user of this process, and members of its group.
func (p *peer) trusted() bool {
	gid := os.Getegid()
	if p.owns() || p.gid == gid {
		return true
	}
	who, err := user.LookupId(strconv.Itoa(p.uid)) // the kernel tells the first group of a process alone
	if err != nil {
		return false
	}
	groups, err := who.GroupIds()
	return err == nil && slices.Contains(groups, strconv.Itoa(gid))
}
