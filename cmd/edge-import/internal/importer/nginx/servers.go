package nginx

import (
	"cmp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/config/value"
)

type server struct {
	d       *directive
	scope   *scope
	first   string   // server_name, as $server_name has it
	hosts   []string // its names, as edge has them
	listens []*listener
	named   map[string]*location
	places  []place // its locations, in the order of nginx
}

func (im *importer) newServer(d *directive) *server {
	s := &server{d: d, scope: im.http.inner(d), named: map[string]*location{}}
	for _, names := range s.scope.all("server_name") {
		for _, name := range names.args {
			name = strings.ToLower(expand(name, s.scope.constants))
			if s.first == "" {
				s.first = name
			}
			im.addHost(s, name, names)
		}
	}
	return s
}

// addHost adds a name of a server, as server_name has it.
func (im *importer) addHost(s *server, name string, d *directive) {
	hosts := []string{name}
	switch {
	case name == "_" || name == "" || name == "$hostname":
		return
	case strings.HasPrefix(name, "."):
		hosts = []string{name[1:], "*" + name}
	case strings.HasPrefix(name, "~") || strings.HasSuffix(name, ".*"):
		im.Lose(d.at, "server_name "+name, "hosts are names, or all below one: *.example.com")
		return
	}
	for _, host := range hosts {
		parsed, wrong, _ := value.ParseHost(host, "")
		if wrong != "" {
			im.Lose(d.at, "server_name "+host, wrong)
		} else if !slices.Contains(s.hosts, parsed) {
			s.hosts = append(s.hosts, parsed)
		}
	}
}

// sitesOf returns what a server does: one site for the requests for its names, and one for those for unknown hosts.
// Where the listener does not ask clients for the certificates that the server asks for, the site is closed.
func (im *importer) sitesOf(s *server) (list []*plan.Site) {
	steps, branches := im.requests(s)
	type kind struct {
		first   bool
		because *directive
	}
	made := map[kind]*plan.Site{}
	add := func(k kind, l *listener) {
		if !k.first && s.hosts == nil {
			return
		}
		if made[k] == nil {
			made[k] = &plan.Site{Hosts: s.hosts, Steps: steps, Branches: branches, At: s.d.at}
			if k.first {
				made[k].Hosts = nil
			}
			if k.because != nil {
				to := &plan.Target{End: plan.Deny(403), From: []plan.Place{k.because.at}}
				to.Notes = []string{"closed, since " + k.because.text() + " is not carried"}
				only := plan.Branch{When: plan.Always, To: to, What: s.d.text(), From: []plan.Place{s.d.at}}
				made[k].Steps, made[k].Branches = nil, []plan.Branch{only}
			}
			list = append(list, made[k])
		}
		made[k].Listeners = append(made[k].Listeners, l.name)
	}
	for _, l := range s.listens {
		var because *directive
		if l.tls && s.scope.says("ssl_verify_client", "on") {
			because = s.otherClients(l)
		}
		add(kind{l.first == s, because}, l)
		// Names of another server with a star would take requests for names of this server.
		if l.first == s && slices.ContainsFunc(l.servers, func(other *server) bool {
			return other != s && slices.ContainsFunc(other.hosts, func(h string) bool { return h[0] == '*' })
		}) {
			add(kind{false, because}, l)
		}
	}
	for _, site := range list {
		if len(site.Listeners) == len(im.listeners) {
			site.Listeners = nil
		}
	}
	return list
}

// slashesMax is how many paths the condition of one rule has, for conditions have a length.
const slashesMax = 500

func (im *importer) requests(s *server) ([]plan.Step, []plan.Branch) {
	p := im.rewritePhase(context{server: s, at: s.scope})
	var branches []plan.Branch
	answer := func(when *plan.Cond, end plan.Action, what string, from []plan.Place) {
		t := &plan.Target{End: end}
		im.responseFields(s.scope, t, false)
		branches = append(branches, plan.Branch{When: when, To: t, What: what, From: from})
	}
	n := len(p.steps)
	for n > 0 && answers(p.steps[n-1]) { // branches are that as well
		n--
	}
	for _, step := range p.steps[n:] {
		answer(cmp.Or(step.When, plan.Always), step.Do[0], step.What, step.From)
	}
	p.steps = p.steps[:n]
	if p.end != nil {
		answer(plan.Always, p.end.Do[0], s.d.text(), append([]plan.Place{s.d.at}, p.end.From...))
		return p.steps, branches
	}
	list := im.collect(s.scope, s.named)
	o := orderOf(list)
	if !slices.ContainsFunc(o.prefix, func(p place) bool { return p.when == plan.Always }) {
		d := &directive{name: "location", args: []string{"/"}, at: s.d.at}
		o.prefix = append(o.prefix, place{&location{d: d, scope: s.scope, path: "/"}, plan.Always, false})
		if s.d.child("root") == nil && len(list) > 0 {
			im.Note(s.d.at, "paths that no location takes", "nginx looks for files there; edge answers 404")
		}
	}
	places := slices.Concat(o.exact, o.regular, o.prefix)
	slash := plan.Branch{When: plan.Never, To: &plan.Target{End: plan.Redirect("{path}/", 301)}}
	taken := map[string]bool{}
	for _, l := range o.exact {
		if taken[l.path] = true; l.redirect && !taken[strings.TrimSuffix(l.path, "/")] {
			if len(slash.From) == slashesMax {
				branches, slash.When, slash.From = append(branches, slash), plan.Never, nil
			}
			slash.When, slash.What = plan.Any(slash.When, l.when), l.d.text()
			slash.From = append(slash.From, l.d.at)
		}
	}
	if slash.From != nil {
		im.responseFields(s.scope, slash.To, false)
		branches = append(branches, slash)
	}
	s.places = places
	for i, l := range places {
		im.again = nil
		if l.redirect {
			continue
		}
		branches = append(branches, im.branchesOf(s, l)...)
		for _, step := range im.again {
			var when []*plan.Cond
			for _, before := range places[:i] {
				if l.regular() || before.regular() || strings.HasPrefix(before.path, l.path) {
					when = append(when, plan.Not(before.when))
				}
			}
			step.When = plan.All(append(when, l.when, cmp.Or(step.When, plan.Always))...)
			p.steps = append(p.steps, step)
		}
	}
	return p.steps, branches
}
