package traefik

import (
	"cmp"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// pools writes upstreams. Owned by one goroutine.
type pools struct {
	*plan.Plan
	files *importer
	ups   map[string]*upstream // by the name of the service, with @ and its provider
	names map[string]bool      // names of upstreams that are taken
}

// share is a service that a route leads to, and its part of the requests.
type share struct {
	service *resource
	weight  int64
	from    []plan.Place
}

// Limits of weighted services.
const (
	serviceDepthMax = 8
	sharesMax       = 64
	weightMax       = 65535
)

// unavailable is what is answered where there is no backend to ask.
var unavailable = []dest{{keys: []plan.Field{{Name: "dest", Value: `"status:503"`}}}}

// dests returns where a route leads to.
func (im *pools) dests(r *router, a *reply) []dest {
	retries := a.takeRetry()
	name := r.str("service")
	at := r.where("service")
	switch name {
	case "ping@internal":
		return []dest{{keys: []plan.Field{{Name: "dest", Value: `"status:200"`}}}}
	case "noop@internal":
		return []dest{{keys: []plan.Field{{Name: "dest", Value: `"status:418"`}}}}
	}
	if strings.HasSuffix(name, "@internal") {
		im.Lose(at, r.get("service").words(), "edge has no such service: see [admin] and [metrics]")
		return unavailable
	}
	service := im.files.find("services", name, r.doc)
	if name == "" {
		service = im.only(r)
	}
	if service == nil {
		im.Lose(at, "the service of router "+r.name, "there is none: requests answer 503")
		return unavailable
	}
	shares := im.shares(service, 0)
	var list []dest
	for _, s := range shares {
		up := im.upstream(s.service)
		if up == nil {
			continue
		}
		if retries != "" {
			up.retry(im, r, retries)
		}
		d := dest{keys: []plan.Field{{Name: "dest", Value: plan.String(up.name)}}, from: s.from}
		if len(shares) > 1 {
			d.keys = append(d.keys, plan.Field{Name: "weight", Value: strconv.FormatInt(s.weight, 10)})
		}
		list = append(list, d)
	}
	if len(list) == 0 {
		return unavailable
	}
	return list
}

// only returns the service of the container that the labels of a router stand at.
func (im *pools) only(r *router) *resource {
	if r.doc.container == "" {
		return nil
	}
	services := r.doc.root.members("http", "services")
	switch {
	case len(services) == 1:
		return &resource{services[0], r.doc}
	case len(services) > 1 || r.doc.port == "":
		return nil
	}
	path := "http.services." + strings.ReplaceAll(r.doc.container, ".", "-") + ".loadbalancer.server.port"
	r.doc.root.set(path, r.doc.port, r.at)
	return im.only(r)
}

// shares returns the services with backends that a service stands for.
func (im *pools) shares(s *resource, depth int) []share {
	from := []plan.Place{s.at}
	if m := s.get("mirroring"); m != nil {
		if main := im.files.find("services", m.str("service"), s.doc); main != nil && depth < serviceDepthMax {
			list := im.shares(main, depth+1)
			for i := range list {
				list[i].from = append(slices.Clone(list[i].from), s.at, m.where("service"))
			}
			return list
		}
	}
	w := s.get("weighted")
	if w == nil {
		return []share{{s, 1, from}}
	}
	var all [][]share
	var weights []int64
	for _, n := range w.members("services") {
		from := append(slices.Clone(from), n.places()...)
		part := im.files.find("services", n.str("name"), s.doc)
		weight, given := n.number("weight")
		if !given {
			weight = 1
		}
		if part == nil || depth >= serviceDepthMax || weight < 0 {
			im.Lose(n.at, n.words(), "there is no such service, or it contains itself")
			continue
		}
		list := im.shares(part, depth+1)
		for i := range list {
			list[i].from = append(slices.Clone(from), list[i].from...)
		}
		all, weights = append(all, list), append(weights, min(weight, weightMax))
	}
	return im.join(s, all, weights)
}

// join returns the parts of weighted services, each with its part of the whole.
func (im *pools) join(s *resource, all [][]share, weights []int64) (list []share) {
	for i, part := range all {
		sum := int64(0)
		for _, p := range part {
			sum += p.weight
		}
		for _, p := range part {
			p.weight *= weights[i]
			for j := range all {
				if j != i {
					p.weight = min(p.weight*max(total(all[j]), 1), 1<<31)
				}
			}
			same := slices.IndexFunc(list, func(o share) bool { return o.service.node == p.service.node })
			if same >= 0 {
				list[same].weight += p.weight
				list[same].from = append(list[same].from, p.from...)
				continue
			}
			list = append(list, p)
		}
	}
	divide := int64(0)
	for _, p := range list {
		divide = gcd(divide, p.weight)
	}
	for i := range list {
		if list[i].weight /= max(divide, 1); list[i].weight > weightMax {
			im.Lose(s.at, "the weights of "+s.path, "they are larger than 65535 together")
			list[i].weight = weightMax
		}
	}
	if len(list) > sharesMax {
		im.Lose(s.at, s.path, "more than 64 services share its requests")
		list = list[:sharesMax]
	}
	return list
}

func total(list []share) (sum int64) {
	for _, s := range list {
		sum += s.weight
	}
	return sum
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// upstream is an upstream of the result.
type upstream struct {
	name    string
	block   *plan.Block
	retries string
}

// retry sets how often requests are tried again. The routers of a service share this.
func (u *upstream) retry(im *pools, r *router, retries string) {
	switch u.retries {
	case "":
		u.retries = retries
		u.block.Set("retry.attempts", retries, plan.Place{})
	case retries:
	default:
		im.Lose(r.at, "the middleware retry of router "+r.name, "another router of the service has another one")
	}
}

// upstream returns the upstream of a service, nil where it has no backends.
func (im *pools) upstream(s *resource) *upstream {
	if up, found := im.ups[s.id()]; found {
		return up
	}
	im.ups[s.id()] = nil
	var up *upstream
	switch {
	case s.has("loadbalancer"):
		up = im.pool(s, s.get("loadbalancer"), s)
	case s.has("failover"):
		up = im.failover(s, s.get("failover"))
	case s.has("highestrandomweight"):
		im.files.lose(s.node, "edge chooses among backends by a hash: see load_balancing and hash_key of upstreams")
	default:
		im.files.lose(s.node, "edge does not know such a service")
	}
	im.ups[s.id()] = up
	return up
}

// upstreamName returns a name that no other upstream has.
func (im *pools) upstreamName(s *resource) string {
	return plan.Unused(cmp.Or(plan.Name(s.name), "service"), im.names)
}

// failover writes a service that has another one to fall back to.
func (im *pools) failover(s *resource, n *node) *upstream {
	main := im.files.find("services", n.str("service"), s.doc)
	other := im.files.find("services", n.str("fallback"), s.doc)
	if main == nil || !main.has("loadbalancer") {
		im.Lose(n.at, n.words(), "there is no such service with servers")
		return nil
	}
	up := im.pool(main, main.get("loadbalancer"), s)
	if up == nil {
		return nil
	}
	up.block.From(n.places()...)
	if other != nil {
		if to := im.upstream(other); to != nil {
			up.block.Set("failover", plan.String(to.name), n.where("fallback"))
			return up
		}
	}
	what := cmp.Or(n.get("fallback").words(), s.path+" without fallback")
	im.Lose(n.where("fallback"), what, "there is no such service with servers")
	return up
}

// pool writes the upstream of a service with servers, under the name of another one.
func (im *pools) pool(s *resource, n *node, named *resource) *upstream {
	servers, scheme := im.servers(s, n)
	if len(servers) == 0 {
		im.Lose(s.at, s.path, "it has no servers: requests answer 503")
		return nil
	}
	name := im.upstreamName(named)
	b := im.Add("[upstreams."+plan.Key(name)+"]", s.at, n.at)
	up := &upstream{name: name, block: b}
	var list []string
	for _, v := range servers {
		b.From(v.from...)
		list = append(list, v.text)
	}
	b.Set("backends", plan.Lines(list), plan.Place{})
	im.strategy(n, b)
	switch scheme {
	case "https":
		b.Set("tls", "true", plan.Place{})
		b.Set("protocol", `"auto"`, plan.Place{})
	case "h2c":
		b.Set("protocol", `"h2"`, plan.Place{})
	}
	if p := n.get("passhostheader"); p != nil {
		if p.text == "false" {
			b.Set("host", `"backend"`, p.at)
		} else {
			b.From(p.at)
		}
	}
	im.transport(s, n, b, scheme)
	im.sticky(s, n.get("sticky", "cookie"), b)
	im.checks(n.get("healthcheck"), b)
	return up
}

// strategy writes how a server is chosen.
func (im *pools) strategy(n *node, b *plan.Block) {
	method := "round_robin"
	if c := n.get("strategy"); c != nil {
		known := map[string]string{"wrr": "round_robin", "p2c": "p2c", "leasttime": "peak_ewma", "hrw": "ketama"}
		if known[c.text] == "" {
			im.Lose(c.at, c.words(), "edge does not choose like this: in turns")
		} else {
			method = known[c.text]
			b.From(c.at)
		}
		if c.text == "hrw" {
			im.Note(c.at, c.words(), "clients go to other servers than they did")
		}
	}
	b.Set("load_balancing", plan.String(method), plan.Place{})
}

// server is a backend.
type server struct {
	text string
	from []plan.Place
}

// servers returns the backends of a service, and the scheme of all of them.
func (im *pools) servers(s *resource, n *node) (list []server, scheme string) {
	members := slices.Clone(n.members("servers"))
	if one := n.get("server"); one != nil {
		members = append(members, one)
	}
	for _, v := range members {
		address := v.get("url")
		if address == nil {
			address = v.get("address")
		}
		text, at := "", v.at
		if address != nil {
			text, at = address.text, address.at
		} else if port := cmp.Or(v.str("port"), s.doc.port); port != "" && s.doc.container != "" {
			text = cmp.Or(v.str("scheme"), "http") + "://" + s.doc.container + ":" + port
		}
		u, err := url.Parse(text)
		usual := map[string]string{"http": "80", "https": "443", "h2c": "80"}
		if err != nil || u.Hostname() == "" || usual[u.Scheme] == "" || strings.Contains(text, "${") {
			im.Lose(at, v.path+" "+text, "edge does not know this address")
			v.walk(func(c *node) { c.used = true })
			continue
		}
		if scheme == "" {
			scheme = u.Scheme
		}
		if u.Scheme != scheme {
			im.Lose(at, v.path+" "+text, "servers of one service have one scheme here")
			continue
		}
		if u.Path != "" && u.Path != "/" {
			im.Note(at, v.path+" "+text, "nothing to write: Traefik does not send the path either")
		}
		fields := "{ address = " + plan.String(net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), usual[u.Scheme])))
		if w := v.get("weight"); w != nil {
			if number, ok := v.number("weight"); ok && number >= 0 && number <= weightMax {
				fields += ", weight = " + strconv.FormatInt(number, 10)
			} else {
				w.used = false
			}
		}
		from := []plan.Place{v.at, at}
		for _, c := range v.list {
			from = append(from, c.at)
		}
		list = append(list, server{fields + " }", from})
	}
	return list, scheme
}

// sticky writes the cookie that keeps clients at a server.
func (im *pools) sticky(s *resource, n *node, b *plan.Block) {
	if n == nil {
		return
	}
	name := n.str("name")
	if name == "" {
		name = "_" + plan.Name(s.name)
		im.Note(n.at, n.words(), "the cookie is called "+name)
	}
	b.Set("sticky.cookie", plan.String(name), n.where("name"))
	b.From(n.at)
	if seconds, ok := n.number("maxage"); ok && seconds > 0 {
		b.Set("sticky.ttl", plan.String(strconv.FormatInt(seconds, 10)+"s"), n.where("maxage"))
	} else {
		im.Note(n.at, n.words(), "clients keep it for an hour, see sticky.ttl, not until they end")
	}
	for _, key := range []string{"secure", "httponly", "samesite"} {
		if c := n.get(key); c != nil {
			im.Note(c.at, c.words(), "nothing to write: the cookie is HttpOnly, and Secure over TLS")
		}
	}
}

// checks writes the health checks of a service.
func (im *pools) checks(n *node, b *plan.Block) {
	path := n.get("path")
	if n == nil || path == nil && !n.has("mode") {
		return
	}
	fields := []string{"path = " + plan.String(cmp.Or(n.str("path"), "/"))}
	if strings.EqualFold(n.str("mode"), "grpc") {
		fields = []string{`type = "grpc"`}
	} else {
		if m := n.str("method"); m != "" {
			fields = append(fields, "method = "+plan.String(strings.ToUpper(m)))
		}
		expected := `"200-399"`
		if number, ok := n.number("status"); ok && number > 0 {
			expected = strconv.FormatInt(number, 10)
		}
		fields = append(fields, "expected_status = "+expected)
	}
	for _, row := range []struct{ key, name, usual string }{
		{"interval", "interval", `"30s"`}, {"timeout", "timeout", `"5s"`}, {"unhealthyinterval", "down_interval", ""},
	} {
		value := row.usual
		if d, ok := n.duration(row.key); ok && d > 0 {
			value = plan.Duration(d)
		}
		if value != "" {
			fields = append(fields, row.name+" = "+value)
		}
	}
	if number, ok := n.number("port"); ok {
		fields = append(fields, "port = "+strconv.FormatInt(number, 10))
	}
	if host := n.str("hostname"); host != "" {
		fields = append(fields, "host = "+plan.String(host))
	}
	var headers []plan.Field
	for _, c := range n.members("headers") {
		c.used = true
		headers = append(headers, plan.Field{Name: c.name, Value: c.text})
		b.From(c.at)
	}
	if len(headers) > 0 {
		fields = append(fields, "headers = "+plan.Table(headers))
	}
	fields = append(fields, "rise = 1", "fall = 1")
	for _, c := range n.list {
		switch strings.ToLower(c.name) {
		case "scheme":
			im.files.lose(c, "checks have the scheme of the servers")
		case "followredirects":
			if c.text == "false" {
				im.files.note(c, "nothing to write: redirects are not followed")
			}
		}
		if c.used {
			b.From(c.at)
		}
	}
	b.Set("health_check", "{ "+strings.Join(fields, ", ")+" }", n.at)
}
