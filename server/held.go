package server

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/poller"
)

// Held sockets are those of a supervisor such as systemd, which opened them before this process was there, and keeps
// them when it has ended: clients wait in their queues meanwhile. So the Server listens by second descriptors. The
// first ones stay open as well, because a reload that names an address again could not open it: the supervisor has it.
//
//	supervisor ── Options.Adopt, Held ──► second descriptors ──► engine     a listener that a reload adds or removes
//	                      └── stays as it is ──────────────────► Sockets    the next process, after an upgrade

// SocketOf describes a listening socket by its descriptor alone, as systemd hands it over: it is Held.
func SocketOf(fd int) (Socket, error) {
	if err := accepts(fd); err != nil {
		return Socket{}, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	addr := (*poller.Epoll)(nil).LocalAddr(poller.FD(fd))
	only := poller.V6Only(poller.FD(fd))
	return Socket{Address: addr.String(), V6Only: only, Purpose: PurposeHTTP, Held: true, FD: fd}, nil
}

var (
	errNoSocket    = errors.New("it is no socket: of FIFOs, files and queues edge reads nothing")
	errDatagrams   = errors.New("it is a socket of datagrams, and clients connect to one of streams: ListenStream=")
	errSequence    = errors.New("it is a socket of packets, and clients connect to one of streams: ListenStream=")
	errOneConn     = errors.New("it is a connection, and no socket that listens for them: Accept=no")
	errStrangeKind = errors.New("it is a socket of neither TCP nor Unix")
)

// accepts returns why fd is no socket that clients connect to; nil: it is one.
func accepts(fd int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case errors.Is(err, unix.ENOTSOCK):
		return errNoSocket
	case err != nil:
		return err
	case kind == unix.SOCK_DGRAM:
		return errDatagrams
	case kind == unix.SOCK_SEQPACKET:
		return errSequence
	}
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return err
	}
	if kind != unix.SOCK_STREAM || family != unix.AF_INET && family != unix.AF_INET6 && family != unix.AF_UNIX {
		return errStrangeKind
	}
	if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
		return errors.Join(err, errOneConn)
	}
	return nil
}

// isFree reports whether a listener may claim socket i: no listener has it or, where it is Held, the listener that had
// it has closed. Server.mu is held.
func (h *Handover) isFree(i int) bool {
	l := h.claims[i]
	return l == nil && h.adoptable[i].FD >= 0 || l != nil && h.adoptable[i].Held && (l.open == nil || l.open.Closed())
}

// descriptor returns the one that the engine is to take over for socket i.
func (h *Handover) descriptor(i int) (poller.FD, error) {
	s := &h.adoptable[i]
	if !s.Held {
		return poller.FD(s.FD), nil
	}
	return secondDescriptor(s)
}

func secondDescriptor(s *Socket) (poller.FD, error) {
	fd, err := unix.FcntlInt(uintptr(s.FD), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return poller.NoFD, fmt.Errorf("socket %s: %w", s.Address, err)
	}
	return poller.FD(fd), nil
}

// checkNames returns an error where a held socket has the name of a listener that has another address.
func (h *Handover) checkNames(c *config.Config) error {
	for i := range h.adoptable {
		s := &h.adoptable[i]
		if !s.Held || s.Listener == "" {
			continue
		}
		for j := range c.Listeners {
			if l := &c.Listeners[j]; l.Name == s.Listener && !s.isOf(l) {
				return s.wrongAddress(l)
			}
		}
	}
	return nil
}

// isOf reports whether s is a socket of an address of l.
func (s *Socket) isOf(l *config.Listener) bool {
	for i := range l.Addresses {
		for _, addr := range addrsOf(&l.Addresses[i]) {
			if s.serves(&l.Addresses[i], addr) {
				return true
			}
		}
	}
	return false
}

// wrongAddress says that s has the name of l and none of its addresses.
func (s *Socket) wrongAddress(l *config.Listener) error {
	var has []string
	for i := range l.Addresses {
		has = append(has, l.Addresses[i].Text)
	}
	return &ListenError{
		Pos: l.Addresses[0].Pos, Listener: l.Name,
		Err: fmt.Errorf("the socket %q of the supervisor is %s, and the listener of that name has %s", s.Listener,
			s.title(), strings.Join(has, ", ")),
		Try: []string{"the two have to be the same",
			fmt.Sprintf("listen = %q", s.listen()),
			"ListenStream= and BindIPv6Only= in the unit of the socket",
			"FileDescriptorName= with a name that no listener has"},
	}
}

// title is the address of s, and whether it takes IPv4.
func (s *Socket) title() string {
	switch at, err := netip.ParseAddrPort(s.Address); {
	case err != nil || !at.Addr().Is6() || !at.Addr().IsUnspecified():
		return s.Address
	case s.V6Only:
		return s.Address + " for IPv6 alone"
	}
	return s.Address + " for IPv6 and IPv4"
}

// listen is s as a value of the key.
func (s *Socket) listen() string {
	at, err := netip.ParseAddrPort(s.Address)
	if err == nil && at.Addr().Is6() && at.Addr().IsUnspecified() && !s.V6Only {
		return fmt.Sprintf(":%d", at.Port())
	}
	return s.Address
}

// Unclaimed is a socket of Options.Adopt that is Held and that no listener has.
type Unclaimed struct {
	Name    string // that its supervisor has given it
	Address string
	Try     string // how a listener gets it
}

// Unclaimed returns held sockets that no listener has: clients connect to them, and wait.
func (h *Handover) Unclaimed() (all []Unclaimed) {
	s := h.server
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range h.adoptable {
		if one := &h.adoptable[i]; one.Held && h.isFree(i) {
			all = append(all, Unclaimed{one.Listener, one.title(), one.wayIn(s.present.config)})
		}
	}
	return all
}

// wayIn says what makes s the socket of a listener of c.
func (s *Socket) wayIn(c *config.Config) string {
	at, err := netip.ParseAddrPort(s.Address)
	for i := range c.Listeners {
		for j := range c.Listeners[i].Addresses {
			a := &c.Listeners[i].Addresses[j]
			if err == nil && a.Network != "unix" && a.Port == int(at.Port()) {
				return fmt.Sprintf("the listener at %s has the port and not the address: listen = %q there, or "+
					"ListenStream= and BindIPv6Only= in the unit of the socket", a.Text, s.listen())
			}
		}
	}
	return fmt.Sprintf("a listener with listen = %q, or the unit of the socket without this one", s.listen())
}

// unclaimedSockets returns the held sockets that no listener has, with second descriptors. Server.mu is held.
func (h *Handover) unclaimedSockets() (all []Socket, err error) {
	for i := range h.adoptable {
		if !h.adoptable[i].Held || !h.isFree(i) {
			continue
		}
		s := h.adoptable[i]
		fd, err := secondDescriptor(&h.adoptable[i])
		if err != nil {
			closeSockets(all)
			return nil, err
		}
		s.FD = int(fd)
		all = append(all, s)
	}
	return all, nil
}

func closeSockets(all []Socket) {
	for i := range all {
		unix.Close(all[i].FD) //nolint:errcheck // nothing was written to it
	}
}
