package certs

import (
	"errors"
	"fmt"
	"time"
)

// renewAgain is how long after an attempt to make a certificate anew the next one may come.
const renewAgain = time.Hour

// ErrRenewal is why the certificate of an Authority could not be made anew.
var ErrRenewal = errors.New("cannot be made anew")

// renewal is what it takes to make a certificate of ours anew. Guarded by Set.mu.
type renewal struct {
	authority *Authority
	names     []string
	tried     time.Time
}

// Renew has each Look make the certificate of a for names anew when its time has come: see Authority.Leaf. To be called
// before Watch.
func (s *Set) Renew(a *Authority, names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewals = append(s.renewals, renewal{authority: a, names: names})
}

// renew writes new files when the files of r are old, and reports whether that failed. Set.mu is held.
func (s *Set) renew(r *renewal, now time.Time) (c Change, failed bool) {
	f := r.authority.leafFiles()
	for _, p := range s.pairs {
		if p.files.id() != f.id() {
			continue
		}
		old := p.present.Load()
		if !aged(old.Leaf, now) || now.Sub(r.tried) < renewAgain {
			return c, false
		}
		r.tried = now
		if _, err := r.authority.leaf(now, r.names); err != nil {
			return Change{f, old, &Error{PartCert, f.Cert, fmt.Errorf("%w: %w", ErrRenewal, err)}}, true
		}
	}
	return c, false
}
