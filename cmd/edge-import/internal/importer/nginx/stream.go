package nginx

import (
	"cmp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// deciding are directives of stream by which a server refuses connections, or takes some of an address alone.
var deciding = []string{"server_name", "js_access", "js_preread", "return", "pass", "include", "ssl_crl"}

// stream translates stream { }: the addresses of a server are services.
func (im *importer) stream(s *scope) {
	was := *im
	lose := func(d *directive) {
		d.used = true
		im.Lose(d.at, d.text(), "a service leads connections of TCP by their handshakes and addresses alone")
	}
	im.http, im.groups, im.servers, im.listeners, im.maps = s, map[string]*group{}, nil, nil, map[string]*table{}
	im.clients = clientZones(s.block)
	for _, d := range s.block.block {
		decides := func(name string) bool {
			found := cmp.Or(d.child(name), s.block.child(name))
			return found != nil && found.arg(0) != "off"
		}
		switch {
		case d.name == "map" || d.name == "geo":
			im.addTable(d)
		case d.name == "upstream":
			im.addGroup(d)
			g := im.groups[d.arg(0)]
			g.keys = slices.DeleteFunc(g.keys, func(k plan.Setting) bool { // a service hashes no other
				return k.Name == "hash_key" && k.Value == `"client_ip"`
			})
		case d.name != "server":
		case slices.ContainsFunc(deciding, decides) || im.countsOthers(d) || d.child("proxy_pass") == nil:
			d.each(lose)
		default:
			d.used = true
			im.servers = append(im.servers, im.newServer(d))
		}
	}
	im.listen()
	names := map[string]bool{}
	for _, l := range im.listeners {
		if !im.service(l, plan.Unused("tcp-"+plan.Name(l.port), names)) {
			l.first.d.each(lose)
		}
	}
	for _, v := range im.servers {
		if v.listens == nil {
			v.d.each(lose)
		}
	}
	carried := im.Carried()
	for _, d := range s.block.block {
		if slices.Contains([]string{"upstream", "map", "geo"}, d.name) && !slices.Contains(carried, d.at) {
			d.each(func(d *directive) {
				d.used = true
				im.Note(d.at, d.text(), "no server that is carried names it")
			})
		}
	}
	im.http, im.groups, im.servers, im.listeners, im.maps = was.http, was.groups, was.servers, was.listeners, was.maps
}

// service writes the service for an address of stream, and the upstreams that it needs. It reports false where edge
// does not know which connections the address takes, or where they go.
func (im *importer) service(l *listener, name string) bool {
	s, pass := l.first.scope, l.first.scope.get("proxy_pass")
	c := context{server: &server{d: s.block, scope: s, listens: []*listener{l}}, at: s}
	list := []choice{{pass.arg(0), plan.Always, nil}}
	if hasVariables(pass.arg(0)) {
		list = im.choices(c, nameOf(pass.arg(0)))
	}
	rules := s.all("allow", "deny")
	refused, known := refuses(rules, false)
	peeks := s.says("ssl_preread", "on")
	if !known || list == nil || peeks && l.tls || rules != nil && otherAddresses(c.server, s) != "" ||
		slices.ContainsFunc(list, func(to choice) bool { return !to.when.Known() || !im.reachable(to.value) }) {
		return false
	}
	keys := im.settings(s, "proxy_connect_timeout")
	if d := s.find("proxy_protocol"); d != nil && d.arg(0) == "on" {
		d.used, keys = true, append(keys, plan.Setting{Name: "proxy_protocol", Value: `"v1"`, At: d.at})
	}
	if d := s.find("proxy_ssl"); d != nil && d.arg(0) == "on" {
		d.used, keys = true, append(keys, im.secureKeys(s, d.at)...)
	}
	site := &plan.Site{Steps: []plan.Step{{When: plan.Test(refused), Do: []plan.Action{plan.Drop()}}}}
	if some, found := strings.CutPrefix(refused, "client.ip not in "); found && !strings.Contains(some, " and ") {
		site.Steps[0].When = plan.Not(plan.Test("client.ip in " + some))
	}
	for _, d := range rules {
		site.Steps[0].From = append(site.Steps[0].From, d.at)
	}
	for _, to := range slices.Backward(list) {
		end := plan.Drop() // as nginx does without an address
		if im.groups[to.value] != nil || to.value != "" && len(keys) > 0 {
			end = plan.Dest(im.balanced(to.value, to.value, keys, pass))
		} else if to.value != "" {
			end = plan.Dest(to.value)
		}
		site.Branches = append(site.Branches, plan.Branch{When: to.when, To: &plan.Target{End: end},
			What: pass.text(), From: to.from})
	}
	b := im.Add("[services."+plan.Key(name)+"]", append(slices.Clip(l.at), s.block.at, pass.at)...)
	b.Set("listen", plan.Strings(l.addresses...), plan.Place{})
	if peeks {
		b.Set("peek", "true", s.find("ssl_preread").at)
	}
	im.Lead(b, site)
	im.clientLimit(b, s)
	if im.carry(b, s, "proxy_timeout"); l.tls {
		im.secure(b, l)
	}
	im.believe(b, l)
	return true
}

// reachable reports whether edge knows where a proxy_pass of stream leads; "" closes connections.
func (im *importer) reachable(to string) bool {
	return to == "" || im.groups[to] != nil || !hasVariables(to) && strings.Contains(to, ":")
}
