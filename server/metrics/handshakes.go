package metrics

import (
	"crypto/tls"
	"fmt"

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

// Handshakes counts by version, group, and whether a session was resumed.
type Handshakes [len(versionLabels)][len(groupLabels)][len(resumedLabels)]uint64

// Count counts the handshake of d.
func (h *Handshakes) Count(d *tlsconn.Digest) {
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
