package metrics

import (
	"crypto/tls"
	"fmt"
	"slices"

	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// What handshakes of clients are told apart by. Labels have to be few, so there is one for all other values.
var (
	transports = [...]struct {
		label    string
		versions int // of versionLabels, that handshakes over the transport may have
	}{{"tcp", len(versionLabels)}, {"quic", 1}} // RFC 9001 §4.2: QUIC has TLS 1.3 or newer

	versions      = []uint16{tls.VersionTLS13, tls.VersionTLS12}
	versionLabels = [...]string{"1.3", "1.2", "other"}

	groups      = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521, 0}
	groupLabels = [...]string{"X25519MLKEM768", "X25519", "P-256", "P-384", "P-521",
		"none", // a session of TLS 1.2 is resumed without a key exchange
		"other"}

	resumedLabels = [...]string{"false", "true"}
)

// Handshakes counts by transport, version, group, and whether a session was resumed.
type Handshakes [len(transports)][len(versionLabels)][len(groupLabels)][len(resumedLabels)]uint64

// Count counts the handshake of d, which went over QUIC or over TCP.
func (h *Handshakes) Count(d *tlsconn.Digest, overQUIC bool) {
	transport, resumed := 0, 0
	if overQUIC {
		transport = 1
	}
	if d.Resumed {
		resumed = 1
	}
	h[transport][placeOf(versions, d.Version)][placeOf(groups, d.Group)][resumed]++
}

func placeOf[T comparable](list []T, v T) int {
	if i := slices.Index(list, v); i >= 0 {
		return i
	}
	return len(list)
}

// handshakeRows are read from Handshakes: one row for each combination of the labels.
func handshakeRows() []row {
	n := 0
	for _, over := range transports {
		n += over.versions * len(groupLabels) * len(resumedLabels)
	}
	rows := make([]row, 0, n)
	for t, over := range transports {
		for v, version := range versionLabels[:over.versions] {
			for g, group := range groupLabels {
				for r, resumed := range resumedLabels {
					rows = append(rows, row{"edge_tls_handshakes_total",
						fmt.Sprintf("transport=%s,version=%s,group=%s,resumed=%s", over.label, version, group, resumed),
						fmt.Sprintf("%d.%d.%d.%d", t, v, g, r), "TLS handshakes of clients."})
				}
			}
		}
	}
	return rows
}
