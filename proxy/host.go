package proxy

import (
	"strings"

	"github.com/edge-proxy/edge/upstream"
)

// HostOfBackend is the host, for ToHost, that stands for the address of the backend that is chosen.
const HostOfBackend = "*"

// ToHost is To with the Host that the backends are sent: HostOfBackend, any other, or "" for that of the client. One
// that a filter sets stays.
func ToHost(u *upstream.Upstream, host string) Destination { return &toUpstream{u, host} }

// sendAs decides about Host when the filters have run; it was as the client sent it before.
func (d *toUpstream) sendAs(x *Exchange, filtered bool) {
	switch {
	case d.host == "" || filtered:
	case d.host == HostOfBackend:
		x.hostOfBackend = true
	default:
		x.Request.SetAuthority(d.host)
	}
}

// hostOfAddress returns what to call a backend by its address: without the port 80, which goes without saying, and
// without a zone, which means nothing elsewhere.
func hostOfAddress(address string) string {
	if strings.HasPrefix(address, "unix:") {
		return "localhost"
	}
	if zone := strings.IndexByte(address, '%'); zone >= 0 {
		if end := strings.IndexByte(address[zone:], ']'); end >= 0 {
			address = address[:zone] + address[zone+end:]
		}
	}
	return strings.TrimSuffix(address, ":80")
}
