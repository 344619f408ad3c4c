package config

// unused warns of upstreams that get no request: their name may be misspelled where it is meant. It is about tables of
// their own; every [[load_balancing.backends]] has a name, whether a dest names it or not.
func (r *resolver) unused() {
	if !r.rep.OK() {
		return
	}
	used := make(map[string]bool)
	use := func(d Dest) {
		if d.Kind == DestUpstream {
			used[r.c.Upstreams[d.Upstream].Name] = true
		}
	}
	use(r.c.Fallback)
	for i := range r.c.Routes {
		use(r.c.Routes[i].Dest)
	}
	for _, e := range r.doc.upstreams {
		if !used[e.Name] {
			r.rep.Warnf(codeUnusedUpstream, e.Node().Head, "", "no route goes to upstream %q", e.Name)
		}
	}
}
