package plan

import (
	"slices"
	"strings"
)

// shared are keys of routes that may stand once for all of them, by the table where they do.
var shared = []struct{ key, header string }{
	{"error_pages", ""}, {"websocket", ""}, {"timeouts.first_byte", "[upstream_defaults]"},
	{"timeouts.read", "[upstream_defaults]"}, {"timeouts.total", "[upstream_defaults]"},
}

// answerFields returns which step of t sets fields of all its answers, and these; -1: none.
func (t *Target) answerFields() (at int, fields string) {
	at = slices.IndexFunc(t.Steps, func(s Step) bool {
		return s.When == nil && len(s.Do) == 1 && s.Do[0].Name == "headers.response"
	})
	if at >= 0 {
		fields = Table(t.Steps[at].Do[0].fields)
	}
	return at, fields
}

// lift writes once the fields of answers that all targets of a site set alike: as a step of the site, or of one for all
// where the sites are alike too. Targets that only refuse have pages of edge, with these fields or without.
func lift(sites []*Site) (one *Step) {
	of, steps, stays := make([]string, len(sites)), map[string]Step{}, map[*Target]bool{}
	found, targets := map[string]bool{}, 0
	for i, s := range sites {
		texts := map[string]bool{}
		for _, b := range s.Branches {
			at, text := b.To.answerFields()
			if at >= 0 {
				steps[text] = b.To.Steps[at]
			} else if len(b.To.Steps) == 0 && b.To.End.refuses {
				continue
			}
			texts[text], of[i], targets = true, text, targets+1
		}
		if len(texts) > 1 {
			of[i] = ""
		}
		if len(texts) > 0 {
			found[of[i]] = true
		}
	}
	all := len(found) == 1 && !found[""]
	for i, s := range sites {
		if targets < 2 || !all && len(s.Branches) < 2 {
			of[i] = "" // it stands once
		}
		for _, b := range s.Branches {
			stays[b.To] = stays[b.To] || of[i] == ""
		}
	}
	for i, s := range sites {
		if of[i] != "" && !all {
			with := *s
			with.Steps = append([]Step{steps[of[i]]}, s.Steps...)
			sites[i] = &with
		} else if step := steps[of[i]]; of[i] != "" {
			one = &step
		}
	}
	for t, stay := range stays {
		if at, _ := t.answerFields(); !stay && at >= 0 {
			t.Steps = slices.Delete(slices.Clone(t.Steps), at, at+1)
		}
	}
	return one
}

// share writes once what the routes to backends say alike: the value that most of them have, where all have one.
// Fields of requests move to a rule where all of them set the same ones.
func (p *Plan) share() {
	var routes []*Block
	for _, b := range p.blocks {
		if b.header == "[[routes]]" && b.leads() && !p.files(b) {
			routes = append(routes, b)
		}
	}
	for _, s := range shared {
		said := func(b *Block) bool {
			return b.Has(s.key) && (b.header == s.header || s.header != "" && strings.HasPrefix(b.header, "[upstream"))
		}
		if k, _ := most(routes, s.key); k.name != "" && !slices.ContainsFunc(p.blocks, said) {
			drop(routes, k)
			p.Block(s.header).Set(k.name, k.value, k.at)
		}
	}
	p.shareUpstreams()
	p.sharePath()
	if k, all := most(routes, "headers.request"); all {
		drop(routes, k)
		b := &Block{header: "[[rules]]"}
		b.Set(k.name, k.value, k.at)
		p.blocks = slices.Insert(p.blocks, 0, b)
	}
}

// sharePath adds a rule that says once what the program compares as the path, where several conditions do. A rewrite
// would change it.
func (p *Plan) sharePath() {
	var list []*key
	for _, b := range p.blocks {
		for i := range b.keys {
			k := &b.keys[i]
			if k.name == "rewrite" && b.header == "[[rules]]" {
				return
			}
			if k.name == "when" && strings.Contains(k.value, p.Path) {
				list = append(list, k)
			}
		}
	}
	if p.Path == "" || len(list) < 3 {
		return
	}
	for _, k := range list {
		k.value = strings.ReplaceAll(k.value, p.Path, "local.path")
	}
	b := &Block{header: "[[rules]]"}
	b.Comment("the path as " + p.Program + " compares it")
	b.Set("set", Table([]Field{{"path", "{" + p.Path + "}"}}), Place{})
	p.blocks = slices.Insert(p.blocks, 0, b)
}

// shareUpstreams writes once what most upstreams say alike, where no route names backends by itself.
func (p *Plan) shareUpstreams() {
	var list []*Block
	for _, b := range p.blocks {
		if strings.HasPrefix(b.header, "[upstreams.") {
			list = append(list, b)
		}
		for _, k := range b.keys {
			if (k.name == "dest" || k.name == "fallback") && strings.Contains(k.value, ":") &&
				!strings.HasPrefix(k.value, `"status:`) && !p.files(b) {
				return
			}
		}
	}
	if len(list) < 2 {
		return
	}
	for _, k := range slices.Clone(list[0].keys) {
		named, _, _ := strings.Cut(k.name, ".")
		if slices.Contains([]string{"backends", "tls", "health_check", "discover", "failover",
			"proxy_protocol"}, named) {
			continue
		}
		if best, _ := most(list, k.name); best.name != "" {
			drop(list, best)
			p.Block("[upstream_defaults]").Set(best.name, best.value, best.at)
		}
	}
}

func (b *Block) leads() bool {
	return slices.ContainsFunc(b.keys, func(k key) bool {
		return k.name == "dest" && !strings.HasPrefix(k.value, `"status:`)
	})
}

// most returns the line called name that most of some routes have; none where one of them has no such line, or less
// than two have the same. all says that each has it.
func most(routes []*Block, name string) (best key, all bool) {
	count := map[string]int{}
	for _, b := range routes {
		i := slices.IndexFunc(b.keys, func(k key) bool { return k.name == name })
		if i < 0 {
			return key{}, false
		}
		k := b.keys[i]
		if count[k.value]++; count[k.value] > max(1, count[best.value]) {
			best = k
		}
	}
	return best, len(routes) > 1 && count[best.value] == len(routes)
}

func drop(routes []*Block, k key) {
	for _, b := range routes {
		b.keys = slices.DeleteFunc(b.keys, func(o key) bool { return o.name == k.name && o.value == k.value })
	}
}

// Named returns the name of the table of a kind, "upstreams" or "filters", that has these keys: of a table that is
// there, or of a new one, which is called name if no other is. Filters that count requests are one only by one name.
func (p *Plan) Named(kind, name string, keys []Setting, from ...Place) string {
	id := kind
	for _, k := range keys {
		if id += "\n" + k.Name + "=" + k.Value; k.Value == `"rate_limit"` {
			id += " " + name
		}
	}
	if p.named == nil {
		// Requests that no route takes go to the upstream called default.
		p.named, p.names = map[string]*Block{}, map[string]bool{"upstreams.default": true}
	}
	b := p.named[id]
	if b == nil {
		full := Unused(kind+"."+name, p.names)
		b = p.Add("[" + kind + "." + Key(full[len(kind)+1:]) + "]")
		for _, k := range keys {
			b.Set(k.Name, k.Value, k.At)
		}
		b.name, p.named[id] = full[len(kind)+1:], b
	}
	b.From(from...)
	return b.name
}
