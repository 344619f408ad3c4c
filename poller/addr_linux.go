package poller

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// encode writes a into sa and returns its size and family; size 0 when a is no address or its path is too long.
func (a Addr) encode(sa *unix.RawSockaddrAny) (size uint32, family int) {
	*sa = unix.RawSockaddrAny{}
	if a.IsUnix() {
		// SAFETY: RawSockaddrAny is at least as large as any address family and aligned for it.
		un := (*unix.RawSockaddrUnix)(unsafe.Pointer(sa))
		if len(a.Path) >= len(un.Path) {
			return 0, 0
		}
		un.Family = unix.AF_UNIX
		for i := range len(a.Path) {
			un.Path[i] = int8(a.Path[i])
		}
		size = uint32(unsafe.Offsetof(un.Path)) + uint32(len(a.Path)) + 1
		if a.Path[0] == '@' { // abstract: a leading NUL and no trailing one
			un.Path[0] = 0
			size--
		}
		return size, unix.AF_UNIX
	}
	ip := a.IP.Addr()
	switch {
	case ip.Is4() || ip.Is4In6():
		// SAFETY: as above.
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		in.Family = unix.AF_INET
		in.Port = networkOrder(a.IP.Port())
		in.Addr = ip.Unmap().As4()
		return unix.SizeofSockaddrInet4, unix.AF_INET
	case ip.Is6():
		// SAFETY: as above.
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
		in.Family = unix.AF_INET6
		in.Port = networkOrder(a.IP.Port())
		in.Addr = ip.As16()
		in.Scope_id = scope(ip)
		return unix.SizeofSockaddrInet6, unix.AF_INET6
	}
	return 0, 0
}

// decode reads the address that the kernel wrote into sa. IPv4 that came mapped into IPv6 is unmapped. Allocates only
// for a Unix path or an IPv6 zone.
func decode(sa *unix.RawSockaddrAny, size uint32) Addr {
	switch sa.Addr.Family {
	case unix.AF_INET:
		// SAFETY: the family says which structure the kernel wrote.
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return Addr{IP: netip.AddrPortFrom(netip.AddrFrom4(in.Addr), networkOrder(in.Port))}
	case unix.AF_INET6:
		// SAFETY: as above.
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
		ip := netip.AddrFrom16(in.Addr).Unmap()
		if in.Scope_id != 0 && ip.Is6() {
			ip = ip.WithZone(strconv.FormatUint(uint64(in.Scope_id), 10))
		}
		return Addr{IP: netip.AddrPortFrom(ip, networkOrder(in.Port))}
	case unix.AF_UNIX:
		// SAFETY: as above.
		un := (*unix.RawSockaddrUnix)(unsafe.Pointer(sa))
		n := int(size) - int(unsafe.Offsetof(un.Path))
		if n <= 0 {
			return Addr{Path: "@"} // a client that bound no name
		}
		path := make([]byte, 0, n)
		for i, c := range un.Path[:min(n, len(un.Path))] {
			if c == 0 {
				if i > 0 {
					break
				}
				c = '@'
			}
			path = append(path, byte(c))
		}
		return Addr{Path: string(path)}
	}
	return Addr{}
}

// scope is the number of the interface that ip's zone names, 0 for none. A name costs a system call, a number does not.
func scope(ip netip.Addr) uint32 {
	zone := ip.Zone()
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	return 0
}

// networkOrder swaps the bytes of a port between the host's order and the network's; it is its own inverse.
func networkOrder(port uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], port)
	return binary.NativeEndian.Uint16(b[:])
}
