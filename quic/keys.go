package quic

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
)

// The cipher suites, by their numbers in TLS.
const (
	aes128GCM uint16 = 0x1301
	aes256GCM uint16 = 0x1302
	chaCha20  uint16 = 0x1303
)

// suite is a cipher suite, with the limits of RFC 9001 §6.6: packets sealed with one key, and packets that could not
// be opened with all keys of a connection. Immutable.
type suite struct {
	id      uint16
	keyLen  int
	hashLen int // of SHA-256, or of SHA-384
	sealMax int64
	failMax int64
}

var suites = [...]suite{
	{aes128GCM, 16, sha256.Size, 1 << 23, 1 << 52},
	{aes256GCM, 32, sha512.Size384, 1 << 23, 1 << 52},
	{chaCha20, chacha20.KeySize, sha256.Size, 1 << 62, 1 << 36}, // no limit: there are 2^62 numbers
}

// initialSalt is for the secrets of Initial packets of version 1 (RFC 9001 §5.2).
const initialSalt = "\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a"

// sum is room for a hash; SHA-256 fills the first octets.
type sum [sha512.Size384]byte

// initialSecrets returns the secrets of both ends for Initial packets. id is the id that the client chose for the
// server. They keep nothing secret: an observer of the packets can make them too.
func initialSecrets(id []byte) (client, server [sha256.Size]byte) {
	var both sum
	hmacSum(&both, sha256.Size, []byte(initialSalt), id) // HKDF-Extract
	expand(client[:], both[:sha256.Size], "client in")
	expand(server[:], both[:sha256.Size], "server in")
	return client, server
}

// expand fills out, which is no longer than the hash, by HKDF-Expand-Label without a context (RFC 8446 §7.1).
// HKDF-Expand has one round then (RFC 5869 §2.3). The hash is known by the length of from. crypto/hkdf leaves 700 bytes
// of garbage, twenty times in a handshake.
func expand(out, from []byte, label string) {
	var mac sum
	var text [48]byte
	info := append(text[:0], byte(len(out)>>8), byte(len(out)), byte(len("tls13 ")+len(label)))
	info = append(append(append(info, "tls13 "...), label...), 0, 1) // no context; the first round
	hmacSum(&mac, len(from), from, info)
	copy(out, mac[:])
}

// hmacSum computes the HMAC of a text of 64 octets at most (RFC 2104) by the hash whose length is size. The key is no
// longer than a block.
func hmacSum(mac *sum, size int, key, text []byte) {
	block := sha256.BlockSize
	if size == sha512.Size384 {
		block = sha512.BlockSize
	}
	var in [sha512.BlockSize + 64]byte
	copy(in[:], key)
	for i := range block {
		in[i] ^= 0x36
	}
	n := copy(in[block:], text)
	mac.hash(size, in[:block+n])
	for i := range block {
		in[i] ^= 0x36 ^ 0x5c
	}
	n = copy(in[block:], mac[:size])
	mac.hash(size, in[:block+n])
}

// hash makes s the hash of in whose length is size.
func (s *sum) hash(size int, in []byte) {
	if size == sha512.Size384 {
		*s = sha512.Sum384(in)
		return
	}
	short := sha256.Sum256(in)
	copy(s[:], short[:])
}

// keys protect packets of one level in one direction. The zero value has none. Owned by one Conn.
type keys struct {
	suite  *suite
	aead   cipher.AEAD
	block  cipher.Block // of header protection; nil with ChaCha20
	stream []byte       // the key of header protection with ChaCha20
	secret sum          // of TLS: hashLen octets
	iv     [12]byte

	// Arguments of ciphers are here, since they would be allocated for each call otherwise.
	nonce [12]byte
	mask  [sampleLen]byte
}

// init makes keys of a secret, and reports whether the suite is known and the secret fits it.
func (k *keys) init(id uint16, from []byte) (ok bool) {
	*k = keys{}
	for i := range suites {
		if suites[i].id == id {
			k.suite = &suites[i]
		}
	}
	if k.suite == nil || len(from) != k.suite.hashLen {
		return false
	}
	copy(k.secret[:], from)
	var room [chacha20.KeySize]byte
	key := room[:k.suite.keyLen]
	expand(key, from, "quic hp")
	if id == chaCha20 {
		k.stream = bytes.Clone(key)
	} else {
		k.block, _ = aes.NewCipher(key) // its length is known to be good
	}
	return k.derive()
}

// derive makes the key and the IV of the secret.
func (k *keys) derive() (ok bool) {
	from := k.secret[:k.suite.hashLen]
	expand(k.iv[:], from, "quic iv")
	var room [chacha20.KeySize]byte
	key := room[:k.suite.keyLen]
	expand(key, from, "quic key")
	var err error
	if k.block == nil {
		k.aead, err = chacha20poly1305.New(key)
		return err == nil
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return false
	}
	k.aead, err = cipher.NewGCM(block)
	return err == nil
}

// have reports whether there are keys.
func (k *keys) have() bool { return k.aead != nil }

// updated returns the keys that follow k (RFC 9001 §6.1). Header protection stays as it is.
func (k *keys) updated() keys {
	next := *k
	expand(next.secret[:k.suite.hashLen], k.secret[:k.suite.hashLen], "quic ku")
	next.derive() // as it did for k
	return next
}

// seal encrypts the last packet of d in place and appends its tag. The packet begins at start, its number n at number,
// and its frames at body; there are four octets of number and frames at least, or there would be no sample.
//
//	d  … │ header │ number │ frames │     ─►     … │ header' │ number' │ sealed frames │ tag 16 │
//	     start    number   body     len(d)
func (k *keys) seal(d []byte, start, number, body int, n int64) []byte {
	d[start] |= byte(body - number - 1) // the length of the number
	d = k.aead.Seal(d[:body], k.nonceOf(n), d[body:], d[start:body])
	m := k.maskOf(d[number+sampleAt:])
	hide(&d[start], m)
	for i := range d[number:body] {
		d[number+i] ^= m[1+i]
	}
	return d
}

// unprotect takes the protection off the header of the packet p, whose number begins at number and has octets octets.
// Parse has made sure of a sample in a long header; ok is false where a short one has none.
func (k *keys) unprotect(p []byte, number int) (octets int, ok bool) {
	if len(p) < number+sampleAt+sampleLen {
		return 0, false
	}
	m := k.maskOf(p[number+sampleAt:])
	hide(&p[0], m)
	octets = int(p[0]&3) + 1
	for i := range octets {
		p[number+i] ^= m[1+i]
	}
	return octets, true
}

// open decrypts in place what begins at body in the packet p, whose number is n and whose header has no protection any
// more. A packet that cannot be opened is destroyed, but for its tag.
func (k *keys) open(p []byte, body int, n int64) (frames []byte, ok bool) {
	frames, err := k.aead.Open(p[body:body], k.nonceOf(n), p[body:], p[:body])
	return frames, err == nil
}

// hide changes the protected bits of the first octet.
func hide(first *byte, mask []byte) {
	if *first&0x80 != 0 {
		*first ^= mask[0] & 0x0f
	} else {
		*first ^= mask[0] & 0x1f
	}
}

func (k *keys) nonceOf(n int64) []byte {
	k.nonce = k.iv
	low := k.nonce[4:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^uint64(n))
	return k.nonce[:]
}

// maskOf returns the mask of header protection by the sample that b begins with (RFC 9001 §5.4).
func (k *keys) maskOf(b []byte) []byte {
	if k.block != nil {
		k.block.Encrypt(k.mask[:], b[:sampleLen])
		return k.mask[:]
	}
	c, err := chacha20.NewUnauthenticatedCipher(k.stream, b[4:sampleLen])
	if err != nil {
		panic(err) // lengths are constants
	}
	c.SetCounter(binary.LittleEndian.Uint32(b))
	k.mask = [sampleLen]byte{}
	c.XORKeyStream(k.mask[:5], k.mask[:5])
	return k.mask[:]
}
