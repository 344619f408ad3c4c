package quicconn

import (
	"testing"

	"github.com/edge-proxy/edge/quic"
)

// An id names its generation and its reactor, whatever the secret, and no octet of it tells which without the secret.
func TestIDMaker_namesThePlace(t *testing.T) {
	for seed := range byte(20) {
		k := newKeys(&Secret{seed})
		for reactor := range reactorsMax {
			generation := int(seed) + reactor
			m := newIDMaker(&k, generation, reactor, [32]byte{seed, byte(reactor)})
			var first [256]int
			for range 2000 {
				b := m.next()
				if g, r := k.placeOf(b[:]); g != generation%generations || r != reactor {
					t.Fatalf("an id of %d, %d names %d, %d", generation, reactor, g, r)
				}
				first[b[0]]++
			}
			for v, n := range first {
				if n > 40 { // 8 are expected
					t.Fatalf("%d of 2000 ids of reactor %d begin with %#x", n, reactor, v)
				}
			}
		}
	}
}

// Tokens of stateless resets are those of an id and a secret.
func TestIDMaker_token(t *testing.T) {
	k, other := newKeys(&Secret{1}), newKeys(&Secret{2})
	a, b := newIDMaker(&k, 0, 0, [32]byte{1}), newIDMaker(&k, 1, 5, [32]byte{2})
	c := newIDMaker(&other, 0, 0, [32]byte{1})
	id := a.next()
	if a.token(id[:]) != b.token(id[:]) || a.token(id[:]) == c.token(id[:]) {
		t.Fatal("a token is not that of its secret")
	}
	b.resetFor("192.0.2.1:443")
	a.resetFor("192.0.2.1:444")
	if a.token(id[:]) == b.token(id[:]) {
		t.Fatal("a Server at another address knows the token")
	}
	next := a.next()
	if len(next) != quic.IDLen || a.token(id[:]) == a.token(next[:]) {
		t.Fatal("two ids have one token")
	}
}
