package explain

import (
	"cmp"
	"fmt"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server"
)

// rulesOf returns the rules that a request was held against.
func rulesOf(cfg *config.Config, seen []server.DryRule) []Rule {
	list := make([]Rule, 0, len(seen))
	for _, s := range seen {
		r := Rule{Name: s.Rule.Name, At: at(s.Rule.Pos), Holds: s.Held, Does: []string{},
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
