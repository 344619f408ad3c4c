package traefik

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// entry is an entry point. Its listener is written when it is known whether it has TLS.
type entry struct {
	*node
	address string // as edge has it
	port    string
	block   *plan.Block
	routers []*router
	relays  []*router // for connections
	steps   []*node   // middlewares of all of its routers
	secure  bool      // the listener has TLS
}

// usual are the ports of entry points that routers name and no file defines.
var usual = map[string]string{"web": "80", "http": "80", "websecure": "443", "https": "443", "web-secure": "443"}

// global translates what the static configuration says about the process.
func (im *importer) global() {
	im.keys(im.first("log"), im.Block("[global]"))
	if log := im.first("accesslog"); log != nil {
		im.Block("[log]").Set("format", `"common"`, log.at)
		im.keys(log, im.Block("[log]"))
	} else if im.first("entrypoints") != nil {
		im.Block("[log]").Set("output", "[]", plan.Place{})
	}
}

// listeners reads the entry points. Where no file has them, these are the ones that routers name.
func (im *importer) listeners() {
	for _, n := range im.all("entrypoints") {
		im.entry(n)
	}
	if im.first("entrypoints") == nil {
		for _, r := range slices.Concat(im.all("http", "routers"), im.all("tcp", "routers")) {
			for _, n := range r.elements("entrypoints") {
				im.assume(n.text, n.at)
			}
		}
	}
	if len(im.entries) == 0 {
		im.assume("web", plan.Place{File: im.File, Line: 1})
	}
	slices.SortStableFunc(im.entries, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(len(a.port), len(b.port)), strings.Compare(a.port, b.port))
	})
}

// assume adds an entry point that no file has.
func (im *importer) assume(name string, at plan.Place) {
	if port := usual[name]; port != "" && im.entryOf(name) == nil {
		im.Note(at, "entry point "+name, "no file that is imported has it: port "+port+". Name the static "+
			"configuration too: edge import traefik traefik.yml dynamic.yml")
		root := newRoot("file")
		root.set(name+".address", ":"+port, at)
		im.entry(root.list[0])
	}
}

// entryOf returns the entry point of a name, nil where there is none.
func (im *importer) entryOf(name string) *entry {
	for _, e := range im.entries {
		if strings.EqualFold(e.name, name) {
			return e
		}
	}
	return nil
}

func (im *importer) entry(n *node) {
	address, protocol, _ := strings.Cut(n.str("address"), "/")
	host, port, err := net.SplitHostPort(address)
	number, wrong := strconv.ParseUint(port, 10, 16)
	known := func(e *entry) bool { return e.address == address || e.name == n.name }
	switch {
	case strings.EqualFold(protocol, "udp"):
		im.lose(n, "edge has no services of UDP")
	case err != nil || wrong != nil || number == 0 || host != "" && net.ParseIP(host) == nil ||
		slices.ContainsFunc(im.entries, known):
		im.lose(n, "edge does not know this address, or another entry point has it")
	default:
		im.entries = append(im.entries, &entry{node: n, address: address, port: port,
			steps: im.chain(nil, n.elements("http", "middlewares"), 0)})
	}
}

func (im *importer) listener(e *entry) {
	b, n := im.Add("[[listeners]]", e.at), e.node
	e.block = b
	b.Set("name", plan.String(plan.Name(e.name)), plan.Place{})
	b.Set("listen", plan.String(e.address), plan.Place{})
	if n.truth("forwardedheaders", "insecure") {
		b.Set("trusted_proxies", `["0.0.0.0/0", "::/0"]`, n.get("forwardedheaders", "insecure").at)
	}
	im.believe(n, b)
	im.keys(n, b)
	if value, ok := plan.Seconds.Value(n.str("transport", "lifecycle", "gracetimeout")); ok {
		im.Block("[global]").Set("grace_period", value, n.get("transport", "lifecycle", "gracetimeout").at)
	}
}

// believe lets an entry point of a block believe any sender of the PROXY protocol, where n says so.
func (im *importer) believe(n *node, b *plan.Block) {
	if d := n.get("proxyprotocol", "insecure"); n.truth("proxyprotocol", "insecure") {
		b.Set("proxy_protocol.from", plan.AnySender, d.at)
		im.Note(d.at, d.words(), plan.NameSenders)
	}
}

// redirection reads http.redirections of an entry point. It is a key of its listener where one other listener has TLS.
func (im *importer) redirection(e *entry) {
	n := e.node.get("http", "redirections", "entrypoint")
	to := n.get("to")
	if to == nil {
		return
	}
	n.use()
	other := func(o *entry) bool { return o.secure && !strings.EqualFold(o.name, to.text) && ":"+o.port != to.text }
	secure := func(o *entry) bool { return o.secure && !other(o) && o != e }
	if !slices.ContainsFunc(im.entries, secure) || slices.ContainsFunc(im.entries, other) || n.has("priority") ||
		cmp.Or(n.str("scheme"), "https") != "https" {
		im.lose(n, "edge redirects to the only listener with TLS; the redirect is left out: see redirect of rules")
		return
	}
	e.block.Set("redirect_to_https", "true", to.at)
	e.block.From(n.places()...)
	im.Note(to.at, to.words(), "the status is 308; Traefik answers GET with 301")
}

// certificates reads the certificates of all files: the default one first.
func (im *importer) certificates() {
	var list []*node
	for _, d := range im.docs {
		if n := d.get("tls", "stores", "default", "defaultcertificate"); n != nil {
			list = append([]*node{n}, list...)
		}
		list = append(list, d.members("tls", "certificates")...)
	}
	for _, n := range list {
		file := n.str("certfile")
		if file == "" || strings.Contains(file+n.str("keyfile"), "-----BEGIN") {
			im.Lose(n.at, n.path, "write it to a file: certificates are named")
		} else if !slices.ContainsFunc(im.secure, func(o *node) bool { return o.str("certfile") == file }) {
			im.secure = append(im.secure, n)
		}
	}
}

// certificate writes a certificate of files; instead is for where they cannot be read.
func certificate(b *plan.Block, n *node, instead string) {
	b.SetOr("cert", plan.String(n.str("certfile")), instead, n.get("certfile").at)
	if key := n.get("keyfile"); key != nil && key.text != n.str("certfile") {
		b.Set("key", plan.String(key.text), key.at)
	}
	b.From(n.places()...)
}

// secureListener writes the keys about TLS of a listener: of the options that its routers have, the default ones if one
// has these.
func (im *importer) secureListener(e *entry) {
	b := e.block
	b.Set("tls", "true", e.at)
	instead := `"internal"`
	if im.orders(e) {
		instead = `"acme"`
	}
	if len(im.secure) > 0 {
		certificate(b, im.secure[0], instead)
	} else if b.Set("cert", instead, plan.Place{}); instead == `"internal"` {
		im.Lose(e.at, "the certificate of entry point "+e.name, "no file has one; an internal certificate stands in: "+
			"see cert and key of listeners")
	}
	own, chosen := cmp.Or(e.node.str("http", "tls", "options"), "default"), ""
	nameOf := func(r *router) string {
		name, _, _ := strings.Cut(cmp.Or(r.str("tls", "options"), own), "@")
		return name
	}
	for _, r := range e.routers {
		if name := nameOf(r); chosen == "" || name == "default" {
			chosen = name
		}
	}
	n := im.first("tls", "options", cmp.Or(chosen, "default"))
	guarded := n.clients(b)
	im.keys(n, b)
	for _, r := range e.routers {
		switch options := im.first("tls", "options", nameOf(r)); {
		case options != n && options.has("clientauth") || n.has("clientauth") && !guarded:
			r.closed = true
			im.Lose(r.at, "router "+r.name, "edge does not ask for the certificates of clients as its options of TLS "+
				"do: rules with deny = 403 close its routes until you guard them otherwise")
		case nameOf(r) != chosen:
			im.Lose(r.at, "the options of TLS of router "+r.name, "edge has one set of options for each listener, "+
				"here that of "+plan.String(chosen))
		}
	}
}

// http3 lets a listener with TLS serve HTTP/3, where its entry point says so.
func (im *importer) http3(e *entry) {
	n := e.get("http3")
	if n == nil || n.text == "false" {
		return
	}
	n.use()
	e.block.Set("protocols", plan.List("h1", "h2", "h3"), n.at)
	if port := n.get("advertisedport"); port != nil && port.text != e.port {
		w := plan.Word{Key: "h3.advertise_port", Unit: plan.Number}
		im.Put(e.block, w, port.text, port.at, port.words())
	}
}

// order is a certificate that routers want.
type order struct {
	names []string
	by    *node
	on    string // the listener or service, where names are of a rule
}

// orders notes the certificates that are ordered for an entry point, and reports whether any are.
func (im *importer) orders(e *entry) bool {
	own, count := e.get("http", "tls"), len(im.resolvers)
	for _, r := range e.routers {
		im.want(cmp.Or(r.get("tls"), own), order{r.rule.hosts(), r.line, plan.Name(e.name)})
		im.hosts = append(im.hosts, r.rule.hosts()...)
	}
	im.want(own, order{})
	return len(im.resolvers) > count
}

// want notes the certificates of a table tls with a resolver: one for each of its domains, else o.
func (im *importer) want(tls *node, o order) {
	n, count := tls.get("certresolver"), len(im.ordered)
	if n == nil {
		return
	}
	im.resolvers = append(im.resolvers, n)
	tls.walk(func(d *node) {
		if d.has("main") {
			im.ordered = append(im.ordered, order{names: append(d.texts("main"), d.texts("sans")...), by: d})
		}
	})
	if len(im.ordered) == count && len(o.names) > 0 {
		im.ordered = append(im.ordered, o)
	}
}

// clients writes what a listener asks of the certificates of clients before it is known by which files, and reports
// whether that is all that options of TLS ask for.
func (n *node) clients(b *plan.Block) bool {
	auth := n.get("clientauth")
	if auth != nil {
		b.Set("client_auth", `"none"`, auth.at)
	}
	kind, files := auth.get("clientauthtype"), auth.elements("cafiles")
	if kind == nil {
		return true
	}
	_, known := kind.value(demands)
	return known && len(files) < 2 && (len(files) == 1 || !strings.EqualFold(kind.text, "RequireAndVerifyClientCert"))
}

// demands are what a listener asks of the certificates of clients.
const demands = "NoClientCert=none,RequestClientCert=request,VerifyClientCertIfGiven=request," +
	"RequireAnyClientCert=require,RequireAndVerifyClientCert=require"
