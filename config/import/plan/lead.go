package plan

import "strings"

// Lead writes where the service b leads connections: those that no step of s refuses go where the first branch leads
// whose condition holds. A branch that leads to no backends closes connections. All conditions of s are known.
//
//	[services.names]                           the branch for all others is dest of the service
//	dest = "b"
//	[[services.names.routes]]                  any other branch is a route
//	when = 'tls.sni == "a.test"'
//	dest = "a"
func (p *Plan) Lead(b *Block, s *Site) {
	open := Always // of the connections that nothing before has closed
	for _, step := range s.Steps {
		if step.refuses() {
			open = All(open, Not(step.when()))
			b.From(step.From...)
		}
	}
	for _, branch := range s.Branches {
		switch when := All(open, branch.When); {
		case when.String() == no:
			b.From(branch.From...)
		case branch.To.End.Name != "dest":
			open = All(open, Not(branch.When))
			b.From(branch.From...)
		case when.String() == yes:
			b.Set("dest", branch.To.End.Value, Place{})
			b.From(branch.From...)
			return
		default:
			p.lead("["+strings.TrimSuffix(b.header, "]")+".routes]]", when, branch).of = b
		}
	}
}

// LeadFrom has a listener pass on the connections that the branches of s are for: by rules on handshakes, of which the
// first one counts. No rule is for what no branch takes. A branch that leads to no backends closes connections.
func (p *Plan) LeadFrom(s *Site) {
	for _, branch := range s.Branches {
		p.lead("[[tls.rules]]", branch.When, branch)
	}
}

func (p *Plan) lead(header string, when *Cond, branch Branch) *Block {
	b := p.Add(header, branch.From...)
	if text := when.String(); text != yes {
		b.Set("when", Literal(text), Place{})
	}
	if end := branch.To.End; end.Name == "dest" {
		b.Set("dest", end.Value, Place{})
	} else {
		b.Set("deny", yes, Place{})
	}
	return b
}

// ServerName asks for one of some names in a handshake, with "*.example.com" for all below one.
func ServerName(names ...string) *Cond {
	text, _ := among("tls.sni", names)
	return Test(text)
}
