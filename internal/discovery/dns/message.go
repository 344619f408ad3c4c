package dns

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	ednsSize    = 1232 // bytes of an answer over UDP that no path cuts: DNS flag day 2020
	aliasesMax  = 16   // of one chain
	ttlTopBit   = 1 << 31
	nameMax     = 254 // RFC 1035 §2.3.4, with the last dot
	recordsMost = 1 << 13
)

var (
	errName     = errors.New("this is not the name of a host")
	errAliases  = errors.New("the aliases go in a circle, or are too many")
	errNoSOA    = errors.New("the server has no answer and does not say that there is none (no SOA record)")
	errTooMany  = errors.New("the answer has too many records")
	errMismatch = errors.New("the answer is to another question")
)

// question is what a server is asked.
type question struct {
	id   uint16
	name dnsmessage.Name
	kind dnsmessage.Type
}

func newQuestion(name string, kind dnsmessage.Type) (*question, error) {
	n, err := dnsmessage.NewName(name)
	if err != nil || len(name) > nameMax || !strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
		return nil, fmt.Errorf("%q: %w", name, errName)
	}
	return &question{id: uint16(rand.Uint32()), name: n, kind: kind}, nil // of ChaCha8, which an attacker cannot guess
}

// pack returns the bytes of q, with EDNS or without.
func (q *question) pack(edns bool) ([]byte, error) {
	b := dnsmessage.NewBuilder(make([]byte, 0, 512), dnsmessage.Header{ID: q.id, RecursionDesired: true})
	b.EnableCompression()
	if err := errors.Join(b.StartQuestions(), b.Question(dnsmessage.Question{
		Name: q.name, Type: q.kind, Class: dnsmessage.ClassINET})); err != nil {
		return nil, err
	}
	if edns {
		var h dnsmessage.ResourceHeader
		if err := errors.Join(b.StartAdditionals(), h.SetEDNS0(ednsSize, dnsmessage.RCodeSuccess, false),
			b.OPTResource(h, dnsmessage.OPTResource{})); err != nil {
			return nil, err
		}
	}
	return b.Finish()
}

// fits reports whether raw answers q: RFC 5452 §9.1.
func (q *question) fits(raw []byte) bool {
	var p dnsmessage.Parser
	h, err := p.Start(raw)
	if err != nil || !h.Response || h.ID != q.id {
		return false
	}
	asked, err := p.Question()
	if errors.Is(err, dnsmessage.ErrSectionDone) {
		return h.RCode != dnsmessage.RCodeSuccess && h.RCode != dnsmessage.RCodeNameError // some send errors without it
	}
	return err == nil && asked.Type == q.kind && asked.Class == dnsmessage.ClassINET &&
		strings.EqualFold(asked.Name.String(), q.name.String())
}

// record is a resource record of the kinds that count here.
type record struct {
	owner            string // in lower case, with the last dot
	kind             dnsmessage.Type
	ttl              time.Duration
	addr             netip.Addr // of A and AAAA
	target           string     // of CNAME, NS and SRV, in lower case
	text             string     // of TXT
	port             uint16
	priority, weight uint16
}

// reply is an answer.
type reply struct {
	code       dnsmessage.RCode
	truncated  bool
	own        bool // the server serves the zone itself
	answers    []record
	additional []record
	soa        bool          // it says for how long there is nothing
	zone       string        // that there is nothing in
	negative   time.Duration // so long
}

// parseReply reads an answer to q. Records of other kinds and classes are left out.
func parseReply(q *question, raw []byte) (*reply, error) {
	if !q.fits(raw) {
		return nil, errMismatch
	}
	var p dnsmessage.Parser
	h, err := p.Start(raw)
	if err != nil {
		return nil, err
	}
	r := &reply{code: h.RCode, truncated: h.Truncated, own: h.Authoritative}
	if h.Truncated {
		return r, nil // the rest is asked for again, over TCP
	}
	if err = p.SkipAllQuestions(); err != nil {
		return nil, err
	}
	if r.answers, err = section(p.AnswerHeader, p.SkipAnswer, &p, nil); err != nil {
		return nil, err
	}
	if _, err = section(p.AuthorityHeader, p.SkipAuthority, &p, r); err != nil {
		return nil, err
	}
	// Additional records are of use, but an answer that ends in the middle of it is an answer.
	r.additional, _ = section(p.AdditionalHeader, p.SkipAdditional, &p, nil)
	return r, nil
}

// section reads one section of an answer. A SOA record is noted in to, which may be nil.
func section(head func() (dnsmessage.ResourceHeader, error), skip func() error, p *dnsmessage.Parser, to *reply) (
	list []record, err error) {
	for n := 0; ; n++ {
		h, err := head()
		switch {
		case errors.Is(err, dnsmessage.ErrSectionDone):
			return list, nil
		case err != nil:
			return list, err
		case n == recordsMost:
			return list, errTooMany
		}
		if h.Class != dnsmessage.ClassINET || !counts(h.Type) {
			if err := skip(); err != nil {
				return list, err
			}
			continue
		}
		one, err := body(p, h, to)
		if err != nil {
			return list, err
		}
		list = append(list, one)
	}
}

// counts reports whether records of a kind are read.
func counts(kind dnsmessage.Type) bool {
	switch kind {
	case dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeCNAME, dnsmessage.TypeSRV, dnsmessage.TypeSOA,
		dnsmessage.TypeNS, dnsmessage.TypeTXT:
		return true
	}
	return false
}

// body reads the record after h.
func body(p *dnsmessage.Parser, h dnsmessage.ResourceHeader, to *reply) (record, error) {
	one := record{owner: strings.ToLower(h.Name.String()), kind: h.Type, ttl: seconds(h.TTL)}
	switch h.Type {
	case dnsmessage.TypeA:
		a, err := p.AResource()
		one.addr = netip.AddrFrom4(a.A)
		return one, err
	case dnsmessage.TypeAAAA:
		a, err := p.AAAAResource()
		one.addr = netip.AddrFrom16(a.AAAA).Unmap()
		return one, err
	case dnsmessage.TypeCNAME:
		c, err := p.CNAMEResource()
		one.target = strings.ToLower(c.CNAME.String())
		return one, err
	case dnsmessage.TypeNS:
		n, err := p.NSResource()
		one.target = strings.ToLower(n.NS.String())
		return one, err
	case dnsmessage.TypeTXT:
		t, err := p.TXTResource()
		one.text = strings.Join(t.TXT, "")
		return one, err
	case dnsmessage.TypeSRV:
		s, err := p.SRVResource()
		one.target = strings.ToLower(s.Target.String())
		one.port, one.priority, one.weight = s.Port, s.Priority, s.Weight
		return one, err
	}
	s, err := p.SOAResource()
	if err == nil && to != nil {
		to.soa, to.zone, to.negative = true, one.owner, min(one.ttl, seconds(s.MinTTL)) // RFC 2308 §5
	}
	return one, err
}

// seconds is a TTL. One with its highest bit set is 0: RFC 2181 §8.
func seconds(ttl uint32) time.Duration {
	if ttl >= ttlTopBit {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// of returns the records of a kind that the answer has of a name itself.
func (r *reply) of(owner string, kind dnsmessage.Type) (all []record) {
	for _, one := range r.answers {
		if one.owner == owner && one.kind == kind {
			all = append(all, one)
		}
	}
	return all
}

// followAliases goes along the aliases of r from name. It returns the records of a kind at their end, the least TTL on
// the way and the name that the aliases lead to.
func (r *reply) followAliases(name string, kind dnsmessage.Type) (
	found []record, ttl time.Duration, last string, err error,
) {
	ttl = ttlTopBit * time.Second
	last = strings.ToLower(name)
	for range aliasesMax {
		next := ""
		for _, one := range r.answers {
			switch {
			case one.owner != last:
			case one.kind == kind:
				found = append(found, one)
				ttl = min(ttl, one.ttl)
			case one.kind == dnsmessage.TypeCNAME && next == "":
				next = one.target
				ttl = min(ttl, one.ttl)
			}
		}
		if len(found) > 0 || next == "" {
			return found, ttl, last, nil
		}
		last = next
	}
	return nil, 0, "", errAliases
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
