package certs

import (
	"cmp"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var errNone = errors.New("no certificate")

// pair is files with what was last read of them.
//
//	present is never nil
type pair struct {
	files   Files
	present atomic.Pointer[Certificate]

	seen  stamps // of the files that present was read from, or that were found wrong; guarded by Set.mu
	wrong int    // looks in a row that found the files wrong; guarded by Set.mu
}

// Set is the certificates of one configuration. Safe for any goroutine.
type Set struct {
	groups []*group

	mu    sync.Mutex
	pairs []*pair // the pairs of all groups, each once
	stop  chan struct{}
	ended chan struct{}
}

// group is a list of pairs, of which a name chooses one.
type group struct {
	pairs  []*pair // those for all handshakes
	names  atomic.Pointer[names]
	asking []asking

	authority *Authority // of one of pairs: it makes certificates for other names too; nil: no pair has one
}

// asking is a pair of a group that is for some handshakes alone. Immutable.
type asking struct {
	*pair
	when When
}

// names finds the pairs for a name. Immutable. Several for one name differ in what they are signed with.
type names struct {
	exact map[string][]*pair
	wild  map[string][]*pair // "example.org" for "*.example.org"
}

// NewSet reads the pairs of a configuration: each group is a list of pairs, of which a name chooses one. Pairs of old,
// which may be nil, are taken over unread where their files have not changed. The error names all pairs that cannot be
// read.
func NewSet(old *Set, groups ...[]Files) (*Set, error) {
	s := &Set{}
	known := make(map[string]*pair)
	if old != nil {
		old.mu.Lock()
		defer old.mu.Unlock()
		for _, p := range old.pairs {
			known[p.files.id()] = p
		}
	}
	var errs []error
	made := make(map[string]*pair)
	for _, list := range groups {
		g := &group{}
		for i := range list {
			id := list[i].id()
			p := made[id]
			if p == nil {
				p = known[id]
				if p == nil || p.files.stamps() != p.seen {
					fresh, err := read(&list[i])
					if err != nil {
						errs = append(errs, err)
						continue
					}
					p = fresh
				}
				made[id] = p
				s.pairs = append(s.pairs, p)
			}
			if when := list[i].When; when != nil {
				g.asking = append(g.asking, asking{p, when})
			} else {
				g.pairs = append(g.pairs, p)
				g.authority = cmp.Or(g.authority, p.files.Authority)
			}
		}
		g.index()
		s.groups = append(s.groups, g)
	}
	return s, errors.Join(errs...)
}

func read(f *Files) (*pair, error) {
	p := &pair{files: *f, seen: f.stamps()}
	p.files.When = nil // it is the group's, and another generation's may differ
	c, err := Load(f, time.Now())
	if err != nil {
		return nil, err
	}
	p.present.Store(c)
	return p, nil
}

// index makes the names of g anew, from its present pairs.
func (g *group) index() {
	n := &names{exact: make(map[string][]*pair), wild: make(map[string][]*pair)}
	for _, p := range g.pairs {
		for _, host := range p.present.Load().Hosts {
			if parent, found := strings.CutPrefix(host, "*."); found {
				n.wild[parent] = append(n.wild[parent], p)
			} else {
				n.exact[host] = append(n.exact[host], p)
			}
		}
	}
	g.names.Store(n)
}

// find returns the best certificate for a lower-case name; nil: there is none.
func (g *group) find(name string, hello *tls.ClientHelloInfo) *Certificate {
	n, by := g.names.Load(), choice{hello: hello}
	// RFC 6125 §6.4.3: the star is the whole first label, and one label.
	_, parent, _ := strings.Cut(name, ".")
	exact, wild := n.exact[name], n.wild[parent]
	for i, list := range [...][]*pair{exact, wild} {
		for _, p := range list {
			if c := p.present.Load(); len(exact)+len(wild) > 1 {
				by.consider(c, 2-i)
			} else {
				return c
			}
		}
	}
	return by.best
}

// Certificates returns what the set holds now, each pair once, in the order of the groups.
func (s *Set) Certificates() []*Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Certificate, 0, len(s.pairs))
	for _, p := range s.pairs {
		all = append(all, p.present.Load())
	}
	return all
}

// Source has certificates that come while the process runs. Safe for any goroutine.
type Source interface {
	// Find returns the certificate for a lower-case name or an address; nil: there is none. It does not wait.
	Find(name string) *Certificate
	// Wait may wait until there is a certificate for a lower-case name, on the goroutine of the handshake; nil: none.
	Wait(hello *tls.ClientHelloInfo, name string) *Certificate
}

// Chooser chooses a certificate for each handshake of a listener. Safe for any goroutine; immutable.
type Chooser struct {
	Source Source // is asked for a name that no group has; nil: there is none. Set before the first handshake

	listener string
	groups   []*group
	asks     bool // a pair is for some handshakes alone
}

// Chooser returns the Chooser of these groups, by their numbers, for a listener of that name. The first group that has
// the name gives the pair. For a name that no group has, the Source has a certificate, or an Authority of a group makes
// one, if it may. For others, and for no name at all, it is the first pair. Pairs whose When holds come before all
// others for the name, and before others of their group where it is the first pair that is chosen.
func (s *Set) Chooser(listener string, groups ...int) *Chooser {
	c := &Chooser{listener: listener}
	for _, i := range groups {
		c.groups = append(c.groups, s.groups[i])
		c.asks = c.asks || len(s.groups[i].asking) > 0
	}
	return c
}

// GetCertificate is the function of that name in a tls.Config.
func (c *Chooser) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(hello.ServerName)
	if name != "" {
		for _, g := range c.groups {
			if found := c.ask(g, name, hello); found != nil {
				return &found.TLS, nil
			}
		}
		held := c.held(name, hello)
		if held.isValid() {
			return &held.TLS, nil
		} else if found := c.find(name); found != nil {
			return found, nil
		} else if held != nil {
			return &held.TLS, nil
		}
		for _, g := range c.groups {
			if g.authority == nil {
				continue
			}
			if found := g.authority.Find(strings.TrimSuffix(name, ".")); found != nil {
				return &found.TLS, nil
			}
		}
		if c.Source != nil {
			if found := c.Source.Wait(hello, strings.TrimSuffix(name, ".")); found != nil {
				return &found.TLS, nil
			}
		}
	}
	for _, g := range c.groups {
		if found := c.ask(g, "", hello); found != nil {
			return &found.TLS, nil
		}
		if len(g.pairs) > 0 {
			if name == "" {
				if found := g.pairs[0].forAddress(hello); found != nil {
					return &found.TLS, nil
				}
			}
			return &g.first(hello).TLS, nil
		}
	}
	if name == "" {
		if found := c.find(reached(hello)); found != nil {
			return found, nil
		}
	}
	if c.asks || c.Source != nil {
		return nil, nil // the alert is unrecognized_name: there is no server for this client
	}
	return nil, errNone
}

// held returns the certificate of the first group that has a valid one for a lower-case name, else of the first group
// that has any; nil: there is none.
func (c *Chooser) held(name string, hello *tls.ClientHelloInfo) (held *Certificate) {
	for _, g := range c.groups {
		if found := g.find(name, hello); held == nil || found.isValid() {
			if held = found; held.isValid() {
				break
			}
		}
	}
	return held
}

// find returns the certificate of the Source for a name or an address.
func (c *Chooser) find(name string) *tls.Certificate {
	if c.Source == nil {
		return nil
	}
	if found := c.Source.Find(strings.TrimSuffix(name, ".")); found != nil {
		return &found.TLS
	}
	return nil
}

// reached returns the address that a client has reached; empty: it has none.
func reached(hello *tls.ClientHelloInfo) string {
	if hello.Conn != nil {
		if at, ok := hello.Conn.LocalAddr().(*net.TCPAddr); ok {
			return at.IP.String()
		}
	}
	return ""
}

// forAddress returns a certificate for the address that a client without a name has reached, beside the names of p,
// where an Authority may make it; else nil.
func (p *pair) forAddress(hello *tls.ClientHelloInfo) *Certificate {
	a, ip := p.files.Authority, reached(hello)
	if a == nil || ip == "" {
		return nil
	}
	return a.find("at "+ip, append(slices.Clip(p.files.Hosts), ip)...)
}

// ask returns the best certificate of g for a name, "" for any, whose When holds. nil: none holds.
func (c *Chooser) ask(g *group, name string, hello *tls.ClientHelloInfo) *Certificate {
	by := choice{hello: hello}
	for i := range g.asking {
		a := &g.asking[i]
		cert := a.present.Load()
		fits := 1
		if name != "" {
			fits = cert.fitsName(name)
		}
		if fits > 0 && a.when(hello, c.listener) {
			by.consider(cert, fits)
		}
	}
	return by.best
}

// choice is the best of the certificates that were considered for a handshake.
type choice struct {
	hello *tls.ClientHelloInfo
	best  *Certificate
	rank  int // of best
}

// What it adds to the rank of a certificate that it is valid now, and that the client can verify it.
const valid, verifiable = 4, 8

// consider makes c the best where it ranks higher, fits by its name among that, or where it ranks the same, has a key
// of the same kind and ends later: of several kinds the first is meant to be preferred.
func (b *choice) consider(c *Certificate, fits int) {
	if c.isValid() {
		fits += valid
	}
	if b.hello.SupportsCertificate(&c.TLS) == nil {
		fits += verifiable
	}
	if b.best == nil || fits > b.rank || fits == b.rank && c.Leaf.NotAfter.After(b.best.Leaf.NotAfter) &&
		c.Leaf.PublicKeyAlgorithm == b.best.Leaf.PublicKeyAlgorithm {
		b.best, b.rank = c, fits
	}
}

// isValid reports whether c is a certificate that is valid now.
func (c *Certificate) isValid() bool { return c != nil && c.State(time.Now()) <= Expiring }

// fitsName returns 2 where the certificate is for a lower-case name, 1 where it is for "*.parent", else 0.
func (c *Certificate) fitsName(name string) (rank int) {
	_, parent, cut := strings.Cut(name, ".")
	for _, host := range c.Hosts {
		if host == name {
			return 2
		}
		if star, wild := strings.CutPrefix(host, "*."); wild && cut && star == parent {
			rank = 1
		}
	}
	return rank
}

// first returns the best certificate for the first name of the first pair of g.
func (g *group) first(hello *tls.ClientHelloInfo) *Certificate {
	c := g.pairs[0].present.Load()
	if len(c.Hosts) == 0 {
		return c
	}
	return cmp.Or(g.find(c.Hosts[0], hello), c)
}
