package plan

// Named returns the name of the table of a kind, "upstreams" or "filters", that has these keys: of one that is there,
// or of a new one, which is called name if no other is. Filters that count requests are one only by one name.
func (p *Plan) Named(kind, name string, keys []Setting, from ...Place) string {
	id := kind
	for _, k := range keys {
		if id += "\n" + k.Name + "=" + k.Value; k.Value == `"rate_limit"` {
			id += " " + name
		}
	}
	if p.named == nil {
		p.named, p.names = map[string]*Block{}, map[string]bool{}
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
