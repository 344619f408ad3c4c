package plan

import "strings"

// closedMax is how many steps and branches that close connections the condition of a route names.
const closedMax = 50

// Lead writes where the service b leads connections: a connection that no step of s refuses goes where the first branch
// leads whose condition holds. A branch that leads to no backends closes connections. All conditions of s are known.
//
//	[services.names]                           the branch for all others is dest of the service
//	dest = "b"
//	[[services.names.routes]]                  any other branch is a route
//	when = 'tls.sni == "a.test"'
//	dest = "a"
func (p *Plan) Lead(b *Block, s *Site) {
	open, closed := Always, 0 // of the connections that nothing before has closed
	shut := func(when *Cond, what string, from []Place) {
		b.From(from...)
		if closed++; closed < closedMax {
			open = All(open, Not(when))
		} else if closed == closedMax {
			open = Never
			p.Lose(from[0], what, "too many lines close connections: this one, and all after it, close all of them")
		}
	}
	for _, step := range s.Steps {
		if step.refuses() {
			shut(step.when(), step.What, step.From)
		}
	}
	for _, branch := range s.Branches {
		switch when := All(open, branch.When); {
		case when.String() == no:
			b.From(branch.From...)
		case branch.To.End.Name != "dest":
			shut(branch.When, branch.What, branch.From)
		case when.String() == yes:
			b.Set("dest", branch.To.End.Value, Place{})
			b.From(branch.From...)
			return
		default:
			p.lead("["+strings.TrimSuffix(b.header, "]")+".routes]]", when, branch).of = b
		}
	}
}

// LeadFrom makes a listener pass on the connections that the branches of s are for: by rules on handshakes, of which
// the first one counts. No rule is for what no branch takes. A branch that leads to no backends closes connections.
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
