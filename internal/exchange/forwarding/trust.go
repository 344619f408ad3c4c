package forwarding

import (
	"bytes"
	"net/netip"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
)

// Trust says which peers are proxies whose forwarding fields are believed.
// Immutable once it is used.
type Trust struct {
	Networks []netip.Prefix
	Unix     bool // peers on a Unix socket
}

// forwardersMax bounds how many addresses of X-Forwarded-For are looked at.
const forwardersMax = 32

// Peer reports whether t believes a.
func (t *Trust) Peer(a poller.Addr) bool {
	if a.IsUnix() || !a.IP.IsValid() {
		return t.Unix
	}
	return t.address(a.IP.Addr())
}

func (t *Trust) address(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	for _, n := range t.Networks {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// Client walks X-Forwarded-For from the right to the first address that is not trusted. Invalid when the field says
// nothing. Where it comes to something that is no address, a trusted proxy does not know the client: that is "::", the
// address of no client. The proxy is not taken for its client, and what stands before is not believed.
func (t *Trust) Client(h *message.Head) (client netip.Addr) {
	left := forwardersMax
	for i := len(h.Fields) - 1; i >= 0; i-- {
		if f := &h.Fields[i]; f.ID != message.XForwardedFor || f.Dropped() {
			continue
		}
		for list := h.Value(i); len(list) > 0 && left > 0; {
			item := list
			if comma := bytes.LastIndexByte(list, ','); comma >= 0 {
				list, item = list[:comma], list[comma+1:]
			} else {
				list = nil
			}
			if item = bytes.Trim(item, " \t"); len(item) == 0 { // RFC 9110 §5.6.1.2: MUST be ignored
				continue
			}
			left--
			ip, ok := parseForwarder(item)
			if !ok {
				return netip.IPv6Unspecified()
			}
			if client = ip; !t.address(ip) {
				return client
			}
		}
	}
	return client
}

// parseForwarder parses an address as it stands in X-Forwarded-For: bare, or with a port, which some write.
func parseForwarder(b []byte) (netip.Addr, bool) {
	if ip, rest := parseIPv4(b); rest == 0 {
		return ip, true
	} else if rest > 0 && b[len(b)-rest] == ':' {
		return ip, true
	}
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 {
			return netip.Addr{}, false
		}
		b = b[1:end]
	}
	// A zone means nothing here, and is any text at all.
	if len(b) > len("0000:0000:0000:0000:0000:0000:255.255.255.255") || bytes.IndexByte(b, '%') >= 0 {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(string(b))
	return ip.Unmap(), err == nil
}

// parseIPv4 parses an IPv4 address at the start of b and returns how much follows; -1 when there is none.
func parseIPv4(b []byte) (ip netip.Addr, rest int) {
	var a [4]byte
	i := 0
	for n := range a {
		v, digits := 0, 0
		for ; i < len(b) && b[i]-'0' < 10 && digits < 3; i++ {
			v, digits = v*10+int(b[i]-'0'), digits+1
		}
		if digits == 0 || v > 255 {
			return ip, -1
		}
		a[n] = byte(v)
		if n < 3 {
			if i == len(b) || b[i] != '.' {
				return ip, -1
			}
			i++
		}
	}
	return netip.AddrFrom4(a), len(b) - i
}
