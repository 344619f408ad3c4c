package traefik

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// certificate is a pair of files.
type certificate struct {
	cert, key string
	at        plan.Place
	from      []plan.Place
}

// certificates reads the certificates of all files: the default one first.
func (im *importer) certificates() {
	for _, d := range im.docs {
		if n := d.root.get("tls", "stores", "default", "defaultcertificate"); n != nil {
			if c, ok := im.certificate(n); ok {
				im.secure = append([]certificate{c}, im.secure...)
			}
		}
		for _, n := range d.root.members("tls", "certificates") {
			if list := n.texts("stores"); len(list) > 0 && !slices.Contains(list, "default") {
				im.lose(n, "edge has one store of certificates")
			} else if c, ok := im.certificate(n); ok {
				im.secure = append(im.secure, c)
			}
		}
	}
}

func (im *importer) certificate(n *node) (c certificate, ok bool) {
	cert, key := n.get("certfile"), n.get("keyfile")
	if cert == nil || key == nil || cert.text == "" {
		return c, false
	}
	if strings.Contains(cert.text, "-----BEGIN") || strings.Contains(key.text, "-----BEGIN") {
		im.Lose(cert.at, cert.path, "write it to a file: certificates are named")
		return c, false
	}
	return certificate{cert.text, key.text, cert.at, append(n.places(), key.at)}, true
}

// secureListener writes the keys about TLS of a listener.
func (im *importer) secureListener(e *entry) {
	b := e.block
	b.Set("tls", "true", e.node.where("http", "tls"))
	at := e.at
	if len(im.secure) > 0 {
		c := im.secure[0]
		b.SetOr("cert", plan.String(c.cert), `"internal"`, c.at)
		if c.key != c.cert {
			b.Set("key", plan.String(c.key), c.at)
		}
		b.From(c.from...)
	} else {
		b.Set("cert", `"internal"`, plan.Place{})
		im.Lose(at, "the certificate of entry point "+e.name, "no file has one; an internal certificate stands in: "+
			"see cert and key of listeners")
	}
	if e.node != nil && e.node.has("http", "tls", "certresolver") {
		n := e.node.get("http", "tls", "certresolver")
		im.Lose(n.at, n.words(), "certificates are not fetched in this version: name files in cert and key")
	}
	im.options(e)
}

// moreCertificates writes the certificates after the first.
func (im *importer) moreCertificates() {
	if !slices.ContainsFunc(im.entries, func(e *entry) bool { return e.secure }) {
		return
	}
	for i, c := range im.secure {
		if i == 0 || slices.ContainsFunc(im.secure[:i], func(o certificate) bool { return o.cert == c.cert }) {
			continue
		}
		b := im.Add("[[certificates]]", c.from...)
		b.SetOr("cert", plan.String(c.cert), `"internal"`, c.at)
		b.Set("key", plan.String(c.key), c.at)
	}
}

// options writes the options of TLS that the routers of an entry point have.
func (im *importer) options(e *entry) {
	var names []string
	for _, r := range e.routers {
		if name := im.optionsOf(r, e); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		names = []string{"default"}
	}
	slices.Sort(names)
	chosen := names[0]
	if slices.Contains(names, "default") {
		chosen = "default"
	}
	for _, r := range e.routers {
		name := im.optionsOf(r, e)
		if name == chosen {
			continue
		}
		n := r.get("tls", "options")
		if n == nil {
			n = e.node.get("http", "tls", "options")
		}
		what := "edge has one set of options for each listener, here that of " + plan.String(chosen)
		if im.option(name).has("clientauth") {
			r.closed = true
			what += ": routes that ask for a certificate of the client by others are closed"
		}
		im.Lose(n.at, n.words(), what)
	}
	im.writeOptions(e, im.option(chosen))
}

// optionsOf returns the name of the options of a router.
func (im *importer) optionsOf(r *router, e *entry) string {
	name := r.str("tls", "options")
	if name == "" {
		name = e.node.str("http", "tls", "options")
	}
	if name, _, _ = strings.Cut(name, "@"); name == "" {
		return "default"
	}
	return name
}

// option returns the options of a name.
func (im *importer) option(name string) *node {
	for _, d := range im.docs {
		if n := d.root.get("tls", "options", name); n != nil {
			return n
		}
	}
	return nil
}

func (im *importer) writeOptions(e *entry, n *node) {
	b := e.block
	if v := n.get("minversion"); v != nil {
		if version := map[string]string{"VersionTLS10": "1.0", "VersionTLS11": "1.1", "VersionTLS12": "1.2",
			"VersionTLS13": "1.3"}[v.text]; version != "" {
			b.Set("min_version", plan.String(version), v.at)
		} else {
			im.Lose(v.at, v.words(), "edge does not know this version")
		}
	}
	if list := n.elements("ciphersuites"); len(list) > 0 {
		var suites []string
		for _, c := range list {
			b.From(c.at)
			if strings.HasPrefix(c.text, "TLS_AES") || strings.HasPrefix(c.text, "TLS_CHACHA20") {
				im.Note(c.at, c.words(), "nothing to write: the suites of TLS 1.3 cannot be chosen")
				continue
			}
			suites = append(suites, c.text)
		}
		if len(suites) > 0 {
			b.Set("ciphers", plan.List(suites...), list[0].at)
		}
	}
	if list := n.elements("curvepreferences"); len(list) > 0 {
		var curves []string
		for _, c := range list {
			b.From(c.at)
			curves = append(curves, strings.Replace(c.text, "CurveP", "P-", 1))
		}
		b.Set("curves", plan.List(curves...), list[0].at)
	}
	if v := n.get("snistrict"); v != nil {
		if v.text == "true" {
			im.Lose(v.at, v.words(), "clients that ask for an unknown name get the certificate of the listener")
		} else {
			im.Note(v.at, v.words(), noNeed)
		}
	}
	if v := n.get("alpnprotocols"); v != nil {
		im.lose(v, "see protocols of listeners")
	}
	im.clientAuth(e, n.get("clientauth"))
}

// clientAuth writes what a listener asks of the certificates of clients.
func (im *importer) clientAuth(e *entry, n *node) {
	if n == nil {
		return
	}
	kind := n.get("clientauthtype")
	files := n.elements("cafiles")
	demand := map[string]string{"NoClientCert": "none", "RequestClientCert": "request",
		"VerifyClientCertIfGiven": "request", "RequireAnyClientCert": "require",
		"RequireAndVerifyClientCert": "require"}[n.str("clientauthtype")]
	if kind == nil {
		demand = "none"
	}
	if len(files) > 1 {
		im.Lose(files[1].at, "further files of "+n.path+".caFiles", "put them into one file: client_ca is one")
	}
	unread := false
	if len(files) > 0 && demand != "none" {
		_, err := im.read.Read(files[0].text)
		unread = err != nil
	}
	if demand == "" || unread || demand == "require" && len(files) == 0 && kind.text == "RequireAndVerifyClientCert" {
		im.lose(n, "edge does not know it, or the authorities cannot be read: routes of this entry point are closed "+
			"until you guard them otherwise")
		for _, r := range e.routers {
			r.closed = true
		}
		return
	}
	if len(files) > 0 && demand != "none" {
		e.block.Set("client_ca", plan.String(files[0].text), files[0].at)
	}
	if demand != "none" {
		e.block.Set("client_auth", plan.String(demand), kind.at)
	} else {
		im.note(n, "nothing to write: clients are not asked")
	}
}
