package issue

import (
	"crypto/tls"
	"maps"
	"sync"
	"sync/atomic"
)

// Challenges are the proofs that authorities look for while they are asked for a certificate. Issuers present them, and
// handshakes and reactors answer with them without a lock. The zero value has none. Safe for any goroutine.
type Challenges struct {
	now atomic.Pointer[presented]
	mu  sync.Mutex // held to replace now
}

// presented are the answers of Challenges at one time. Immutable.
type presented struct {
	tokens       map[string]string // token → key authorization
	certificates map[string]*tls.Certificate
}

// TokenPath is where on a host an authority looks for the key authorization of a token (RFC 8555 §8.3).
const TokenPath = "/.well-known/acme-challenge/"

// Answer returns the body for a request with this path, if it is for a challenge (RFC 8555 §8.3).
func (c *Challenges) Answer(path []byte) (body string, found bool) {
	p := c.now.Load()
	if p == nil || len(p.tokens) == 0 || len(path) < len(TokenPath) || string(path[:len(TokenPath)]) != TokenPath {
		return "", false
	}
	body, found = p.tokens[string(path[len(TokenPath):])]
	return body, found
}

// Certificate returns the certificate of a challenge for a handshake with acme-tls/1 (RFC 8737 §3); nil: there is none.
// name is in lower case, of a host or the in-addr.arpa or ip6.arpa name of an address (RFC 8738 §6).
func (c *Challenges) Certificate(name string) *tls.Certificate {
	if p := c.now.Load(); p != nil {
		return p.certificates[name]
	}
	return nil
}

// PresentToken has a token answered.
func (c *Challenges) PresentToken(token, authorization string) {
	c.replace(func(p *presented) { p.tokens[token] = authorization })
}

// RemoveToken ends PresentToken.
func (c *Challenges) RemoveToken(token string) {
	c.replace(func(p *presented) { delete(p.tokens, token) })
}

// PresentCertificate has handshakes for a name answered.
func (c *Challenges) PresentCertificate(name string, with *tls.Certificate) {
	c.replace(func(p *presented) { p.certificates[name] = with })
}

// RemoveCertificate ends PresentCertificate, if with is still presented.
func (c *Challenges) RemoveCertificate(name string, with *tls.Certificate) {
	c.replace(func(p *presented) {
		if p.certificates[name] == with {
			delete(p.certificates, name)
		}
	})
}

func (c *Challenges) replace(change func(p *presented)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := &presented{tokens: make(map[string]string), certificates: make(map[string]*tls.Certificate)}
	if now := c.now.Load(); now != nil {
		maps.Copy(next.tokens, now.tokens)
		maps.Copy(next.certificates, now.certificates)
	}
	change(next)
	c.now.Store(next)
}
