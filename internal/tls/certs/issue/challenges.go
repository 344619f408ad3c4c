package issue

import (
	"crypto/tls"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Challenges are the proofs that authorities look for while they are asked for a certificate. Issuers present them, and
// handshakes and reactors answer with them without a lock. The zero value has none. Safe for any goroutine.
type Challenges struct {
	now atomic.Pointer[presented]
	mu  sync.Mutex // held to replace now
}

// presented are the answers of Challenges at one time, the last one of each list counts: an order may present what
// another process shares. Immutable.
type presented struct {
	tokens       map[string][]string // token → key authorizations
	certificates map[string][]*tls.Certificate
}

// TokenPath is where on a host an authority looks for the key authorization of a token (RFC 8555 §8.3).
const TokenPath = "/.well-known/acme-challenge/"

// Answer returns the body for a request with this path, if it is for a challenge (RFC 8555 §8.3).
func (c *Challenges) Answer(path []byte) (body string, found bool) {
	p := c.now.Load()
	if p == nil || len(p.tokens) == 0 || len(path) < len(TokenPath) || string(path[:len(TokenPath)]) != TokenPath {
		return "", false
	}
	return last(p.tokens[string(path[len(TokenPath):])])
}

// Certificate returns the certificate of a challenge for a handshake with acme-tls/1 (RFC 8737 §3); nil: there is none.
// name is in lower case, of a host or the in-addr.arpa or ip6.arpa name of an address (RFC 8738 §6).
func (c *Challenges) Certificate(name string) *tls.Certificate {
	p := c.now.Load()
	if p == nil {
		return nil
	}
	with, _ := last(p.certificates[name])
	return with
}

// PresentToken begins to answer a token.
func (c *Challenges) PresentToken(token, authorization string) {
	c.replace(func(p *presented) { add(p.tokens, token, authorization) })
}

// RemoveToken ends one PresentToken.
func (c *Challenges) RemoveToken(token, authorization string) {
	c.replace(func(p *presented) { remove(p.tokens, token, authorization) })
}

// PresentCertificate begins to answer handshakes for a name.
func (c *Challenges) PresentCertificate(name string, with *tls.Certificate) {
	c.replace(func(p *presented) { add(p.certificates, name, with) })
}

// RemoveCertificate ends one PresentCertificate.
func (c *Challenges) RemoveCertificate(name string, with *tls.Certificate) {
	c.replace(func(p *presented) { remove(p.certificates, name, with) })
}

func (c *Challenges) replace(change func(p *presented)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := &presented{tokens: make(map[string][]string), certificates: make(map[string][]*tls.Certificate)}
	if now := c.now.Load(); now != nil {
		maps.Copy(next.tokens, now.tokens)
		maps.Copy(next.certificates, now.certificates)
	}
	change(next)
	c.now.Store(next)
}

func last[T any](all []T) (one T, found bool) {
	if len(all) > 0 {
		return all[len(all)-1], true
	}
	return one, false
}

// add and remove leave the lists of other maps as they are.
func add[T any](to map[string][]T, key string, one T) { to[key] = append(slices.Clip(to[key]), one) }

func remove[T comparable](from map[string][]T, key string, one T) {
	if i := slices.Index(from[key], one); i >= 0 {
		from[key] = slices.Concat(from[key][:i], from[key][i+1:])
	}
	if len(from[key]) == 0 {
		delete(from, key)
	}
}
