package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server/holder"
	"github.com/edge-proxy/edge/poller"
)

// each calls f for each address of TCP that a listener has.
func (e *exam) each(f func(a *config.Address)) {
	for _, l := range e.config.Listening() {
		for j := range l.Addresses {
			if a := &l.Addresses[j]; a.Network != "unix" && a.Port != 0 {
				f(a)
			}
		}
	}
}

// addrOf returns an address as the tables of the kernel have it.
func addrOf(a *config.Address) poller.Addr {
	ip, err := netip.ParseAddr(a.Host)
	if err != nil {
		ip = netip.IPv6Unspecified() // network tcp: all addresses of both families
	}
	return poller.Addr{IP: netip.AddrPortFrom(ip, uint16(a.Port))}
}

const (
	portsOfRoot = 1024 // below it
	bindBit     = 10   // CAP_NET_BIND_SERVICE in the sets of capabilities
	adminBit    = 12   // CAP_NET_ADMIN
)

// rights: a port that only root may listen on, as the user that runs this command.
func (e *exam) rights() {
	first, known := e.sysctl("net.ipv4.ip_unprivileged_port_start")
	if !known {
		first = portsOfRoot
	}
	if e.UID() == 0 || e.running != 0 || e.capable(bindBit) {
		return
	}
	var ports []string
	e.each(func(a *config.Address) {
		if p := strconv.Itoa(a.Port); int64(a.Port) < first && !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	})
	if len(ports) == 0 {
		return
	}
	fix := append([]string{"AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit of systemd",
		"setcap cap_net_bind_service=+ep /usr/bin/edge      (lost when the file is replaced)"},
		e.set("net.ipv4.ip_unprivileged_port_start", "0")...)
	e.find(Error, fix, "user %d may not listen on port %s", e.UID(), strings.Join(ports, ", "))
}

// capable reports whether this process has a capability.
func (e *exam) capable(bit int) bool {
	for line := range strings.Lines(e.text("/proc/self/status")) {
		if set, found := strings.CutPrefix(line, "CapEff:"); found {
			bits, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64)
			return err == nil && bits>>bit&1 == 1
		}
	}
	return false
}

// addresses: those that no interface has, and IPv6 where it is off.
func (e *exam) addresses() {
	own, err := e.Addresses()
	anyAddress, _ := e.sysctl("net.ipv4.ip_nonlocal_bind")
	off, _ := e.sysctl("net.ipv6.conf.all.disable_ipv6")
	e.each(func(a *config.Address) {
		ip := addrOf(a).IP.Addr()
		if a.Network == "tcp6" && off != 0 {
			e.find(Error, e.set("net.ipv6.conf.all.disable_ipv6", "0"), "%s: %s: IPv6 is off on this machine", a.Pos,
				a.Text)
			return
		}
		if err != nil || a.Network == "tcp" || ip.IsUnspecified() || ip.IsLoopback() || anyAddress != 0 ||
			slices.ContainsFunc(own, func(o netip.Addr) bool { return o.WithZone("") == ip.WithZone("") }) {
			return
		}
		fix := append(e.set("net.ipv4.ip_nonlocal_bind", "1"), fmt.Sprintf("ip address add %s dev DEVICE", ip))
		e.find(Error, fix, "%s: %s: no interface has this address", a.Pos, a.Text)
	})
}

// udp: what HTTP/3 needs of the kernel. A socket asks for ReceiveWanted, and CAP_NET_ADMIN is above the limit.
func (e *exam) udp() {
	if !slices.ContainsFunc(e.config.Listening(), (*config.Listener).ServesHTTP3) {
		return
	}
	const most, wanted = "net.core.rmem_max", poller.ReceiveWanted
	if n, known := e.sysctl(most); known && n < wanted && !e.capable(adminBit) {
		e.find(Warning, e.set(most, strconv.Itoa(wanted)), "%s is %d: a UDP socket of HTTP/3 keeps as many bytes that "+
			"are not read yet, and not %d; the kernel drops datagrams beyond that", most, n, wanted)
	}
	for _, o := range []struct{ option, without string }{
		{"UDP_SEGMENT", "each datagram of HTTP/3 leaves by itself, and not in runs"},
		{"SO_ATTACH_REUSEPORT_CBPF", "event loops pass each other datagrams of HTTP/3"},
	} {
		if err := e.Probe(o.option); err != nil {
			e.find(Note, []string{"a seccomp profile that allows it for setsockopt(2), or no sandbox that lacks it"},
				"%s of UDP sockets is refused (%v): %s", o.option, err, o.without)
		}
	}
}

// sockets: other processes that listen on our addresses. One in our group of SO_REUSEPORT takes its share of the
// connections, and keeps them waiting when it is stopped.
func (e *exam) sockets() {
	said := map[int]bool{}
	e.each(func(a *config.Address) {
		found, hidden := holder.All(e.Path("/proc"), addrOf(a), e.running)
		if hidden && e.running == 0 && e.UID() != 0 {
			e.find(Note, []string{fmt.Sprintf("sudo ss -ltnp 'sport = :%d'", a.Port)},
				"%s: %s: a process of another user listens there", a.Pos, a.Text)
		}
		for _, p := range found {
			if p.PID == e.running || said[p.PID] || e.isChild(p, found) {
				continue
			}
			said[p.PID] = true
			e.shared = e.shared || e.running != 0
			e.other(a, p)
		}
	})
}

// peersMin is how many connections from one address alone are no chance.
const peersMin = 20

// clients: connections that all come from one address, which is believed about no client: mostly a load balancer, for
// whose clients everything is done by its own address.
func (e *exam) clients() {
	if e.running == 0 {
		return
	}
	all := holder.Peers(e.Path("/proc"))
	for _, l := range e.config.Listening() {
		believed := &l.Believed
		if len(believed.ProxyProtocol.From.Networks)+len(believed.Trusted.Networks) > 0 {
			continue
		}
		for i := range l.Addresses {
			a := &l.Addresses[i]
			if a.Network == "unix" || a.Port == 0 {
				continue
			}
			peers := all[uint16(a.Port)]
			for peer, n := range peers {
				if len(peers) == 1 && n >= peersMin {
					const sender = "proxy_protocol = { from = [%q] }   if it writes the PROXY protocol"
					by := []string{fmt.Sprintf(sender, peer)}
					if l.Service == nil {
						by = append(by, fmt.Sprintf("trusted_proxies = [%q]   if it sends X-Forwarded-For", peer))
					}
					e.find(Note, by, "%s: %s: all %d connections come from %s: is a load balancer before it?",
						a.Pos, a.Text, n, peer)
				}
			}
		}
	}
}

// isChild reports whether a process got its sockets from its parent, which is among found, and ends with it.
func (e *exam) isChild(p holder.Process, found []holder.Process) bool {
	parent := e.status(p.PID, "PPid")
	return !p.Stopped && p.Name != "edge" && slices.ContainsFunc(found, func(q holder.Process) bool {
		return strconv.Itoa(q.PID) == parent && q.Name == p.Name
	})
}

// migration: without it a process that closes its socket of a group resets the clients that wait there. edge does not
// need it for its own sockets, which accept until no connection waits; others in the group may.
func (e *exam) migration() {
	if on, known := e.sysctl("net.ipv4.tcp_migrate_req"); known && on == 0 && e.shared {
		e.find(Note, e.set("net.ipv4.tcp_migrate_req", "1"), "net.ipv4.tcp_migrate_req is 0: when the other process "+
			"at an address of edge ends, clients that wait at its socket are reset")
	}
}

// other says what a process does on address a that is not the process that serves the configuration.
func (e *exam) other(a *config.Address, p holder.Process) {
	kill, unit := []string{fmt.Sprintf("kill %d", p.PID)}, e.unit(p.PID)
	switch {
	case p.PID == 1 && e.running == 0:
		e.find(Note, nil, "%s: %s: %s, process 1, has opened it: a unit of a socket gives it to the service that it "+
			"is for", a.Pos, a.Text, p.Name)
	case p.Stopped:
		e.find(Error, []string{fmt.Sprintf("kill -CONT %d", p.PID), fmt.Sprintf("kill -KILL %d", p.PID)},
			"%s: %s: %s, process %d, listens there and is stopped: its share of the connections waits", a.Pos, a.Text,
			p.Name, p.PID)
	case e.running != 0 && p.Name == "edge":
		e.find(Warning, kill, "%s: %s: another edge, process %d, listens there too and gets a part of the "+
			"connections: a process that drains ends by itself", a.Pos, a.Text, p.PID)
	case p.Name == "edge":
		e.find(Note, nil, "%s: %s: edge, process %d, listens there already; its pid_file is not the pid_file of this "+
			"configuration", a.Pos, a.Text, p.PID)
	case unit != "":
		e.find(Error, []string{"systemctl disable --now " + unit}, "%s: %s: %s, process %d, listens there: the "+
			"service %s", a.Pos, a.Text, p.Name, p.PID, unit)
	default:
		e.find(Error, kill, "%s: %s: %s, process %d, listens there", a.Pos, a.Text, p.Name, p.PID)
	}
}

const (
	lookUpSlow = time.Second
	lookUpsMax = 5 // names that are looked up
)

// resolver: how long the names of backends take.
func (e *exam) resolver() {
	var names []string
	for i := range e.config.Upstreams {
		for _, b := range e.config.Upstreams[i].Backends {
			_, err := netip.ParseAddr(b.Host)
			if err != nil && b.Host != "" && len(names) < lookUpsMax && !slices.Contains(names, b.Host) {
				names = append(names, b.Host)
			}
		}
	}
	for _, name := range names {
		switch took, err := e.LookUp(name); {
		case err != nil:
			e.find(Warning, []string{"getent ahosts " + name}, "no address for the backend %s: %v", name, cause(err))
		case took > lookUpSlow:
			e.find(Warning, []string{"options timeout:1 attempts:2 in /etc/resolv.conf, or a nearer nameserver"},
				"the look-up of the backend %s took %v", name, took.Round(time.Millisecond))
		}
	}
}

// cause returns what is at the bottom of an error.
func cause(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}
