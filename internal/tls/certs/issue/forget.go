package issue

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"path"
	"time"
)

const (
	forgetAfter = 90 * 24 * time.Hour // its end, the files of a certificate that is not wanted are removed
	forgetEvery = 24 * time.Hour
)

// forget removes the files of certificates that ended long ago and are not of entries.
func (s *Set) forget(ctx context.Context, entries []*entry, now time.Time) error {
	wanted := make(map[string]bool, len(entries))
	for _, e := range entries {
		wanted[e.folder] = true
	}
	keys, err := s.plan.Storage.List(ctx, certificatesKey, true)
	if err != nil {
		return err
	}
	for _, key := range keys {
		at := site{path.Dir(key), path.Base(path.Dir(key))}
		if path.Dir(path.Dir(at.prefix)) != certificatesKey || key != at.chain() || wanted[at.name] {
			continue
		}
		text, _ := s.plan.Storage.Load(ctx, key)
		block, _ := pem.Decode(text)
		if block == nil {
			continue // what cannot be read stays
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil || now.Sub(leaf.NotAfter) < forgetAfter {
			continue
		}
		if err := s.plan.Storage.Delete(ctx, at.prefix); err != nil {
			return err
		}
	}
	return nil
}
