package sim

import (
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/poller"
)

// Listener is an origin of the test: it takes the connections that reactors make, each as a Peer.
type Listener struct {
	// Handle, if set, becomes the Handle of each new Peer and is called for it at once.
	Handle func(p *Peer)

	door     *door
	accepted []*Peer
}

// Serve opens an origin at a; port 0 picks one. It panics when the address is taken.
func (w *World) Serve(a poller.Addr) *Listener {
	l := &Listener{}
	l.door = &door{w: w, addr: a, origin: l}
	if errno := w.bind(l.door); errno != 0 {
		panic("sim: serve " + a.String() + ": " + errno.Error())
	}
	return l
}

// Close makes further connects fail. Connections that stand stay.
func (l *Listener) Close() { l.door.close() }

// Refuse makes connects fail, or, with false, succeed again.
func (l *Listener) Refuse(yes bool) { l.door.refuses = yes }

// Ignore leaves connects without an answer, as a firewall does that drops them, or, with false, answers them again.
func (l *Listener) Ignore(yes bool) { l.door.mute = yes }

// Addr is where l listens.
func (l *Listener) Addr() poller.Addr { return l.door.addr }

// Accepted lists all connections so far, in their order.
func (l *Listener) Accepted() []*Peer { return l.accepted }

// backlogDefault is what ListenOptions.Backlog 0 means.
const backlogDefault = 4096

// deferTime is after how long a deferred connection is handed over although nothing came.
const deferTime = time.Second

// door is a listening socket, of reactors (files) or of the test (origin), or a UDP socket of reactors.
type door struct {
	w       *World
	addr    poller.Addr
	opts    poller.ListenOptions
	files   []*file // its descriptors; it closes with the last one
	origin  *Listener
	waiting []*end
	refuses bool
	mute    bool  // a connect is not answered
	port    *port // nil: it is no UDP socket
}

// offer lets a connection that just came into being wait, or gives it to the test.
func (d *door) offer(s *end) {
	if d.origin != nil {
		p := d.w.newPeer(s)
		p.Handle = d.origin.Handle
		d.origin.accepted = append(d.origin.accepted, p)
		p.notify()
		return
	}
	if d.opts.DeferAccept && !s.unix {
		s.hidden = d
		d.w.after(int64(deferTime), s.reveal)
		return
	}
	d.queue(s)
}

func (d *door) queue(s *end) {
	if len(d.files) == 0 {
		s.abort()
		return
	}
	d.waiting = append(d.waiting, s)
	d.edge()
}

// edge tells the reactors that something happened.
func (d *door) edge() {
	for _, f := range d.files {
		f.edge()
	}
}

// release takes one of d's descriptors away.
func (d *door) release(f *file) {
	d.files = slices.DeleteFunc(d.files, func(o *file) bool { return o == f })
	if len(d.files) == 0 {
		d.close()
	}
}

func (d *door) take() *end {
	s := d.waiting[0]
	d.waiting = slices.Delete(d.waiting, 0, 1)
	return s
}

// close takes d out of the World. Connections that still wait are reset, as Linux does.
func (d *door) close() {
	d.files = nil
	d.w.doors = slices.DeleteFunc(d.w.doors, func(o *door) bool { return o == d })
	for _, s := range d.waiting {
		s.abort()
	}
	d.waiting = nil
}

// room reports whether a connect is answered now.
func (d *door) room() bool { return !d.mute && (d.origin != nil || len(d.waiting) < d.opts.Backlog) }

// covers reports whether a connect to a ends at d.
func (d *door) covers(a poller.Addr) bool {
	if d.addr.IsUnix() || a.IsUnix() {
		return d.addr.Path == a.Path
	}
	if d.addr.IP.Port() != a.IP.Port() {
		return false
	}
	own, to := d.addr.IP.Addr(), a.IP.Addr().Unmap()
	if own.IsUnspecified() {
		return own.Is4() == to.Is4() || own.Is6() && !d.opts.V6Only
	}
	return own.Unmap() == to
}

func (w *World) bind(d *door) syscall.Errno {
	if !d.addr.IsUnix() && d.addr.IP.Port() == 0 {
		w.port++
		d.addr.IP = addrPort(d.addr.IP.Addr(), w.port)
	}
	for _, o := range w.doors {
		if o.addr != d.addr || (o.port == nil) != (d.port == nil) {
			continue
		}
		if d.opts.Exclusive || !o.opts.ReusePort || !d.opts.ReusePort {
			return syscall.EADDRINUSE
		}
	}
	w.doors = append(w.doors, d)
	return 0
}

// doorAt finds who takes a connect to a, by chance when several do, nil when it is refused.
func (w *World) doorAt(a poller.Addr) *door {
	if group := w.doorsAt(a, false); len(group) > 0 {
		return group[w.rng.IntN(len(group))]
	}
	return nil
}

// doorsAt lists who takes what comes to a, datagrams or connects. An exact address goes before a wildcard.
func (w *World) doorsAt(a poller.Addr, datagrams bool) (group []*door) {
	exact := false
	for _, d := range w.doors {
		if d.refuses || (d.port != nil) != datagrams || !d.covers(a) {
			continue
		}
		is := d.addr.IsUnix() || !d.addr.IP.Addr().IsUnspecified()
		if exact && !is {
			continue
		}
		if is && !exact {
			exact, group = true, nil
		}
		group = append(group, d)
	}
	return group
}

// connectUnix connects e in one go, as Unix sockets do.
func (w *World) connectUnix(e *end) syscall.Errno {
	d := w.doorAt(e.remote)
	switch {
	case d == nil && slices.ContainsFunc(w.doors, func(o *door) bool { return o.covers(e.remote) }):
		return syscall.ECONNREFUSED
	case d == nil:
		return syscall.ENOENT
	case !d.room() || w.chance(w.Faults.UnixAgain):
		return syscall.EAGAIN
	}
	w.join(e, d, 0)
	return 0
}

// ephemeral is a free local address for a connect to a.
func (w *World) ephemeral(a poller.Addr) poller.Addr {
	if a.IsUnix() {
		return poller.Addr{}
	}
	w.port++
	return poller.Addr{IP: addrPort(loopback(a.IP.Addr()), w.port)}
}

// loopback is the address of this machine for what goes to ip.
func loopback(ip netip.Addr) netip.Addr {
	if ip.Is6() && !ip.Is4In6() {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

func addrPort(ip netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(ip, port) }
