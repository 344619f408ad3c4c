package quic

import (
	"bytes"
	"testing"
)

// resetOf returns a stateless reset of n octets.
func resetOf(n int, token *[16]byte) []byte {
	return append(bytes.Repeat([]byte{0x5d}, n-len(token)), token[:]...)
}

// RFC 9000 §10.3.1: a datagram that cannot be opened and ends with the token of an id in use ends the connection.
func TestReset_endsTheConnection(t *testing.T) {
	for n := resetLeast; n < 100; n++ {
		r := established(t, Client, Options{})
		r.datagram(resetOf(n, &r.resetKey))
		if !r.conn.Over() || r.conn.Closed().Err != ErrReset || !r.conn.Closed().ByPeer || len(r.out()) != 0 {
			t.Fatalf("%d octets: state %d, %+v", n, r.conn.state, r.conn.Closed())
		}
		r.wantNothingKept()
		if r.conn.Deadline() != 0 {
			t.Error("a timer is left")
		}
	}
}

func TestReset_ofOtherTokensIsNothing(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.in(OneRTT, newIDFrame(1, 0))
		r.datagram(resetOf(60, &[16]byte{}))
		r.datagram(resetOf(60, tokenOf(9)))
		r.wantOpen()
		r.datagram(resetOf(60, tokenOf(1))) // §10.3.1: of an id that was never used
		r.wantOpen()
		r.in(OneRTT, newIDFrame(2, 1))
		r.out()
		if r.conn.role == Client {
			r.datagram(resetOf(60, &r.resetKey)) // of a retired one
			r.wantOpen()
		}
		r.datagram(resetOf(60, tokenOf(1)))
		if r.conn.Closed().Err != ErrReset {
			t.Error("the token of the id in use is not taken")
		}
	})
	// A packet that can be opened is no reset, whatever it ends with: its last octets are its tag.
	r := established(t, Client, Options{})
	d := r.sealed(OneRTT, ping, make([]byte, 40))
	r.conn.theirs.ids[0].token = [16]byte(d[len(d)-16:])
	r.datagram(d)
	r.wantOpen()
}
