package server

import (
	"fmt"
	"log/slog"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
)

// How the UDP ports of HTTP/3 go to another process. Connections of QUIC stay where they are, and datagrams for them
// come to the process that reads, which knows by their ids whose they are: see quicconn. It passes them on by a link of
// each reactor.
//
//	old: Sockets: copies of the UDP sockets, ends of links ─► Suspend: reads no more, sends on ─► Drain
//	new: adoptDatagrams, suspended ─► Resume: reads, passes on ─► the other end of the links is closed

// datagrams returns the UDP sockets that are open, with second descriptors, and a link for each reactor and port. What
// it returns beside an error is to be closed. Server.mu is held.
func (h *Handover) datagrams() (all []Socket, err error) {
	s := h.server
	h.ports = make(map[int]*listener)
	add := func(l *listener, purpose string, n int, fd poller.FD) {
		open := l.http3.open.Load()
		all = append(all, Socket{
			Address: open.Addr().String(), V6Only: l.sockets.V6Only, Index: n, Purpose: purpose, Listener: l.name,
			AnyPort: l.anyPort, FD: int(fd),
		})
		if purpose == PurposeQUIC {
			h.ports[len(h.offered)] = l
		}
		h.offered = append(h.offered, nil) // it is no socket by which l accepts
	}
	for _, l := range s.listeners.now {
		if !l.http3.isOpen() {
			continue
		}
		groups, err := s.engine.Duplicate(l.http3.open.Load())
		if err != nil {
			return all, err
		}
		for n, fd := range groups[0] {
			add(l, PurposeQUIC, n, fd)
		}
		for n := range s.Reactors() {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return all, fmt.Errorf("socketpair: %w", err)
			}
			l.http3.server.Serve(n, poller.FD(pair[0]))
			add(l, PurposeLink, n, poller.FD(pair[1]))
		}
	}
	return all, nil
}

// suspendable returns the UDP ports of claimed sockets. The error says that a reload has ended one of them. Server.mu
// is held.
func (h *Handover) suspendable(claimed []int) (ports []*engine.Listener, err error) {
	for _, i := range claimed {
		l := h.ports[i]
		if l == nil {
			continue
		}
		if open := l.http3.open.Load(); !l.http3.isOpen() {
			return nil, errReplaced
		} else if !slices.Contains(ports, open) {
			ports = append(ports, open)
		}
	}
	return ports, nil
}

// adoptDatagrams takes over the UDP port at the address of l, with the links, where the process before has offered it
// beside the sockets that l has adopted.
func (p *listeners) adoptDatagrams(l *listener, connsMax int) error {
	if !slices.Contains(p.adoption.claims, l) {
		return nil
	}
	ports := p.adoption.claim(l, PurposeQUIC)
	if len(ports) == 0 {
		return nil
	}
	server := l.http3.serverOn(p.engine, &p.opts)
	server.Inherit(p.adoption.claim(l, PurposeLink))
	o := engine.ListenOptions{
		V6Only: l.sockets.V6Only, ConnsMax: connsMax, Gate: l, Steering: server, Suspended: true,
	}
	open, err := p.engine.AdoptDatagrams(ports, o, server.Port)
	if err != nil {
		return udpError{err}
	}
	l.http3.open.Store(open)
	if n := p.engine.Reactors(); len(ports) < len(n) {
		slog.Info("until a restart HTTP/3 has fewer UDP sockets than there are event loops", "listener", l.title,
			"sockets", len(ports), "event_loops", len(n))
	}
	return nil
}

// claim claims what there is for a purpose at the address of l, and returns the descriptors in their order.
func (a *adoption) claim(l *listener, purpose string) (fds []poller.FD) {
	for i := range a.sockets {
		if s := &a.sockets[i]; s.Purpose == purpose && s.Address == l.open.Addr().String() && a.isFree(i) {
			a.claims[i] = l
			fds = append(fds, poller.FD(s.FD))
		}
	}
	return fds
}
