package quicconn

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/quic"
)

// A token is good for its client, its id and its time, at each reactor, and no octet of it can be changed.
func TestTokens_open(t *testing.T) {
	k, other := newKeys(&Secret{1}), newKeys(&Secret{2})
	m := newIDMaker(&k, 0, 3, [32]byte{1})
	peer := netip.MustParseAddrPort("192.0.2.7:4433")
	const made = int64(1e9)
	for _, first := range []string{"8 octets", "up to 20 octets of id"[:20]} {
		maker, reader, stranger := tokens{aead: k.retry}, tokens{aead: k.retry}, tokens{aead: other.retry}
		b := m.next()
		id, _ := quic.MakeID(b[:])
		token := maker.seal(&m, peer, []byte(first), &id, made)
		again := bytes.Clone(token)
		if token = bytes.Clone(token); bytes.Equal(maker.seal(&m, peer, []byte(first), &id, made), again) {
			t.Error("two tokens are the same")
		}
		for name, c := range map[string]struct {
			peer string
			id   string
			now  int64
			want tokenState
		}{
			"right":           {"192.0.2.7:4433", string(b[:]), made, tokenGood},
			"in the last ns":  {"192.0.2.7:4433", string(b[:]), made + tokenAge, tokenGood},
			"as IPv6":         {"[::ffff:192.0.2.7]:4433", string(b[:]), made, tokenGood},
			"old":             {"192.0.2.7:4433", string(b[:]), made + tokenAge + 1, tokenBad},
			"another address": {"192.0.2.8:4433", string(b[:]), made, tokenBad},
			"another port":    {"192.0.2.7:4434", string(b[:]), made, tokenBad},
			"another id":      {"192.0.2.7:4433", "replayed", made, tokenBad},
			"a longer id":     {"192.0.2.7:4433", string(b[:]) + "1", made, tokenBad},
			"no id":           {"192.0.2.7:4433", "", made, tokenBad},
		} {
			h := quic.Header{Dest: []byte(c.id), Token: token}
			got, original := reader.open(&h, netip.MustParseAddrPort(c.peer), c.now)
			if got != c.want || got == tokenGood && string(original.Bytes()) != first {
				t.Errorf("%s: state %d, id %q", name, got, original.Bytes())
			}
		}
		for i := range token {
			forged, cut := bytes.Clone(token), token[:i]
			forged[i] ^= 1
			for _, wrong := range [][]byte{forged, cut} {
				if s, _ := reader.open(&quic.Header{Dest: b[:], Token: wrong}, peer, made); s != tokenAbsent {
					t.Errorf("%x: state %d", wrong, s)
				}
			}
		}
		if s, _ := stranger.open(&quic.Header{Dest: b[:], Token: token}, peer, made); s != tokenAbsent {
			t.Errorf("a token of another secret: state %d", s)
		}
	}
}

// Tokens cost no memory: floods have many of them made and read.
func TestTokens_allocateNothing(t *testing.T) {
	k := newKeys(&Secret{1})
	m, tokens := newIDMaker(&k, 0, 0, [32]byte{}), &tokens{aead: k.retry}
	peer := netip.MustParseAddrPort("192.0.2.7:4433")
	b := m.next()
	id, _ := quic.MakeID(b[:])
	h := quic.Header{Dest: b[:], Source: []byte("client"), Version: quic.Version1}
	room := make([]byte, 0, quic.DatagramSize)
	var token [tokenMost]byte
	n := testutil.Allocs(100, func() {
		h.Token = token[:copy(token[:], tokens.seal(&m, peer, []byte("original"), &id, 7))]
		if s, _ := tokens.open(&h, peer, 7); s != tokenGood {
			t.Fatal(s)
		}
		quic.AppendRetry(room, &h, &id, h.Token)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
