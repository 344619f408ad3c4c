package metrics

import (
	"crypto/tls"
	"fmt"
	"slices"

	"github.com/edge-proxy/edge/tlsconn"
)

// What handshakes of clients are told apart by. Labels have to be few, so there is one for all other values.
var (
	versions      = []uint16{tls.VersionTLS13, tls.VersionTLS12}
	versionLabels = [...]string{"1.3", "1.2", "other"}

	groups      = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521, 0}
	groupLabels = [...]string{"X25519MLKEM768", "X25519", "P-256", "P-384", "P-521",
		"none", // a session of TLS 1.2 is resumed without a key exchange
		"other"}

	resumedLabels = [...]string{"false", "true"}
)

// Handshakes counts by version, group, and whether a session was resumed.
type Handshakes [len(versionLabels)][len(groupLabels)][len(resumedLabels)]uint64

// Count counts the handshake of d.
func (h *Handshakes) Count(d *tlsconn.Digest) {
	resumed := 0
	if d.Resumed {
		resumed = 1
	}
	h[placeOf(versions, d.Version)][placeOf(groups, d.Group)][resumed]++
}

func placeOf[T comparable](list []T, v T) int {
	if i := slices.Index(list, v); i >= 0 {
		return i
	}
	return len(list)
}

// handshakeRows are read from Handshakes: one row for each combination of the labels.
func handshakeRows() (rows []row) {
	for v, version := range versionLabels {
		for g, group := range groupLabels {
			for r, resumed := range resumedLabels {
				rows = append(rows, row{"edge_tls_handshakes_total",
					fmt.Sprintf("version=%s,group=%s,resumed=%s", version, group, resumed),
					fmt.Sprintf("%d.%d.%d", v, g, r), "TLS handshakes of clients."})
			}
		}
	}
	return rows
}
