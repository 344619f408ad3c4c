package quicpeer

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/quic"
)

// SetKnownSecrets does for q, the end of role, what a handshake does: it gives q keys that each test has, and the
// parameters of its peer. Such a connection needs no TLS and is there within microseconds.
func SetKnownSecrets(t testing.TB, q, peer *quic.Conn, role quic.Role) {
	t.Helper()
	const aes128 = 0x1301
	for _, l := range []quic.Level{quic.Handshake, quic.OneRTT} {
		for _, write := range []bool{false, true} {
			secret := make([]byte, 32)
			secret[0] = byte(l)
			if write == (role == quic.Client) {
				secret[1] = 1
			}
			testutil.Must(t, q.SetSecret(l, write, aes128, secret))
		}
	}
	testutil.Must(t, q.SetParameters(peer.AppendParameters(nil)))
}

// SetKnownRandom gives o the random numbers of a seed, and ids that count on from ids.
func SetKnownRandom(o *quic.Options, seed uint64, ids *uint64) {
	o.Random = rand.New(rand.NewPCG(seed, 77)).Uint64
	o.NewID = func() (id quic.ID, token [16]byte) {
		*ids++
		id, _ = quic.MakeID(binary.BigEndian.AppendUint64(nil, *ids))
		binary.BigEndian.PutUint64(token[:], *ids)
		return id, token
	}
}
