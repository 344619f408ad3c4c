package acme

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/edge-proxy/edge/internal/tls/certs/issue"
)

const (
	shareEvery = time.Second
	shareTime  = 5 * time.Second  // for one look at the Storage, or one proof that is stored
	shareLife  = 15 * time.Minute // no order takes so long: the process of the proof was killed
	shareMost  = 1000             // proofs of one authority
)

// Present begins to answer a proof, until end.
func (c *call) Present(ctx context.Context, proof acme.Challenge) error {
	if proof.Type == acme.ChallengeTypeDNS01 {
		record, err := c.o.DNS.Present(ctx, proof.DNS01TXTRecordName(), proof.DNS01KeyAuthorization())
		if err != nil {
			return err
		}
		c.records[proof.Token] = record
		c.presented = append(c.presented, record.Remove)
		return nil
	}
	remove, err := answer(c.o.Challenges, &proof)
	if err != nil {
		return err
	}
	c.presented = append(c.presented, func(context.Context) { remove() })
	if c.o.Settle > 0 {
		c.presented = append(c.presented, c.share(ctx, &proof))
	}
	return nil
}

// Wait waits until authorities find the record of a proof by DNS, and until other processes have the others.
func (c *call) Wait(ctx context.Context, proof acme.Challenge) error {
	if record := c.records[proof.Token]; record != nil {
		return record.Wait(ctx)
	}
	select {
	case <-time.After(time.Until(c.settled)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CleanUp does nothing, and end removes the proof: acmez calls CleanUp with the token of an answer of the authority,
// which may differ from the presented one.
func (c *call) CleanUp(context.Context, acme.Challenge) error { return nil }

// answered returns the name in a handshake, or of the file, for a proof: an address has its reverse name in handshakes
// (RFC 8738 §6).
func answered(proof *acme.Challenge) string {
	name := strings.ToLower(proof.Identifier.Value)
	if address, err := netip.ParseAddr(name); err == nil && proof.Type == acme.ChallengeTypeTLSALPN01 {
		return reverseName(address)
	}
	return name
}

func reverseName(address netip.Addr) string {
	b := address.Unmap().AsSlice()
	slices.Reverse(b)
	if len(b) == 4 {
		return fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[0], b[1], b[2], b[3])
	}
	var name []byte
	for _, x := range b {
		name = fmt.Appendf(name, "%x.%x.", x&15, x>>4)
	}
	return string(name) + "ip6.arpa"
}

// answer begins to answer a proof by a request or a handshake, until remove.
func answer(in *issue.Challenges, proof *acme.Challenge) (remove func(), err error) {
	switch proof.Type {
	case acme.ChallengeTypeHTTP01:
		in.PresentToken(proof.Token, proof.KeyAuthorization)
		return func() { in.RemoveToken(proof.Token, proof.KeyAuthorization) }, nil
	case acme.ChallengeTypeTLSALPN01:
		with, err := acmez.TLSALPN01ChallengeCert(*proof)
		if err != nil {
			return nil, err
		}
		name := answered(proof)
		in.PresentCertificate(name, with)
		return func() { in.RemoveCertificate(name, with) }, nil
	}
	return nil, errors.ErrUnsupported
}

// proofs returns the key of certmagic below which the proofs of all processes are.
func (a *authority) proofs() string { return path.Join("acme", a.key, "challenge_tokens") }

// share lets other processes answer for a proof, see Share. Where the Storage fails, this one answers alone.
func (c *call) share(ctx context.Context, proof *acme.Challenge) (remove func(ctx context.Context)) {
	key := path.Join(c.proofs(), issue.Safe(answered(proof))+".json")
	text, err := json.Marshal(proof)
	if err == nil {
		storing, cancel := context.WithTimeout(ctx, shareTime)
		defer cancel()
		err = c.o.Storage.Store(storing, key, text)
	}
	if err == nil {
		c.settled = time.Now().Add(c.o.Settle)
	}
	return func(ctx context.Context) { _ = c.o.Storage.Delete(ctx, key) } // Share does later what fails here
}

// Share makes Challenges answer for proofs that other processes have in the Storage, certmagic's among them, until ctx
// ends. It looks for them once a second.
func (i *Issuer) Share(ctx context.Context) {
	seen := make(map[string]*sharedProof)
	again := time.NewTicker(shareEvery)
	defer again.Stop()
	for ctx.Err() == nil {
		i.at.look(ctx, seen)
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
	for _, s := range seen {
		s.remove()
	}
}

// sharedProof is a proof of the Storage that is answered here.
type sharedProof struct {
	text   []byte
	since  time.Time
	remove func()
}

// look makes seen follow the Storage. Where that fails, what is answered stays.
func (a *authority) look(ctx context.Context, seen map[string]*sharedProof) {
	ctx, cancel := context.WithTimeout(ctx, shareTime)
	defer cancel()
	keys, err := a.o.Storage.List(ctx, a.proofs(), false)
	if err != nil {
		return
	}
	for key, known := range seen {
		if !slices.Contains(keys, key) {
			known.remove()
			delete(seen, key)
		}
	}
	// Of a slow Storage, a part of them is read: each has its turn, new ones first.
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	var old, fresh []string
	for _, key := range keys {
		switch {
		case seen[key] != nil:
			old = append(old, key)
		case path.Dir(key) == a.proofs() && len(seen)+len(fresh) < shareMost:
			fresh = append(fresh, key)
		}
	}
	for _, key := range append(fresh, old...) {
		text, err := a.o.Storage.Load(ctx, key)
		known := seen[key]
		switch {
		case err != nil:
			continue
		case known == nil:
		case !bytes.Equal(known.text, text):
			known.remove()
		case time.Since(known.since) > shareLife:
			_ = a.o.Storage.Delete(ctx, key)
			continue
		default:
			continue
		}
		s := &sharedProof{text: text, since: time.Now(), remove: func() {}}
		var proof acme.Challenge
		if json.Unmarshal(text, &proof) == nil {
			if remove, err := answer(a.o.Challenges, &proof); err == nil {
				s.remove = remove
			}
		}
		seen[key] = s
	}
}
