package quicconn

import (
	"crypto/cipher"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/edge-proxy/edge/quic"
)

// Retry says which clients have to prove that they are at their address before a connection begins (RFC 9000 §8.1).
// That takes them a round trip more, and floods from forged addresses cost nothing but answers.
type Retry uint8

// The clients that have to prove their address.
const (
	RetryAuto   Retry = iota // all clients while many handshakes are in progress, or the listener is full
	RetryAlways              // all clients
	RetryNever
)

const (
	tokenAge   = int64(10 * time.Second) // for which a token is good
	firstLeast = 8                       // RFC 9000 §7.2: octets of the id that a client chooses
	firstMost  = 20
)

// A token of a Retry says for whom it was made. No other program can read or make it: ids and addresses are hidden.
//
//	nonce 12 │ time 8 │ address 16 │ port 2 │ new id 8 │ first id 8–20 │ tag 16
//	         └──────────────────────── sealed ─────────────────────────┘
const (
	nonceLen   = 12
	addressAt  = 8
	newIDAt    = addressAt + 16 + 2
	firstIDAt  = newIDAt + quic.IDLen
	tokenLeast = nonceLen + firstIDAt + firstLeast + 16
	tokenMost  = nonceLen + firstIDAt + firstMost + 16
)

// tokenState is how the token of an Initial looks.
type tokenState uint8

const (
	tokenAbsent tokenState = iota // or not of this server
	tokenBad                      // of another address or id, or too old
	tokenGood
)

// tokens makes and reads the tokens of Retry packets. Owned by its reactor.
type tokens struct {
	aead   cipher.AEAD // of all reactors
	buffer [tokenMost]byte
	plain  [tokenMost]byte
}

// seal makes the token for the client at peer whose Initial has named first, and which is to name id. It is borrowed
// until the next call. m makes the nonce.
func (t *tokens) seal(m *idMaker, peer netip.AddrPort, first []byte, id *quic.ID, now int64) []byte {
	nonce := t.buffer[:nonceLen]
	m.fill(nonce)
	plain := append(describe(t.plain[:0], peer, id.Bytes(), now), first...)
	return t.aead.Seal(nonce, nonce, plain, nil)
}

// open reads the token of an Initial, whose header is h, from peer. first is the id that the client's first Initial
// has named.
func (t *tokens) open(h *quic.Header, peer netip.AddrPort, now int64) (s tokenState, first quic.ID) {
	if len(h.Token) < tokenLeast || len(h.Token) > tokenMost {
		return tokenAbsent, first
	}
	plain, err := t.aead.Open(t.plain[:0], h.Token[:nonceLen], h.Token[nonceLen:], nil)
	if err != nil {
		return tokenAbsent, first
	}
	var want [firstIDAt]byte
	at := int64(binary.BigEndian.Uint64(plain))
	due := describe(want[:0], peer, h.Dest, at)
	if now-at > tokenAge || string(due) != string(plain[:firstIDAt]) {
		return tokenBad, first
	}
	first, _ = quic.MakeID(plain[firstIDAt:])
	return tokenGood, first
}

// describe appends what a token is made for.
func describe(dst []byte, peer netip.AddrPort, id []byte, now int64) []byte {
	ip := peer.Addr().As16()
	dst = append(binary.BigEndian.AppendUint64(dst, uint64(now)), ip[:]...)
	return append(binary.BigEndian.AppendUint16(dst, peer.Port()), id...)
}
