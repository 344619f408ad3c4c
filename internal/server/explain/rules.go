package explain

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"strings"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server"
)

// rulesOf returns the rules that a request was held against.
func rulesOf(cfg *config.Config, seen []server.DryRule) []Rule {
	list := make([]Rule, 0, len(seen))
	for _, s := range seen {
		r := Rule{Name: s.Rule.Name, At: s.Rule.Pos.FileLine(), Holds: s.Held, Does: []string{},
			When: clausesOf(cfg, s.Rule.When, s.Clauses)}
		if s.Held {
			r.Does = s.Rule.Actions()
		}
		if s.Refused != nil {
			r.Refused = s.Refused.Text + " The condition does not hold for both readings."
		}
		list = append(list, r)
	}
	return list
}

// title names r, which is the nth.
func (r *Rule) title(n int) string { return cmp.Or(r.Name, fmt.Sprintf("rule %d", n)) }

// handshakeOf returns what is decided about a handshake; nil: nothing but what the listener says.
func handshakeOf(s *server.DryHandshake) *Handshake {
	if len(s.Rules) == 0 && s.Certificate == nil {
		return nil
	}
	h := &Handshake{Denied: s.Denied, ClientAuth: s.Asked, MinVersion: tls.VersionName(s.MinVersion), Rules: []Rule{}}
	if s.Passed != nil {
		h.Passed = s.Passed.Name
	}
	if c := s.Certificate; c != nil {
		h.Certificate, h.At = c.Cert, c.Pos.FileLine()
	}
	for i, written := range s.Rules {
		r := Rule{Name: written.Name, At: written.Pos.FileLine(), Holds: s.Held[i], Does: []string{}}
		if r.Holds {
			r.Does = written.Decides()
		}
		h.Rules = append(h.Rules, r)
	}
	return h
}

// handshake says what is decided about the handshake.
func (a *Answer) handshake(p *printer) {
	h := a.Handshake
	if h == nil {
		return
	}
	switch {
	case h.Denied:
		p.line("handshake", "denied")
	case h.Passed != "":
		p.line("handshake", "passed on to %s", h.Passed)
	default:
		p.line("handshake", "client_auth %s, %s or newer", h.ClientAuth, h.MinVersion)
		if h.Certificate != "" {
			p.line("", "certificate %s%s", h.Certificate, in(h.At))
		}
	}
	for i := range h.Rules {
		p.rule("", i+1, &h.Rules[i])
	}
}

// rule says what r has done, the nth of its list.
func (p *printer) rule(label string, n int, r *Rule) {
	said := "does not hold"
	if r.Holds {
		said = strings.Join(r.Does, "; ")
	}
	if r.Refused != "" {
		said += "; the request is refused: " + r.Refused
	}
	p.line(label, "%s: %s%s", r.title(n), said, in(r.At))
	p.clauses("            ", r.When)
}
