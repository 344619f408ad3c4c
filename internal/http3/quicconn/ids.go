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

// An id names the generation of the process and the reactor of its connection, so that the kernel, each reactor and
// each process find the way without a table that they share. RFC 9000 §5.1: observers must not be able to join the ids
// of a connection, so that octet is hidden by a mask of random octets beside it. An observer that finds its key learns
// these two numbers and no more.
//
//	 octet 0                  octets 1–4     5–7
//	┌──────────────┬─────────┬──────────────┬────────┐   octet 0 ^= mask(octets 1–4)
//	│ generation 2 │ reactor │    random    │ random │
//	└──────────────┴─────────┴──────────────┴────────┘
const (
	reactorsMax = 64
	generations = 4 // that ids can tell: a process, the two before it, and the next one
)

// mask returns the octet that hides octet 0 of an id with r in its octets 1 to 4, by operations that classic BPF has.
func (k *keys) mask(r uint32) byte {
	r *= k.first
	r ^= r >> 15
	return byte(r * k.second >> 24)
}

// placeOf returns which generation and reactor an id names, below generations and reactorsMax. b has IDLen octets or
// more.
func (k *keys) placeOf(b []byte) (generation, reactor int) {
	octet := int(b[0] ^ k.mask(binary.BigEndian.Uint32(b[1:])))
	return octet / reactorsMax, octet % reactorsMax
}

// idMaker makes the ids of one reactor. Owned by it.
type idMaker struct {
	keys   *keys
	place  byte // generation and reactor
	random *rand.ChaCha8
	mac    hash.Hash
	sum    [sha256.Size]byte
}

func newIDMaker(k *keys, generation, reactor int, seed [32]byte) idMaker {
	place := byte(generation%generations*reactorsMax + reactor)
	return idMaker{keys: k, place: place, random: rand.NewChaCha8(seed), mac: hmac.New(sha256.New, k.reset)}
}

// next makes an id, as octets.
func (m *idMaker) next() (b [quic.IDLen]byte) {
	binary.LittleEndian.PutUint64(b[:], m.random.Uint64())
	b[0] = m.place ^ m.keys.mask(binary.BigEndian.Uint32(b[1:]))
	return b
}

// fill fills b with octets that an attacker cannot guess.
func (m *idMaker) fill(b []byte) { m.random.Read(b) } //nolint:errcheck // never fails

// resetFor has tokens of stateless resets differ by address. A Server knows no ids of a Server at another address, and
// its answer would else be a reset that the clients there take (RFC 9000 §21.11).
func (m *idMaker) resetFor(address string) {
	of := hmac.New(sha256.New, m.keys.reset)
	of.Write([]byte(address))
	m.mac = hmac.New(sha256.New, of.Sum(nil))
}

// token makes the token of the stateless reset for the id b (RFC 9000 §10.3.2).
func (m *idMaker) token(b []byte) (t [16]byte) {
	m.mac.Reset()
	m.mac.Write(b)
	copy(t[:], m.mac.Sum(m.sum[:0]))
	return t
}

// keyOf returns an id as the key of the table.
func keyOf(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
