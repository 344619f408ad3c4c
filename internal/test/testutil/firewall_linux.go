package testutil

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
)

// Firewall is a TCP listener for which the kernel can drop each packet that comes in, as a firewall does: connects and
// bytes on connections that stand are not acknowledged. Sockets drop them by a filter (socket(7), SO_ATTACH_FILTER),
// which needs no rights and ends with the process. Safe for any goroutine.
type Firewall struct {
	*net.TCPListener
	mu    sync.Mutex
	drops bool                  // guarded by mu
	conns map[*guardedConn]bool // those that are open; guarded by mu
}

// NewFirewall listens on address, and drops nothing yet.
func NewFirewall(address string) (*Firewall, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // such sockets take no filter
	l, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return &Firewall{TCPListener: l.(*net.TCPListener), conns: make(map[*guardedConn]bool)}, nil
}

// Drop begins to drop packets, or ends that.
func (f *Firewall) Drop(on bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drops = on
	errs := []error{filter(f.TCPListener, on)}
	for c := range f.conns {
		errs = append(errs, filter(c.TCPConn, on))
	}
	return errors.Join(errs...)
}

// Accept implements net.Listener.
func (f *Firewall) Accept() (net.Conn, error) {
	c, err := f.AcceptTCP()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := filter(c, f.drops); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	g := &guardedConn{TCPConn: c, wall: f}
	f.conns[g] = true
	return g, nil
}

// guardedConn is a connection of a Firewall. Safe for any goroutine.
type guardedConn struct {
	*net.TCPConn
	wall *Firewall
}

// Close implements net.Conn.
func (c *guardedConn) Close() error {
	c.wall.mu.Lock()
	delete(c.wall.conns, c)
	c.wall.mu.Unlock()
	return c.TCPConn.Close()
}

// filter makes the kernel drop the packets for a socket, or let them pass.
func filter(s syscall.Conn, drop bool) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		if drop {
			none := syscall.SockFilter{Code: syscall.BPF_RET | syscall.BPF_K} // take 0 bytes of each packet
			failed = syscall.AttachLsf(int(fd), []syscall.SockFilter{none})
		} else if failed = syscall.DetachLsf(int(fd)); failed == syscall.ENOENT { // it had none
			failed = nil
		}
	})
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return errors.Join(err, failed)
}
