package server

import (
	"crypto/tls"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/tlsconn"
)

// What handshakes of clients are told apart by. Labels have to be few: what is not named here is "other".
var (
	versionLabels = [...]string{"1.3", "1.2", "other"}
	groupLabels   = [...]string{"X25519MLKEM768", "X25519", "P-256", "P-384", "P-521", "other", "none"}
	resumedLabels = [...]string{"false", "true"}
)

const (
	groupOther = len(groupLabels) - 2
	groupNone  = len(groupLabels) - 1 // a session of TLS 1.2 is resumed without a key exchange
)

// handshakes counts by version, group, and whether a session was resumed.
type handshakes [len(versionLabels)][len(groupLabels)][len(resumedLabels)]uint64

func (h *handshakes) add(o *handshakes) {
	for v := range h {
		for g := range h[v] {
			for r := range h[v][g] {
				h[v][g][r] += o[v][g][r]
			}
		}
	}
}

func (h *handshakes) count(d *tlsconn.Digest) {
	version, group, resumed := len(versionLabels)-1, groupOther, 0
	switch d.Version {
	case tls.VersionTLS13:
		version = 0
	case tls.VersionTLS12:
		version = 1
	}
	switch d.Group {
	case tls.X25519MLKEM768:
		group = 0
	case tls.X25519:
		group = 1
	case tls.CurveP256:
		group = 2
	case tls.CurveP384:
		group = 3
	case tls.CurveP521:
		group = 4
	case 0:
		group = groupNone
	}
	if d.Resumed {
		resumed = 1
	}
	h[version][group][resumed]++
}

// handshakesLocal is what one reactor counts. Owned by its reactor.
type handshakesLocal struct {
	handshakes
	_ [64]byte // reactors count at the same time: keep them off each other's cache line
}

// counted makes accept count what the handshakes of clients were like.
func (s *Server) counted(accept func(c *engine.Conn) engine.Handler) func(c *engine.Conn) engine.Handler {
	return func(c *engine.Conn) engine.Handler {
		if d := tlsconn.DigestOf(c); d != nil {
			s.handshakes[c.Reactor().Index()].count(d)
		}
		return accept(c)
	}
}

// initHandshakes registers the series, which are as many as the labels have combinations.
func (c *counters) initHandshakes() {
	for v, version := range versionLabels {
		for g, group := range groupLabels {
			for r, resumed := range resumedLabels {
				read := func() uint64 {
					c.mu.Lock()
					defer c.mu.Unlock()
					return c.now.handshakes[v][g][r]
				}
				c.registry.CounterFunc("edge_tls_handshakes_total", "TLS handshakes of clients.", read,
					observe.Label{Name: "version", Value: version}, observe.Label{Name: "group", Value: group},
					observe.Label{Name: "resumed", Value: resumed})
			}
		}
	}
}
