package traefik

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/tls/certs/issue/acme"
)

// resolve writes [acme] of the first resolver that is named, and reads what the named ones have ordered.
func (im *importer) resolve() {
	for i, n := range im.resolvers {
		if first := im.resolvers[0].text; i == 0 {
			im.acme(n)
		} else if im.Block("[acme]").From(n.at); !strings.EqualFold(n.text, first) {
			im.Lose(n.at, n.words(), "edge has one [acme], here that of "+first+", for these names too")
		}
	}
	for _, n := range im.all("certificatesresolvers") {
		if slices.ContainsFunc(im.resolvers, func(by *node) bool { return strings.EqualFold(by.text, n.name) }) {
			im.stored(n)
		} else {
			im.Note(n.at, n.path, "no router with TLS that is carried names it")
			n.use()
		}
	}
	im.order()
}

// acme writes [acme] of the resolver that n names. With another kind of key than it has, all certificates would be
// ordered anew.
func (im *importer) acme(n *node) {
	b, of := im.Block("[acme]"), im.first("certificatesresolvers", n.text, "acme")
	if b.From(n.at); of == nil {
		im.Lose(n.at, n.words(), "no file that is imported has it: Let's Encrypt is asked. Name the static "+
			"configuration too: edge import traefik traefik.yml dynamic.yml")
	}
	if im.keys(of, b); !b.Has("key_type") {
		b.Set("key_type", `"rsa4096"`, plan.Place{})
	}
	plain, secure := of.get("httpchallenge"), of.get("tlschallenge")
	if plain != nil && secure == nil {
		b.Set("challenge", `"http-01"`, plain.at)
	} else if secure != nil && plain == nil {
		b.Set("challenge", `"tls-alpn-01"`, secure.at)
	}
	if e := im.entryOf(plain.str("entrypoint")); e != nil && e.port != "80" {
		b.Set("http_port", e.port, plain.at)
	}
	i := slices.IndexFunc(im.entries, func(e *entry) bool { return e.secure })
	if i >= 0 && plain == nil && im.entries[i].port != "443" {
		b.Set("https_port", im.entries[i].port, im.entries[i].at)
	}
}

// covered are names that certificates are for.
type covered map[string]bool

func (c covered) lacks(name string) bool { return !c[name] && !c[config.Star(name)] }

// order writes a certificate for each set of names, the largest sets first. The host of a route needs none, unless
// hosts of routes have none, or the internal one for a star would be for it.
func (im *importer) order() {
	star := func(name string) bool { return strings.HasPrefix(name, "*") }
	stars := slices.ContainsFunc(im.ordered, func(o order) bool { return slices.ContainsFunc(o.names, star) })
	done, known := map[string]*plan.Block{}, covered{}
	for _, n := range im.secure {
		text, _ := im.read.Read(n.str("certfile"))
		for _, name := range plan.NamesOf(text) {
			known[name] = true
		}
	}
	alone := im.unordered(known)
	slices.SortStableFunc(im.ordered, func(a, b order) int { return cmp.Compare(len(b.names), len(a.names)) })
	for _, o := range im.ordered {
		cert := `"acme"`
		if slices.ContainsFunc(o.names, star) {
			im.Lose(o.by.at, strings.Join(o.names, ", "), "a star needs dns in [acme]: no browser trusts the "+
				"internal certificate that stands in")
			cert, o.names = `"internal"`, slices.DeleteFunc(o.names, func(name string) bool { return !star(name) })
		}
		if !slices.ContainsFunc(o.names, known.lacks) || len(o.names) == 1 && !stars && !alone &&
			im.Routes(o.on, o.names[0]) {
			continue
		}
		hosts := plan.List(slices.Compact(slices.Sorted(slices.Values(o.names)))...)
		if done[hosts] == nil {
			done[hosts] = im.Add("[[certificates]]")
		}
		done[hosts].Set("cert", cert, plan.Place{})
		done[hosts].Set("hosts", hosts, plan.Place{})
		done[hosts].From(o.by.places()...)
		for _, name := range o.names {
			known[name] = known[name] || cert == `"acme"`
		}
	}
}

// unordered is about hosts of routers without a resolver, for which Traefik presents its default certificate: a file's,
// or an own one. It reports whether hosts of routes are not ordered, since edge presents that file then.
func (im *importer) unordered(known covered) (alone bool) {
	hosts := slices.DeleteFunc(im.hosts, func(name string) bool {
		return !known.lacks(name) || slices.ContainsFunc(im.ordered, func(o order) bool {
			return slices.Contains(o.names, name) || slices.Contains(o.names, config.Star(name))
		})
	})
	switch {
	case len(hosts) == 0 || im.resolvers == nil:
		return false
	case im.secure != nil:
		im.Block("[acme]").Set("hosts", "[]", plan.Place{})
		return true
	}
	b := im.Add("[[certificates]]")
	b.Comment("for hosts that Traefik orders no certificate for")
	b.Set("cert", `"internal"`, plan.Place{})
	b.Set("hosts", plan.List(slices.Compact(slices.Sorted(slices.Values(hosts)))...), plan.Place{})
	return false
}

// stored reads the certificates of a resolver from its file: where storage says, or beside the first file.
func (im *importer) stored(n *node) {
	name, at := cmp.Or(n.str("acme", "storage"), "acme.json"), cmp.Or(n.get("acme", "storage"), n).at
	text, err := []byte(nil), fs.ErrNotExist
	for _, file := range near(name, im.path) {
		if errors.Is(err, fs.ErrNotExist) {
			text, err = im.read.Read(file)
		}
	}
	if err != nil {
		im.Note(at, name, syntax.WithoutPath(err)+": import with --state where it can be read to keep its certificates")
		return
	}
	var all map[string]struct {
		Certificates []struct {
			Domain struct {
				Main string
				SANs []string
			}
			Certificate, Key []byte
		}
	}
	if len(text) > 0 && json.Unmarshal(text, &all) != nil { // what it has decoded is used
		im.Lose(at, name, "a part of this file, or all of it, is not as Traefik 2 and 3 write it")
	}
	issuer, err := acme.New(acme.Options{Directory: n.str("acme", "caserver"), Email: "any"}) // for its Key alone
	for _, resolver := range slices.Sorted(maps.Keys(all)) {
		if err != nil || !strings.EqualFold(resolver, n.name) {
			continue // edge refuses the authority, or it is another one
		}
		for _, c := range all[resolver].Certificates {
			pair := plan.Pair{Place: at, Authority: issuer.Key(), Chain: c.Certificate, Key: c.Key}
			for _, name := range append([]string{c.Domain.Main}, c.Domain.SANs...) {
				pair.Names = append(pair.Names, config.PlainHost(name))
			}
			of, names := plan.NamesOf(c.Certificate), pair.Names
			if !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(of, name) }) {
				pair.Names = of // the file leaves out names that others were ordered for meanwhile
			}
			im.Pairs = append(im.Pairs, pair)
		}
	}
}
