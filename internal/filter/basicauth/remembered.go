package basicauth

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"

	"github.com/edge-proxy/edge/tinyufo"
)

// rememberedMax is how many verified pairs of a user and a password are remembered in a process.
const rememberedMax = 16384

// remembered is the pairs that were verified, each as an HMAC with a key that no other process has: what lies in
// memory is no password and no hash of one. An entry is the reactor time at which it ends. The hash of the user is a
// part of the pair, so that a user who is gone, or whose password has changed, is not remembered.
var remembered = sync.OnceValue(func() *tinyufo.Flat[[sha256.Size]byte, int64] {
	return tinyufo.NewFlat[[sha256.Size]byte, int64](tinyufo.FlatOptions{Entries: rememberedMax})
})

// sealKey is the key of the process, as RFC 2104 pads it: once for the inner and once for the outer hash.
var sealKey = func() (pads [2][sha256.BlockSize]byte) {
	var key [sha256.Size]byte
	rand.Read(key[:])
	for i, pad := range [2]byte{0x36, 0x5c} {
		for j := range pads[i] {
			pads[i][j] = pad
		}
		for j, c := range key {
			pads[i][j] ^= c
		}
	}
	return pads
}()

// sealed returns the HMAC-SHA-256 of an identity and credentials, with the key of the process. crypto/hmac allocates a
// hash for each.
func sealed(id *[sha256.Size]byte, text []byte) [sha256.Size]byte {
	var inner [sha256.BlockSize + sha256.Size + credentialsMax]byte
	n := copy(inner[:], sealKey[0][:])
	n += copy(inner[n:], id[:])
	n += copy(inner[n:], text)
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(outer[:], sealKey[1][:])
	sum := sha256.Sum256(inner[:n])
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}
