package caddy

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
	"github.com/edge-proxy/edge/config/value"
)

// site is a block of directives with the addresses before it.
type site struct {
	d     *directive
	addrs []address
	steps []*step
	pages []errorPage
	log   string // where its requests are logged, as access_log has it; "": as the listener says
	logAt []plan.Place
	guard *directive // its requests have to pass this, and edge does not have it

	bind   []string
	bindAt plan.Place

	certificate certificate
	clients     clients
	bodySize    int64 // of requests; 0: no limit
	bodySizeAt  plan.Place
}

// address is one address of a site.
type address struct {
	scheme, host, port, path string
	tls                      bool
}

// listener is where some sites are served.
type listener struct {
	name    string
	listen  string
	port    string
	tls     bool
	places  []place
	at      []plan.Place
	forward bool // every request is redirected to https
	mixed   bool // some of its sites ask clients for certificates
}

// place is one address of a site at a listener.
type place struct {
	site *site
	address
	when *test // of the path; nil: it has none
}

// addSite reads a site.
func (im *importer) addSite(d *directive) {
	d.used = true
	s := &site{d: d, bind: im.options.bind}
	im.sites = append(im.sites, s)
	for _, c := range d.block {
		if c.name == "bind" {
			c.used = true
			s.bind, s.bindAt = c.args, c.at
		}
	}
	im.readTLS(s)
	for _, text := range d.args {
		if a, ok := im.parseAddress(s, text); ok {
			s.addrs = append(s.addrs, a)
		}
	}
	im.readLogs(s)
	s.pages = im.errorHandlers(s)
	sc := &scope{site: s}
	s.steps = im.compile(sc, d.block, true)
}

// parseAddress reads an address of a site.
func (im *importer) parseAddress(s *site, text string) (a address, ok bool) {
	rest := text
	if scheme, after, found := strings.Cut(rest, "://"); found {
		a.scheme, rest = strings.ToLower(scheme), after
	}
	host, path, found := strings.Cut(rest, "/")
	if found {
		a.path = "/" + path
	}
	a.host = host
	if h, port, err := net.SplitHostPort(host); err == nil {
		a.host, a.port = h, port
	}
	a.host = strings.ToLower(strings.Trim(a.host, "[]"))
	if n, err := strconv.Atoi(a.port); a.port != "" && (err != nil || n < 1 || n > 65535) ||
		a.scheme != "" && a.scheme != "http" && a.scheme != "https" {
		im.Lose(s.d.at, text, "edge does not know this address")
		return a, false
	}
	if a.host != "" {
		parsed, wrong, _ := value.ParseHost(a.host, "")
		if wrong != "" {
			im.Lose(s.d.at, text, "no host of edge: "+wrong)
			return a, false
		}
		a.host = parsed
	}
	a.tls = a.scheme == "https" || a.scheme == "" && a.port != im.options.httpPort &&
		(a.host != "" || a.port == im.options.httpsPort || s.certificate.asked)
	if a.port == "" {
		a.port = im.options.httpPort
		if a.tls {
			a.port = im.options.httpsPort
		}
	}
	if im.options.auto == "off" && a.tls && !s.certificate.asked {
		a.tls = false
		im.Lose(s.d.at, text, "with auto_https off its port takes plain requests")
	}
	return a, true
}

// listen finds the listeners of all sites.
func (im *importer) listen() {
	byAddress := map[string]*listener{}
	for _, s := range im.sites {
		for _, a := range s.addrs {
			bind := s.bind
			if len(bind) == 0 {
				bind = []string{""}
			}
			for _, host := range bind {
				im.addPlace(byAddress, host, s, a)
			}
		}
	}
	im.forwardPlain(byAddress)
	for _, l := range im.listeners {
		l.name = "http-" + plan.Name(l.port)
		if l.tls {
			l.name = "https-" + plan.Name(l.port)
		}
		for _, other := range im.listeners {
			if other != l && other.name == l.name {
				l.name += "-" + plan.Name(l.listen)
			}
		}
		slices.SortStableFunc(l.places, mostSpecific)
	}
}

// mostSpecific compares places in the order in which Caddy looks for a site: exact hosts first, then longer ones.
func mostSpecific(a, b place) int {
	star := func(p place) int { return strings.Count(p.host, "*") }
	switch {
	case a.host == "" || b.host == "":
		return cmp.Or(cmp.Compare(len(b.host), len(a.host)), cmp.Compare(len(b.path), len(a.path)))
	case a.host == b.host:
		return cmp.Compare(len(b.path), len(a.path))
	}
	return cmp.Or(cmp.Compare(star(a), star(b)), cmp.Compare(len(b.host), len(a.host)))
}

// addPlace adds an address of a site to the listener for it.
func (im *importer) addPlace(byAddress map[string]*listener, bind string, s *site, a address) {
	listen := ":" + a.port
	switch {
	case strings.HasPrefix(bind, "unix/"):
		path, _, _ := strings.Cut(strings.TrimPrefix(bind, "unix/"), "|")
		listen = "unix:" + path
	case bind != "" && bind != "0.0.0.0" && bind != "[::]" && bind != "::":
		bind = strings.Trim(bind, "[]")
		if bind == "localhost" {
			bind = "127.0.0.1"
		}
		if _, err := netip.ParseAddr(bind); err != nil {
			im.Lose(s.d.at, "bind "+bind, "listeners have addresses of this machine")
			return
		}
		listen = net.JoinHostPort(bind, a.port)
	case bind == "0.0.0.0":
		listen = bind + listen
	}
	l := byAddress[listen]
	if l == nil {
		l = &listener{listen: listen, port: a.port, tls: a.tls}
		byAddress[listen] = l
		im.listeners = append(im.listeners, l)
	}
	if l.tls != a.tls {
		im.Lose(s.d.at, strings.Join(s.d.args, ", "), "another site has its port with TLS, or without: not served")
		return
	}
	if slices.ContainsFunc(l.places, func(p place) bool { return p.host == a.host && p.path == a.path }) {
		im.Lose(s.d.at, strings.Join(s.d.args, ", "), "another site has the same address")
		return
	}
	p := place{site: s, address: a}
	if a.path != "" && a.path != "/" {
		p.when = &test{kind: testPath, text: a.path, at: s.d.at, what: a.path}
	}
	l.places = append(l.places, p)
	if !slices.Contains(l.at, s.d.at) {
		l.at = append(l.at, s.d.at, s.bindAt)
	}
}

// forwardPlain adds the listeners that redirect plain requests for hosts with TLS to https, as Caddy does by itself.
func (im *importer) forwardPlain(byAddress map[string]*listener) {
	if auto := im.options.auto; auto == "off" || auto == "disable_redirects" {
		return
	}
	for _, l := range slices.Clone(im.listeners) {
		host, _, err := net.SplitHostPort(l.listen)
		hosts := slices.ContainsFunc(l.places, func(p place) bool { return p.host != "" })
		if !l.tls || err != nil || !hosts {
			continue
		}
		listen := net.JoinHostPort(host, im.options.httpPort)
		plain := byAddress[listen]
		if plain == nil {
			plain = &listener{listen: listen, port: im.options.httpPort, forward: true}
			byAddress[listen] = plain
			im.listeners = append(im.listeners, plain)
		}
		if !plain.tls {
			plain.at = append(plain.at, l.at...)
		}
	}
}

// redirectTarget returns the listener to which Caddy by itself redirects a plain request for a host, or nil.
func (im *importer) redirectTarget(l *listener, host string) *listener {
	if l.tls || im.options.auto == "off" || im.options.auto == "disable_redirects" || l.port != im.options.httpPort {
		return nil
	}
	var usual *listener
	for _, secure := range im.listeners {
		if !secure.tls {
			continue
		}
		for _, p := range secure.places {
			if p.host != "" && covers(p.host, host) {
				return secure
			}
			if p.host != "" {
				usual = &listener{port: im.options.httpsPort, tls: true, at: secure.at}
			}
		}
	}
	return usual
}

// covers reports whether a host with a star at its beginning, or without, stands for another.
func covers(pattern, host string) bool {
	if pattern == host || pattern == "" {
		return true
	}
	below, star := strings.CutPrefix(pattern, "*")
	first, found := strings.CutSuffix(host, below)
	return star && found && first != "" && !strings.Contains(first, ".")
}
