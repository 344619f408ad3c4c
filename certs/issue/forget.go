package issue

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"path"
	"time"
)

const (
	forgetAfter = 90 * 24 * time.Hour // its end, the files of a certificate that nobody wants are removed
	forgetEvery = 24 * time.Hour
)

// forget removes the files of certificates that ended long ago and are not in s.
func (s *Set) forget(ctx context.Context, now time.Time) error {
	wanted := make(map[string]bool, len(s.entries))
	for _, e := range s.entries {
		wanted[e.folder] = true
	}
	authorities, err := s.plan.Storage.List(ctx, certificatesKey, false)
	if err != nil {
		return err
	}
	for _, authority := range authorities {
		sites, err := s.plan.Storage.List(ctx, authority, false)
		if err != nil {
			return err
		}
		for _, key := range sites {
			at := site{key, path.Base(key)}
			if wanted[at.name] {
				continue
			}
			text, err := s.plan.Storage.Load(ctx, at.chain())
			if err != nil {
				continue // it is no folder of a certificate
			}
			block, _ := pem.Decode(text)
			if block == nil {
				continue
			}
			leaf, err := x509.ParseCertificate(block.Bytes)
			if err != nil || now.Sub(leaf.NotAfter) < forgetAfter {
				continue
			}
			if err := s.plan.Storage.Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}
