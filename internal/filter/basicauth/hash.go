package basicauth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// hash is what is known of a password.
// Immutable.
type hash interface {
	// matches reports whether a password is the one. It takes as long for any other of its length.
	matches(password []byte) bool
	// memory is how many bytes matches takes.
	memory() int64
}

// The bounds of hashes: what takes longer or more would stop the processors for all others.
const (
	bcryptCostMax  = 15        // 32 times as long as 10, about 2 s
	bcryptMax      = 72        // bytes of a password, of which bcrypt reads no more
	argonMemoryMax = memoryMax // bytes
	argonTimeMax   = 32        // passes
	argonLanesMax  = 16        // threads
	saltMin        = 8         // bytes
	saltMax        = 64        // bytes
	keyMin         = 16        // bytes
	keyMax         = 64        // bytes
	bcryptMemory   = 4 << 10   // bytes
	hashMax        = 512       // bytes of a hash as text
)

var (
	errNoHash   = errors.New("it is not a hash of a password")
	errOldHash  = errors.New("hashes of this kind can be guessed fast, and are not read")
	errLongHash = errors.New("it is too long")
)

// parseHash reads a hash of bcrypt ($2a$, $2b$, $2y$) or Argon2id ($argon2id$). No error shows what it was given.
func parseHash(text string) (hash, error) {
	switch {
	case len(text) > hashMax:
		return nil, errLongHash
	case strings.HasPrefix(text, "$2a$"), strings.HasPrefix(text, "$2b$"), strings.HasPrefix(text, "$2y$"):
		return parseBcrypt(text)
	case strings.HasPrefix(text, "$argon2id$"):
		return parseArgon(text)
	}
	for _, prefix := range []string{
		"$apr1$", "$1$", "$5$", "$6$", "$2$", "$2x$", "$y$", "$7$", "$argon2i$", "$argon2d$", "{SHA}", "{SSHA}",
	} {
		if strings.HasPrefix(text, prefix) {
			return nil, fmt.Errorf("%s: %w", prefix, errOldHash)
		}
	}
	return nil, errNoHash
}

// bcryptHash is a hash of bcrypt as it is written.
type bcryptHash []byte

func parseBcrypt(text string) (hash, error) {
	cost, err := bcrypt.Cost([]byte(text))
	switch {
	case err != nil || len(text) != 60 || strings.Trim(text[7:], bcryptDigits) != "":
		return nil, errNoHash
	case cost > bcryptCostMax:
		return nil, fmt.Errorf("a cost of %d takes too long for each password, %d is the most", cost, bcryptCostMax)
	}
	return bcryptHash(text), nil
}

const bcryptDigits = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// matches is false for a password that bcrypt would read a part of: all that begin so would be one.
func (h bcryptHash) matches(password []byte) bool {
	same := bcrypt.CompareHashAndPassword(h, password[:min(len(password), bcryptMax)]) == nil
	return same && len(password) <= bcryptMax
}

func (h bcryptHash) memory() int64 { return bcryptMemory }

// argonHash is a hash of Argon2id.
type argonHash struct {
	kib, passes uint32
	lanes       uint8
	salt, key   []byte
}

// parseArgon reads the string that the reference implementation of Argon2 writes:
//
//	$argon2id$v=19$m=19456,t=2,p=1$salt$key
func parseArgon(text string) (hash, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 {
		return nil, errNoHash
	}
	if parts[2] != "v=19" {
		return nil, errors.New("it is not of version 19 of Argon2")
	}
	numbers := strings.Split(parts[3], ",")
	if len(numbers) != 3 {
		return nil, errNoHash
	}
	var n [3]uint64
	for i, name := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(numbers[i], name)
		v, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil {
			return nil, errNoHash
		}
		n[i] = v
	}
	salt, errSalt := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	key, errKey := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	switch {
	case errSalt != nil, errKey != nil, len(salt) < saltMin, len(salt) > saltMax, len(key) < keyMin, len(key) > keyMax:
		return nil, errNoHash
	case n[2] == 0 || n[1] == 0 || n[0] < 8*n[2]:
		return nil, errNoHash
	case n[0] > argonMemoryMax>>10:
		return nil, fmt.Errorf("m=%d takes too much memory for each password, %d is the most", n[0], argonMemoryMax>>10)
	case n[1] > argonTimeMax || n[2] > argonLanesMax:
		return nil, fmt.Errorf("t=%d,p=%d is too much, t=%d,p=%d is the most", n[1], n[2], argonTimeMax, argonLanesMax)
	}
	return &argonHash{uint32(n[0]), uint32(n[1]), uint8(n[2]), salt, key}, nil
}

func (h *argonHash) matches(password []byte) bool {
	key := argon2.IDKey(password, h.salt, h.passes, h.kib, h.lanes, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1
}

func (h *argonHash) memory() int64 { return int64(h.kib) << 10 }

// Kind is a way to make a hash.
type Kind string

// The kinds of hashes, with the parameters that OWASP's list of password storage begins with.
const (
	Argon2id Kind = "argon2id" // 19 MiB, two passes
	Bcrypt   Kind = "bcrypt"   // cost 10
)

// The parameters of hashes that are made here.
const (
	madeKiB    = 19 << 10
	madePasses = 2
	madeLanes  = 1
	madeSalt   = 16
	madeKey    = 32
	madeCost   = 10
)

// Errors of Hash.
var (
	errEmpty   = errors.New("the password is empty")
	errTooLong = fmt.Errorf("the password is longer than %d bytes", passwordMax)
	errCut     = fmt.Errorf("bcrypt reads the first %d bytes of a password: use argon2id for a longer one", bcryptMax)
	errControl = errors.New("the password has a control character, which clients cannot send")
	errNoKind  = errors.New("the kinds of hashes are argon2id and bcrypt")
)

// Hash returns the hash of a password, as the keys of the filter and its file take it. It takes some time.
func Hash(kind Kind, password []byte) (string, error) {
	switch {
	case len(password) == 0:
		return "", errEmpty
	case len(password) > passwordMax:
		return "", errTooLong
	case hasControl(password):
		return "", errControl
	}
	switch kind {
	case Argon2id:
		salt := make([]byte, madeSalt)
		rand.Read(salt)
		key := argon2.IDKey(password, salt, madePasses, madeKiB, madeLanes, madeKey)
		b64 := base64.RawStdEncoding
		return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, madeKiB, madePasses, madeLanes,
			b64.EncodeToString(salt), b64.EncodeToString(key)), nil
	case Bcrypt:
		if len(password) > bcryptMax {
			return "", errCut
		}
		text, err := bcrypt.GenerateFromPassword(password, madeCost)
		return string(text), err
	}
	return "", errNoKind
}
