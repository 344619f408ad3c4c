package server

import (
	"cmp"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/proxy"
)

// AltSvcOf returns what tells clients of HTTP/3 at an address of l with a port of TCP, which may be 0 where it is not
// known; nil: they are not told.
func AltSvcOf(l *config.Listener, port int) *proxy.AltSvc {
	o := &l.Versions.H3
	if !l.ServesHTTP3() || !o.Advertise {
		return nil
	}
	return proxy.NewAltSvc(uint16(cmp.Or(o.AdvertisePort, port)), o.MaxAge, o.Hosts)
}

// advertised returns the requests of s for l, whose clients are told of HTTP/3 where that is served. A port that the
// kernel chooses is known once l is open.
func (l *listener) advertised(s *setting) *proxy.Listener {
	port := s.address.Port
	if port == 0 && l.open != nil {
		port = int(l.open.Addr().IP.Port())
	}
	a := AltSvcOf(s.config, port)
	if a == nil || port == 0 {
		return s.requests
	}
	told := *s.requests // other addresses have it too
	told.AltSvc = a
	return &told
}
