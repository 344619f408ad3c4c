package tlsconn_test

import (
	"crypto/tls"
	"testing"

	"github.com/edge-proxy/edge/tlsconn"
)

func TestDigest_groupName(t *testing.T) {
	for group, want := range map[tls.CurveID]string{
		0: "", tls.CurveP256: "P-256", tls.CurveP521: "P-521", tls.X25519: "X25519",
		tls.X25519MLKEM768:    "X25519MLKEM768",
		tls.SecP256r1MLKEM768: "SecP256r1MLKEM768",
	} {
		if got := (&tlsconn.Digest{Group: group}).GroupName(); got != want {
			t.Errorf("%d: %q, want %q", group, got, want)
		}
	}
}
