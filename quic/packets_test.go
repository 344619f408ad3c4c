package quic

import (
	"encoding/binary"
	"testing"
)

var _ = binary.BigEndian

// A Handshake packet may carry more than the last bytes of TLS, with which its keys are dropped.
func TestPackets_framesAfterTheKeysWereDropped(t *testing.T) {
	for _, rest := range [][]byte{appendFrame(nil, frameAck, 0, 0, 0, 0), cryptoFrame(5, 9), ping, {0, 0}} {
		r := newRig(t, Server, Options{})
		r.in(Initial, ping)
		r.keysOf(Handshake)
		r.keysOf(OneRTT)
		if err := r.conn.SetParameters(r.parameters()); err != nil {
			t.Fatal(err)
		}
		r.conn.SendCrypto(Handshake, pattern(0, 100))
		r.out()
		r.onEvent = func(ev *Event) {
			if ev.Kind == Crypto {
				r.conn.HandshakeDone()
			}
		}
		r.in(Handshake, cryptoFrame(0, 5), rest)
		r.wantOpen()
		if r.conn.flag&confirmed == 0 {
			t.Error("no handshake")
		}
	}
}
