package acme

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
)

const (
	reachMax    = 5 * time.Second
	reachBytes  = 1 << 10  // of an answer; a proof of edge has 53
	reachHeader = 16 << 10 // bytes
)

// Reach looks for a proof of host at one of its addresses, as an authority does, and returns nil where this process
// answers: in has the proof meanwhile. kind is HTTP01 or TLSALPN01.
func Reach(ctx context.Context, in *issue.Challenges, kind, host string, at netip.AddrPort) error {
	token := rand.Text()
	proof := acme.Challenge{Type: kind, Token: token, KeyAuthorization: token + "." + rand.Text(),
		Identifier: acme.Identifier{Type: "dns", Value: host}}
	if _, err := netip.ParseAddr(host); err == nil {
		proof.Identifier.Type = "ip"
	}
	presented := in.Certificate(answered(&proof))
	if kind == HTTP01 || presented == nil { // else an authority may just look for the proof of an order
		remove, err := answer(in, &proof)
		if err != nil {
			return err
		}
		defer remove()
		presented = in.Certificate(answered(&proof))
	}
	ctx, cancel := context.WithTimeout(ctx, reachMax)
	defer cancel()
	if kind == HTTP01 {
		return reachPlain(ctx, &proof, at)
	}
	return reachSecured(ctx, &proof, at, presented)
}

func reachPlain(ctx context.Context, proof *acme.Challenge, at netip.AddrPort) error {
	host := strings.TrimSuffix(net.JoinHostPort(proof.Identifier.Value, "80"), ":80") // some compare the text
	to := url.URL{Scheme: "http", Host: host, Path: issue.TokenPath + proof.Token}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", at.String())
	}
	web := &http.Transport{DisableKeepAlives: true, DialContext: dial, MaxResponseHeaderBytes: reachHeader}
	resp, err := web.RoundTrip(r) // a redirect is no answer of this process
	if err != nil {
		return err
	}
	defer resp.Body.Close()               //nolint:errcheck // it was only read
	if resp.StatusCode == http.StatusOK { // after 101 ctx would not end the read
		text, _ := io.ReadAll(io.LimitReader(resp.Body, reachBytes))
		if string(text) == proof.KeyAuthorization {
			return nil
		}
	}
	return fmt.Errorf("another program answers: %s", printable.Word(cmp.Or(resp.Header.Get("Server"), resp.Status)))
}

func reachSecured(ctx context.Context, proof *acme.Challenge, at netip.AddrPort, presented *tls.Certificate) error {
	client := tls.Dialer{Config: &tls.Config{ServerName: answered(proof), MinVersion: tls.VersionTLS12,
		NextProtos: []string{acmez.ACMETLS1Protocol}, InsecureSkipVerify: true}} // no CA signs a proof: RFC 8737 §3
	c, err := client.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // it was only read
	of := c.(*tls.Conn).ConnectionState()
	if of.NegotiatedProtocol != acmez.ACMETLS1Protocol || len(of.PeerCertificates) == 0 ||
		!bytes.Equal(of.PeerCertificates[0].Raw, presented.Certificate[0]) {
		return errors.New("another program answers")
	}
	return nil
}
