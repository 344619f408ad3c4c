package target

import "net/netip"

// class is a kind of addresses that are not on the public Internet.
type class struct {
	prefix netip.Prefix
	name   string
}

// closed are the classes that no name may lead to unless a List says so: the registries of special addresses of IANA
// (RFC 6890), as far as they are not global, and what is no address of one host.
var closed = func() (all []class) {
	for _, c := range [][2]string{
		{"0.0.0.0/8", "this network"},
		{"10.0.0.0/8", "private"},
		{"100.64.0.0/10", "shared by carriers"},
		{"127.0.0.0/8", "loopback"},
		{"169.254.0.0/16", "link-local"}, // with it the metadata of clouds
		{"172.16.0.0/12", "private"},
		{"192.0.0.0/24", "for protocols"},
		{"192.0.2.0/24", "for documentation"},
		{"192.88.99.0/24", "relays of 6to4"},
		{"192.168.0.0/16", "private"},
		{"198.18.0.0/15", "for benchmarks"},
		{"198.51.100.0/24", "for documentation"},
		{"203.0.113.0/24", "for documentation"},
		{"224.0.0.0/3", "multicast or reserved"},
		{"::/128", "unspecified"},
		{"::1/128", "loopback"},
		{"64:ff9b:1::/48", "private translation"}, // RFC 8215: its IPv4 addresses belong to an operator
		{"100::/64", "discarded"},
		{"2001::/32", "Teredo"},
		{"2001:db8::/32", "for documentation"},
		{"3fff::/20", "for documentation"},
		{"5f00::/16", "segments of a router"},
		{"fc00::/7", "private"},
		{"fe80::/10", "link-local"},
		{"fec0::/10", "private"},
		{"ff00::/8", "multicast"},
	} {
		all = append(all, class{netip.MustParsePrefix(c[0]), c[1]})
	}
	return all
}()

var (
	compatible = netip.MustParsePrefix("::/96")        // RFC 4291 §2.5.5.1
	translated = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixToFour  = netip.MustParsePrefix("2002::/16")    // RFC 3056
)

// Class says in a few words why ip is not on the public Internet, "" when it is. An IPv6 address that has an IPv4
// address inside is of the class of that one.
func Class(ip netip.Addr) string {
	ip = ip.Unmap().WithZone("")
	for i := range closed {
		if c := &closed[i]; c.prefix.Contains(ip) {
			return c.name
		}
	}
	if v4, ok := inside(ip); ok {
		if name := Class(v4); name != "" {
			return name + ", inside IPv6"
		}
	}
	return ""
}

// inside returns the IPv4 address to which something on the way may pass on what is sent to ip.
func inside(ip netip.Addr) (v4 netip.Addr, ok bool) {
	if !ip.Is6() {
		return v4, false
	}
	b := ip.As16()
	switch {
	case compatible.Contains(ip), translated.Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case sixToFour.Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP, RFC 5214 §6.1
		return netip.AddrFrom4([4]byte(b[12:])), true
	}
	return v4, false
}
