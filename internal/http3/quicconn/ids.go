package quicconn

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math/rand/v2"

	"github.com/edge-proxy/edge/quic"
)

// Secret is the source of the ids and tokens of a Server. Processes that share the sockets of an address share it.
type Secret [32]byte

// keys are derived from a Secret. Immutable.
type keys struct {
	first, second uint32      // of mask, odd
	reset         []byte      // of the tokens of stateless resets
	retry         cipher.AEAD // of the tokens of Retry
}

func newKeys(s *Secret) keys {
	derive := func(what string, n int) []byte {
		b, err := hkdf.Key(sha256.New, s[:], nil, "edge quic "+what, n)
		if err != nil {
			panic(err) // a hash and a length that are known to be good
		}
		return b
	}
	mask := derive("mask", 8)
	block, err := aes.NewCipher(derive("retry", 32))
	if err != nil {
		panic(err) // the length is known to be good
	}
	retry, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return keys{
		first: binary.LittleEndian.Uint32(mask) | 1, second: binary.LittleEndian.Uint32(mask[4:]) | 1,
		reset: derive("reset", sha256.Size), retry: retry,
	}
}

// An id names the reactor of its connection, so that the kernel and each reactor find the way without a table that they
// share. RFC 9000 §5.1: observers must not be able to join the ids of a connection, so that octet is hidden by a mask
// of random octets beside it. An observer that finds its key learns the number of a reactor and no more.
//
//	 octet 0               octets 1–4     5–7
//	┌──────────┬─────────┬──────────────┬────────┐   octet 0 ^= mask(octets 1–4)
//	│ 2 unused │ reactor │    random    │ random │
//	└──────────┴─────────┴──────────────┴────────┘
const reactorsMax = 64

// mask returns the octet that hides octet 0 of an id with r in its octets 1 to 4, by operations that classic BPF has.
func (k *keys) mask(r uint32) byte {
	r *= k.first
	r ^= r >> 15
	return byte(r * k.second >> 24)
}

// reactorOf returns which reactor an id names, below reactorsMax. b has IDLen octets or more.
func (k *keys) reactorOf(b []byte) int {
	return int(b[0]^k.mask(binary.BigEndian.Uint32(b[1:]))) & (reactorsMax - 1)
}

// idMaker makes the ids of one reactor. Owned by it.
type idMaker struct {
	keys    *keys
	reactor byte
	random  *rand.ChaCha8
	mac     hash.Hash
	sum     [sha256.Size]byte
}

func newIDMaker(k *keys, reactor int, seed [32]byte) idMaker {
	return idMaker{keys: k, reactor: byte(reactor), random: rand.NewChaCha8(seed), mac: hmac.New(sha256.New, k.reset)}
}

// next makes an id, as octets.
func (m *idMaker) next() (b [quic.IDLen]byte) {
	binary.LittleEndian.PutUint64(b[:], m.random.Uint64())
	b[0] = m.reactor ^ m.keys.mask(binary.BigEndian.Uint32(b[1:]))
	return b
}

// fill fills b with octets that an attacker cannot guess.
func (m *idMaker) fill(b []byte) { m.random.Read(b) } //nolint:errcheck // never fails

// token makes the token of the stateless reset for the id b (RFC 9000 §10.3.2).
func (m *idMaker) token(b []byte) (t [16]byte) {
	m.mac.Reset()
	m.mac.Write(b)
	copy(t[:], m.mac.Sum(m.sum[:0]))
	return t
}

// keyOf returns an id as the key of the table.
func keyOf(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
