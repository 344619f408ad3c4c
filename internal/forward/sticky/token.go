package sticky

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// TokenLen is the length of a token.
const TokenLen = 30

// SecretMin is the length of the shortest secret, in bytes.
const SecretMin = 16

// SecretsMax is the number of secrets that are known at a time.
const SecretsMax = 2

const (
	version = 1

	rawLen  = 22 // of a token before base64
	macAt   = 14
	blockSz = sha256.BlockSize
)

// Tag stands for a member in a token. It says nothing to those that have no secret.
type Tag uint64

// Keys sign tokens and verify them.
// Immutable after NewKeys. Safe for any goroutine.
type Keys struct{ list []key }

// key is what is derived from one secret.
// Immutable.
type key struct {
	id    byte
	tags  []byte        // of the MACs that are tags
	inner [blockSz]byte // of the MACs of tokens: the key XOR ipad of RFC 2104
	outer [blockSz]byte // the key XOR opad
}

var (
	errNoSecret = errors.New("sticky: there is no secret")
	errSecrets  = fmt.Errorf("sticky: there are more than %d secrets", SecretsMax)
	errShort    = fmt.Errorf("sticky: a secret has less than %d bytes", SecretMin)
)

// NewKeys makes the keys for the members of a service. The first secret signs, all of them verify.
func NewKeys(service string, secrets ...string) (*Keys, error) {
	switch {
	case len(secrets) == 0:
		return nil, errNoSecret
	case len(secrets) > SecretsMax:
		return nil, errSecrets
	}
	keys := &Keys{list: make([]key, len(secrets))}
	for i, secret := range secrets {
		if len(secret) < SecretMin {
			return nil, errShort
		}
		k := &keys.list[i]
		k.id = derive(secret, "id", "")[0] // one for all services: it tells secrets apart, no more
		k.tags = derive(secret, "tag", service)
		for at, b := range derive(secret, "token", service) {
			k.inner[at], k.outer[at] = b, b
		}
		for at := range blockSz {
			k.inner[at] ^= 0x36
			k.outer[at] ^= 0x5c
		}
	}
	return keys, nil
}

// derive returns a key of its own for each use and each service.
func derive(secret, use, service string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "edge sticky %s\x00%s", use, service)
	return mac.Sum(nil)
}

// Tags returns the tags of the member of that identity, one by each secret. The first is the one to sign.
func (k *Keys) Tags(identity string) []Tag {
	tags := make([]Tag, len(k.list))
	for i := range k.list {
		mac := hmac.New(sha256.New, k.list[i].tags)
		mac.Write([]byte(identity))
		tags[i] = Tag(binary.BigEndian.Uint64(mac.Sum(nil)))
	}
	return tags
}

// Append appends a token that names t and ends at expires, rounded up to a minute. It allocates nothing where dst has
// room.
func (k *Keys) Append(dst []byte, t Tag, expires time.Time) []byte {
	var raw [rawLen]byte
	sign := &k.list[0]
	raw[0], raw[1] = version, sign.id
	binary.BigEndian.PutUint32(raw[2:], uint32((expires.Unix()+59)/60))
	binary.BigEndian.PutUint64(raw[6:], uint64(t))
	mac := sign.mac([macAt]byte(raw[:macAt]))
	copy(raw[macAt:], mac[:])
	return base64.RawURLEncoding.AppendEncode(dst, raw[:])
}

// Verify returns what a token says, and for how long it still holds, which is above 0. It reports false where the token
// is malformed, was not signed by one of the secrets, or has ended. token is borrowed until return.
func (k *Keys) Verify(token []byte, now time.Time) (t Tag, left time.Duration, ok bool) {
	if len(token) != TokenLen {
		return 0, 0, false
	}
	var raw [rawLen]byte
	// Strict: of the two bits of the last character that say nothing each value would be another token.
	if n, err := strict.Decode(raw[:], token); err != nil || n != rawLen || raw[0] != version {
		return 0, 0, false
	}
	for i := range k.list {
		one := &k.list[i]
		if one.id != raw[1] {
			continue
		}
		// RFC 2104 §5 allows to cut a MAC to half of its length; these 64 bits are less, but can be tried online alone.
		mac := one.mac([macAt]byte(raw[:macAt]))
		if subtle.ConstantTimeCompare(mac[:], raw[macAt:]) == 0 {
			continue
		}
		left = time.Unix(int64(binary.BigEndian.Uint32(raw[2:]))*60, 0).Sub(now)
		return Tag(binary.BigEndian.Uint64(raw[6:])), left, left > 0
	}
	return 0, 0, false
}

var strict = base64.RawURLEncoding.Strict()

// mac returns the MAC of a token. It is HMAC written out: in the standard library it is an object with a state, which
// each goroutine would need one of.
func (k *key) mac(said [macAt]byte) [rawLen - macAt]byte {
	var inner [blockSz + macAt]byte
	copy(inner[:], k.inner[:])
	copy(inner[blockSz:], said[:])
	sum := sha256.Sum256(inner[:])
	var outer [blockSz + sha256.Size]byte
	copy(outer[:], k.outer[:])
	copy(outer[blockSz:], sum[:])
	sum = sha256.Sum256(outer[:])
	return [rawLen - macAt]byte(sum[:])
}
