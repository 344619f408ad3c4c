package proxy

import (
	"strings"

	"github.com/edge-proxy/edge/upstream"
)

// HostOfBackend is the host, for ToHost, that stands for the address of the backend that is chosen.
const HostOfBackend = "*"

// ToHost is To with the Host that the backends are sent: HostOfBackend, any other, or "" for that of the client, which
// is HostOfBackend where the client says none. One that a filter sets stays.
func ToHost(u *upstream.Upstream, host string) Destination {
	return &toUpstream{upstream: u, host: host}
}

// ToView is ToHost with turns of its own among the backends.
func ToView(v *upstream.View, host string) Destination {
	return &toUpstream{upstream: v.Upstream, view: v, host: host}
}

// sendAs decides about Host when the filters have run; it was as the client sent it before.
func (d *toUpstream) sendAs(x *Exchange, filtered bool) {
	switch {
	case filtered:
	case d.host == HostOfBackend, d.host == "" && x.Request.Authority.Len == 0:
		// HTTP/1.0 may do without a host. RFC 9112 §3.2 has an empty one for that, which many backends refuse.
		x.hostOfBackend = true
	case d.host == "":
	default:
		x.Request.SetAuthority(d.host)
	}
}

// hostOfAddress returns what to call a backend by its address: without the port that goes without saying, 443 where
// the connection is secured, else 80, and without a zone, which means nothing elsewhere.
func hostOfAddress(address string, secured bool) string {
	if strings.HasPrefix(address, "unix:") {
		return "localhost"
	}
	if zone := strings.IndexByte(address, '%'); zone >= 0 {
		if end := strings.IndexByte(address[zone:], ']'); end >= 0 {
			address = address[:zone] + address[zone+end:]
		}
	}
	if secured {
		return strings.TrimSuffix(address, ":443")
	}
	return strings.TrimSuffix(address, ":80")
}
