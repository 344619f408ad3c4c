package issue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/tls/certs"
)

// Set is the certificates of a Plan. Immutable but for the certificates that come while it is used. Find is for any
// goroutine.
type Set struct {
	plan     Plan
	wanted   string // the authorities, the accounts, the kind of key and the proofs of new certificates
	entries  []*entry
	names    map[string]place // lower-case names and addresses; ".example.org" for "*.example.org"
	others   []string         // names of folders of authorities that the plan does not have
	demanded *demanded        // nil: the Plan has no Demand
	chains   *sync.Map        // certificates of authorities, each once: string of DER → DER
}

// place is which certificate a name gets.
type place struct {
	now    *entry
	before *entry // of the Set before; nil: none. It serves until now has a certificate
}

func (p place) certificate() *certs.Certificate {
	if c := p.now.certificate(); c != nil {
		return c
	}
	return p.before.certificate()
}

// Find returns the certificate for a lower-case name or an address: for the name itself, else for "*.parent". nil:
// there is none, or none yet.
func (s *Set) Find(name string) *certs.Certificate {
	if c := s.names[name].certificate(); c != nil {
		return c
	}
	dot := max(0, strings.IndexByte(name, '.'))
	if c := s.names[name[dot:]].certificate(); c != nil || s.demanded == nil {
		return c
	}
	return s.demanded.find(name)
}

// Demands reports whether Obtain may get a certificate for a lower-case name. A name of the Plan, or below a "*.parent"
// of it, has its certificate without that.
func (s *Set) Demands(name string) bool {
	if s.demanded == nil || !isHost(name) {
		return false
	}
	_, planned := s.names[name]
	_, star := s.names[name[strings.IndexByte(name, '.'):]]
	return !planned && !star
}

// newSet makes the Set of a plan. It has entries of old where nothing has changed for them. The others are to be read.
func newSet(plan Plan, old *Set) (s *Set, unread []*entry) {
	plan.Key, plan.Parallel = cmp.Or(plan.Key, P256), cmp.Or(plan.Parallel, parallel)
	s = &Set{plan: plan, names: make(map[string]place), chains: old.chains}
	for _, a := range plan.Authorities {
		s.wanted += a.Key() + " " + a.Account() + " "
	}
	s.wanted += string(plan.Key) + plan.Proofs
	known := make(map[string]*entry, len(old.entries))
	if old.plan.Storage == plan.Storage && old.wanted == s.wanted {
		for _, e := range old.entries {
			known[e.folder] = e
		}
	}
	seen := make(map[string]bool, len(plan.Subjects))
	for _, subject := range plan.Subjects {
		names := slices.Compact(slices.Sorted(slices.Values(subject)))
		folder := folderName(names)
		if seen[folder] {
			continue
		}
		seen[folder] = true
		e := known[folder]
		if e == nil || e.demanded != nil { // a demanded one may be dropped just now
			fresh := &entry{names: names, folder: folder}
			if e != nil { // else its certificate is ordered again where the Storage fails just now
				fresh.held.Store(e.held.Load())
			}
			e, unread = fresh, append(unread, fresh)
		}
		s.entries = append(s.entries, e)
		s.index(old, e)
	}
	if plan.Demand != nil {
		s.demanded = new(demanded)
		for folder, e := range known {
			if e.demanded != nil && !seen[folder] {
				s.entries = append(s.entries, e)
				s.demanded.entries.Store(e.names[0], e)
				s.demanded.n++
			}
		}
	}
	return s, unread
}

// index leads the names of e to it, and to the certificate that each had in the Set before.
func (s *Set) index(old *Set, e *entry) {
	for _, name := range e.names {
		name = strings.TrimPrefix(name, "*")
		if _, taken := s.names[name]; taken {
			continue
		}
		was := old.names[name]
		if was.now == nil {
			was.now = old.demanded.entry(name)
		}
		p := place{now: e, before: was.before}
		if was.now != nil && was.now != e && was.now.held.Load() != nil {
			p.before = was.now
		}
		s.names[name] = p
	}
}

// listOthers lists the folders of authorities that the plan does not have.
func (s *Set) listOthers(ctx context.Context) error {
	keys, err := s.plan.Storage.List(ctx, certificatesKey, false)
	for _, key := range keys {
		name := path.Base(key)
		if s.indexOf(name) < 0 {
			s.others = append(s.others, name)
		}
	}
	return err
}

// indexOf returns which authority of the plan has a folder of that name; below 0: none has.
func (s *Set) indexOf(folder string) int {
	return slices.IndexFunc(s.plan.Authorities, func(a Authority) bool { return Safe(a.Key()) == folder })
}

// found is what a Storage has of an entry.
type found struct {
	held  *held // nil: no whole pair
	state state
	// The state is of a replica that wants another certificate: only a new entry begins with it. If each took over
	// the tries of the other, none would have a pause.
	foreign bool
	halves  *texts // of held, whose files are to be written again; nil: they are whole
	broken  error  // why files are no pair
}

// find reads what the Storage has of e: the newest pair of the authorities of the plan, else one of another authority.
// An error says that the Storage does not answer for the state or for one of the pairs; the rest is returned.
func (s *Set) find(ctx context.Context, e *entry, now time.Time) (f found, err error) {
	text, err := s.plan.Storage.Load(ctx, siteOf(s.plan.Authorities[0].Key(), e.folder).state())
	if err == nil && json.Unmarshal(text, &f.state) != nil {
		f.state = state{} // it is cut: the pause is forgotten
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	f.state.Failures = max(0, min(f.state.Failures, len(pauses)*100)) // anything may stand in a file
	f.state.Tries = max(0, f.state.Tries)
	if f.foreign = f.state.For != s.wanted; f.foreign {
		f.state.Failures, f.state.Next = 0, time.Time{}
	}
	f.state.For = s.wanted // one text for all names
	for _, a := range s.plan.Authorities {
		err = errors.Join(err, s.findAt(ctx, e, a.Key(), now, &f))
	}
	if f.held != nil {
		return f, err
	}
	for _, other := range s.others {
		err = errors.Join(err, s.findAt(ctx, e, other, now, &f))
	}
	return f, err
}

// findAt adds the pair that an authority's folder has, if it is newer.
func (s *Set) findAt(ctx context.Context, e *entry, authority string, now time.Time, f *found) error {
	at := siteOf(authority, e.folder)
	chain, err := s.plan.Storage.Load(ctx, at.chain())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var broken error
	for _, name := range []string{at.key(), at.nextKey()} {
		key, err := s.plan.Storage.Load(ctx, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil {
			var h *held
			if h, err = s.parse(e, authority, chain, key, &f.state); err == nil {
				if f.held == nil || h.newer(f.held, now) {
					f.held, f.halves = h, nil
					if name != at.key() { // the process ended between certificate and key
						f.halves = &texts{at: at, chain: chain, key: key}
					}
				}
				return nil
			}
		}
		if broken == nil {
			broken = err
		}
	}
	f.broken = broken
	return nil
}

// parse reads a pair of e.
func (s *Set) parse(e *entry, authority string, chain, key []byte, st *state) (*held, error) {
	lean, c, err := certs.ParseLean(chain, key)
	if err != nil {
		return nil, err
	}
	h := s.hold(authority, lean, c)
	i := s.indexOf(h.authority)
	h.spare = lacking(c.Leaf, e.names) != "" || i < 0 || kindOf(c.Leaf.PublicKey) != s.plan.Key ||
		st.Serial == h.serial && st.Account != "" && st.Account != s.plan.Authorities[i].Account()
	return h, nil
}

// hold returns a pair of an authority as it is presented.
func (s *Set) hold(authority string, lean *certs.Lean, c *certs.Certificate) *held {
	for i, der := range lean.Chain[1:] {
		shared, _ := s.chains.LoadOrStore(string(der), der)
		lean.Chain[i+1] = shared.([]byte)
	}
	return &held{Lean: lean, authority: Safe(authority), serial: serialOf(c.Leaf), notBefore: c.Leaf.NotBefore,
		notAfter: c.Leaf.NotAfter}
}
