package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/socketfile"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/poller"
)

// Socket is a listening socket that goes from process to process, or what belongs to it: see Purpose. A configuration
// claims it by its address and V6Only, never by its name. Where a Held one has the name of a listener, though, an
// address that this listener does not have is an error.
type Socket struct {
	Address  string `json:"address"` // as getsockname(2) has it: host:port, or unix:/path
	V6Only   bool   `json:"v6only,omitempty"`
	Index    int    `json:"index"` // among the sockets of the address
	Purpose  string `json:"purpose"`
	Listener string `json:"listener,omitempty"` // its name; of a Held one the name that the supervisor has given it
	AnyPort  bool   `json:"any_port,omitempty"` // the configuration says port 0
	Held     bool   `json:"held,omitempty"`     // by systemd, which opened it: see Options.Adopt
	File     FileID `json:"file,omitzero"`      // of a Unix socket that edge has made
	FD       int    `json:"-"`
}

// The Purposes of sockets that a Server listens on. It adopts a socket of either kind, as its configuration says.
const (
	PurposeHTTP    = "http"
	PurposeService = "service" // for a protocol that is not HTTP: older programs leave it alone
)

// The Purposes of descriptors for HTTP/3 at an address. Older programs leave both alone.
const (
	PurposeQUIC = "quic"      // a UDP socket
	PurposeLink = "quic-link" // the end of a link to the process before: see quicconn.Server.Inherit
)

// FileID names a file as long as a process has it open.
type FileID struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

// adoption is the listening sockets that exist already: Options.Adopt.
// Guarded by shared.mu.
type adoption struct {
	sockets []Socket
	claims  []*listener      // by index in sockets; nil: not claimed; see isFree
	dropped func(socket int) // see Handover.OnDrop; nil: not called
}

// hasPort reports whether a socket that may be adopted has the port of at: then the kernel decides what goes together.
func (a *adoption) hasPort(at poller.Addr) bool {
	return !at.IsUnix() && at.IP.Port() != 0 && slices.ContainsFunc(a.sockets, func(s Socket) bool {
		is, err := netip.ParseAddrPort(s.Address)
		return err == nil && is.Port() == at.IP.Port()
	})
}

// adopt makes l listen on the sockets that exist of an address, if there are any.
func (a *adoption) adopt(
	e *engine.Engine, l *listener, at *config.Address, o engine.ListenOptions,
) (adopted bool, err error) {
	group := a.group(at)
	if len(group) == 0 {
		return false, nil
	}
	first := a.sockets[group[0]]
	if first.File != (FileID{}) {
		if l.file, err = socketfile.Adopt(at.Path, first.File.Dev, first.File.Ino); err != nil {
			slog.Warn("the file of a Unix socket is another one by now, and made anew", "path", at.Path, "reason", err)
			return false, nil
		}
	}
	var fds []poller.FD
	for _, i := range group {
		fd, err := a.descriptor(i)
		if err != nil {
			for _, fd := range fds {
				unix.Close(int(fd)) //nolint:errcheck // nothing was written to it
			}
			return false, err
		}
		fds = append(fds, fd)
	}
	for _, i := range group {
		a.claims[i] = l
	}
	if o.Held, l.isHeld = first.Held, first.Held; l.isHeld {
		l.heldName = first.Listener
	}
	l.open, err = e.Adopt(fds, o, l.accept)
	return true, err
}

// group returns the indexes of the sockets that an address claims, in the order of their group.
func (a *adoption) group(at *config.Address) (group []int) {
	for _, addr := range addrsOf(at) {
		address := ""
		for i, s := range a.sockets {
			free := a.isFree(i) && s.isOurs() && (address == "" || s.Address == address)
			if free && s.serves(at, addr) {
				address = s.Address
				group = append(group, i)
			}
		}
		if len(group) > 0 {
			slices.SortStableFunc(group, func(i, j int) int { return a.sockets[i].Index - a.sockets[j].Index })
			return group
		}
	}
	return nil
}

// serves reports whether s is a socket of the address a, of which addr is tried.
func (s *Socket) serves(a *config.Address, addr poller.Addr) bool {
	if addr.IsUnix() {
		return s.Address == addr.String()
	}
	at, err := netip.ParseAddrPort(s.Address)
	if err != nil || at.Addr().WithZone("") != addr.IP.Addr().WithZone("") {
		return false
	}
	if addr.IP.Port() == 0 {
		if !s.AnyPort {
			return false
		}
	} else if s.AnyPort || at.Port() != addr.IP.Port() {
		return false
	}
	// Any other address of IPv6 takes no IPv4, whatever the option says.
	return !at.Addr().Is6() || !at.Addr().IsUnspecified() || s.V6Only == (a.Network == "tcp6")
}

// drop tells that l closes. shared.mu is held.
func (a *adoption) drop(l *listener) {
	if a.dropped == nil {
		return
	}
	for i, claimed := range a.claims {
		if claimed == l {
			a.dropped(i)
		}
	}
}

// Held sockets come from a supervisor such as systemd, which opened them before this process was there, and keeps
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
	addr := poller.LocalAddr(poller.FD(fd))
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
// it has closed. shared.mu is held.
func (a *adoption) isFree(i int) bool {
	l := a.claims[i]
	return l == nil && a.sockets[i].FD >= 0 || l != nil && a.sockets[i].Held && (l.open == nil || l.open.Closed())
}

// descriptor returns the descriptor for the engine to take over for socket i.
func (a *adoption) descriptor(i int) (poller.FD, error) {
	s := &a.sockets[i]
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
func (a *adoption) checkNames(c *config.Config) error {
	for i := range a.sockets {
		s := &a.sockets[i]
		if !s.Held || s.Listener == "" {
			continue
		}
		for _, l := range c.Listening() {
			if l.Name == s.Listener && !s.isOf(l) {
				return s.wrongAddress(l)
			}
		}
	}
	return nil
}

func (s *Socket) isOurs() bool { return s.Purpose == PurposeHTTP || s.Purpose == PurposeService }

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

// wayIn says what makes s the socket of a listener of c.
func (s *Socket) wayIn(c *config.Config) string {
	at, err := netip.ParseAddrPort(s.Address)
	for _, l := range c.Listening() {
		for j := range l.Addresses {
			a := &l.Addresses[j]
			if err == nil && a.Network != "unix" && a.Port == int(at.Port()) {
				return fmt.Sprintf("the listener at %s has the port and not the address: listen = %q there, or "+
					"ListenStream= and BindIPv6Only= in the unit of the socket", a.Text, s.listen())
			}
		}
	}
	return fmt.Sprintf("a listener with listen = %q, or the unit of the socket without this one", s.listen())
}

// unclaimedSockets returns the held sockets that no listener has, with second descriptors. shared.mu is held.
func (a *adoption) unclaimedSockets() (all []Socket, err error) {
	for i := range a.sockets {
		if !a.sockets[i].Held || !a.isFree(i) {
			continue
		}
		s := a.sockets[i]
		fd, err := secondDescriptor(&a.sockets[i])
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
