package certs

import (
	"crypto/x509"
	"sync/atomic"
)

// Lean is a pair that is presented perhaps: the bytes of certificate and key, of which a Certificate is made in the
// first handshake that needs it. A server with 10 000 names presents few of them. Safe for any goroutine.
type Lean struct {
	Chain [][]byte // DER, the server's own certificate first; immutable
	key   []byte   // DER
	made  atomic.Pointer[Certificate]
}

// ParseLean reads a pair in PEM. It returns the Certificate too, which refers to the bytes of the pair. It has the
// errors of Load.
func ParseLean(chain, key []byte) (*Lean, *Certificate, error) {
	c, err := (&Files{Cert: "certificate", Key: "key"}).parse(chain, key)
	if err != nil {
		return nil, nil, err
	}
	der, err := keyDER(key)
	return &Lean{Chain: c.TLS.Certificate, key: der}, c, err
}

// Certificate returns the pair for handshakes.
func (l *Lean) Certificate() *Certificate {
	if c := l.made.Load(); c != nil {
		return c
	}
	leaf, err := x509.ParseCertificate(l.Chain[0])
	if err != nil {
		panic("certs: " + err.Error()) // ParseLean has read it
	}
	key, err := parseDER(l.key)
	if err != nil {
		panic("certs: " + err.Error())
	}
	c := &Certificate{Leaf: leaf, Hosts: hostsOf(leaf)}
	c.TLS.Certificate, c.TLS.PrivateKey, c.TLS.Leaf = l.Chain, key, leaf
	l.made.CompareAndSwap(nil, c)
	return l.made.Load()
}
