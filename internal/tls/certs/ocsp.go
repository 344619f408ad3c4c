package certs

import (
	"bytes"
	"crypto"
	_ "crypto/sha1" // names issuers in responses; nothing is signed with it
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"time"
)

// Why a response is not stapled.
var (
	ErrOCSPOther     = errors.New("the OCSP response is about another certificate")
	ErrOCSPOld       = errors.New("the OCSP response is too old")
	ErrOCSPEarly     = errors.New("the OCSP response is from the future")
	ErrOCSPRevoked   = errors.New("the OCSP response says that the certificate was revoked")
	ErrOCSPUnknown   = errors.New("the OCSP response says that the authority does not know the certificate")
	ErrOCSPMalformed = errors.New("holds no OCSP response")
	ErrOCSPSignature = errors.New("the OCSP response is not signed by the authority of the certificate")
)

// The messages of RFC 6960 §4.2.1, as far as they are read.
type (
	ocspResponse struct {
		Status asn1.Enumerated
		Bytes  struct {
			Type     asn1.ObjectIdentifier
			Response []byte
		} `asn1:"explicit,tag:0,optional"`
	}
	ocspBasic struct {
		Data      ocspData
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
		Certs     []asn1.RawValue `asn1:"explicit,tag:0,optional"`
	}
	ocspData struct {
		Raw       asn1.RawContent
		Version   int `asn1:"explicit,tag:0,default:0,optional"`
		Responder asn1.RawValue
		Produced  time.Time `asn1:"generalized"`
		Responses []ocspSingle
	}
	ocspSingle struct {
		ID struct {
			Hash       pkix.AlgorithmIdentifier
			IssuerName []byte
			IssuerKey  []byte
			Serial     *big.Int
		}
		Good    asn1.Flag        `asn1:"tag:0,optional"`
		Revoked asn1.RawValue    `asn1:"tag:1,optional"`
		Unknown asn1.Flag        `asn1:"tag:2,optional"`
		This    time.Time        `asn1:"generalized"`
		Next    time.Time        `asn1:"generalized,explicit,tag:0,optional"`
		Ext     []pkix.Extension `asn1:"explicit,tag:1,optional"`
	}
)

var ocspBasicType = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}

// staple reads the response that goes with the certificate. The response has to name the certificate, call it good and
// be in time.
func (c *Certificate) staple(path string, now time.Time) error {
	der, err := readFile(path)
	if err != nil {
		return err
	}
	basic, err := parseOCSP(der)
	if err != nil {
		return err
	}
	issuer := c.issuer()
	single := c.about(basic.Data.Responses, issuer)
	switch {
	case single == nil:
		return ErrOCSPOther
	case issuer != nil && !basic.signedFor(issuer):
		return ErrOCSPSignature
	case bool(single.Unknown):
		return ErrOCSPUnknown
	case !bool(single.Good):
		return ErrOCSPRevoked
	case now.Before(single.This.Add(-clockSlack)):
		return ErrOCSPEarly
	case !single.Next.IsZero() && now.After(single.Next):
		return ErrOCSPOld
	}
	c.TLS.OCSPStaple, c.stapleUntil = der, single.Next
	return nil
}

// clockSlack is how far the clock of an authority may be ahead of ours.
const clockSlack = 5 * time.Minute

func parseOCSP(der []byte) (*ocspBasic, error) {
	var outer ocspResponse
	var basic ocspBasic
	if rest, err := asn1.Unmarshal(der, &outer); err != nil || len(rest) > 0 || outer.Status != 0 {
		return nil, ErrOCSPMalformed
	}
	if !outer.Bytes.Type.Equal(ocspBasicType) {
		return nil, ErrOCSPMalformed
	}
	if rest, err := asn1.Unmarshal(outer.Bytes.Response, &basic); err != nil || len(rest) > 0 {
		return nil, ErrOCSPMalformed
	}
	return &basic, nil
}

// issuer returns the authority's certificate when it is part of the chain, else nil.
func (c *Certificate) issuer() *x509.Certificate {
	for _, der := range c.TLS.Certificate[1:] {
		if ca, err := x509.ParseCertificate(der); err == nil && bytes.Equal(ca.RawSubject, c.Leaf.RawIssuer) {
			return ca
		}
	}
	return nil
}

// about returns what the responses say of the certificate, or nil.
func (c *Certificate) about(list []ocspSingle, issuer *x509.Certificate) *ocspSingle {
	for i := range list {
		id := &list[i].ID
		hash, known := ocspHashes[id.Hash.Algorithm.String()]
		if !known || id.Serial == nil || id.Serial.Cmp(c.Leaf.SerialNumber) != 0 {
			continue
		}
		if !bytes.Equal(id.IssuerName, sum(hash, c.Leaf.RawIssuer)) {
			continue
		}
		if issuer == nil || bytes.Equal(id.IssuerKey, sum(hash, publicKeyBits(issuer))) {
			return &list[i]
		}
	}
	return nil
}

var ocspHashes = map[string]crypto.Hash{
	"1.3.14.3.2.26":          crypto.SHA1,
	"2.16.840.1.101.3.4.2.1": crypto.SHA256,
	"2.16.840.1.101.3.4.2.2": crypto.SHA384,
	"2.16.840.1.101.3.4.2.3": crypto.SHA512,
}

func sum(h crypto.Hash, text []byte) []byte {
	w := h.New()
	w.Write(text)
	return w.Sum(nil)
}

// publicKeyBits returns the key of a certificate without its algorithm: RFC 6960 §4.1.1, issuerKeyHash.
func publicKeyBits(c *x509.Certificate) []byte {
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.RawSubjectPublicKeyInfo, &spki); err != nil {
		return nil
	}
	return spki.Key.RightAlign()
}

// ocspSignatures are the algorithms that a response may be signed with.
var ocspSignatures = map[string]x509.SignatureAlgorithm{
	"1.2.840.113549.1.1.11": x509.SHA256WithRSA,
	"1.2.840.113549.1.1.12": x509.SHA384WithRSA,
	"1.2.840.113549.1.1.13": x509.SHA512WithRSA,
	"1.2.840.10045.4.3.2":   x509.ECDSAWithSHA256,
	"1.2.840.10045.4.3.3":   x509.ECDSAWithSHA384,
	"1.2.840.10045.4.3.4":   x509.ECDSAWithSHA512,
	"1.3.101.112":           x509.PureEd25519,
}

// signedFor tells whether the authority signed the response, or a responder that it lets sign. RFC 6960 §4.2.2.2.
func (b *ocspBasic) signedFor(issuer *x509.Certificate) bool {
	algorithm, known := ocspSignatures[b.Algorithm.Algorithm.String()]
	if !known {
		return false
	}
	signature := b.Signature.RightAlign()
	if issuer.CheckSignature(algorithm, b.Data.Raw, signature) == nil {
		return true
	}
	for _, raw := range b.Certs {
		signer, err := x509.ParseCertificate(raw.FullBytes)
		if err != nil || signer.CheckSignatureFrom(issuer) != nil {
			continue
		}
		for _, use := range signer.ExtKeyUsage {
			if use == x509.ExtKeyUsageOCSPSigning && signer.CheckSignature(algorithm, b.Data.Raw, signature) == nil {
				return true
			}
		}
	}
	return false
}
