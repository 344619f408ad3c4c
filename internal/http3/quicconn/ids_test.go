package quicconn

import (
	"testing"

	"github.com/edge-proxy/edge/quic"
)

// An id names its reactor, whatever the secret, and no octet of it tells which without the secret.
func TestIDMaker_namesTheReactor(t *testing.T) {
	for seed := range byte(20) {
		k := newKeys(&Secret{seed})
		for reactor := range reactorsMax {
			m := newIDMaker(&k, reactor, [32]byte{seed, byte(reactor)})
			var first [256]int
			for range 2000 {
				b := m.next()
				if got := k.reactorOf(b[:]); got != reactor {
					t.Fatalf("an id of reactor %d names %d", reactor, got)
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
	a, b, c := newIDMaker(&k, 0, [32]byte{1}), newIDMaker(&k, 5, [32]byte{2}), newIDMaker(&other, 0, [32]byte{1})
	id := a.next()
	if a.token(id[:]) != b.token(id[:]) || a.token(id[:]) == c.token(id[:]) {
		t.Fatal("a token is not that of its secret")
	}
	next := a.next()
	if len(next) != quic.IDLen || a.token(id[:]) == a.token(next[:]) {
		t.Fatal("two ids have one token")
	}
}
