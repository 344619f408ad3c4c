package traefik

import (
	"strconv"

	"github.com/edge-proxy/edge/config/import/plan"
)

// transport writes how servers of a service are connected to: what its serversTransport says, else what the static
// configuration says for all.
func (im *pools) transport(s *resource, n *node, b *plan.Block, scheme string) {
	t := im.files.static("serverstransport")
	if name := n.get("serverstransport"); name != nil {
		named := im.files.find("serverstransports", name.text, s.doc)
		if named == nil {
			im.Lose(name.at, name.words(), "there is no such serversTransport")
			return
		}
		b.From(name.at, named.at)
		t = named.node
	}
	if t == nil {
		return
	}
	if scheme == "https" {
		im.secureTransport(t, b)
	}
	for _, row := range []struct {
		key  string
		path []string
	}{
		{"timeouts.connect", []string{"forwardingtimeouts", "dialtimeout"}},
		{"timeouts.first_byte", []string{"forwardingtimeouts", "responseheadertimeout"}},
		{"pool.idle_timeout", []string{"forwardingtimeouts", "idleconntimeout"}},
	} {
		c := t.get(row.path...)
		if c == nil {
			continue
		}
		if d, ok := t.duration(row.path...); ok && d > 0 {
			b.Set(row.key, plan.Duration(d), c.at)
		} else {
			im.Lose(c.at, c.words(), "edge has such a time always: see "+row.key+" of upstreams")
		}
	}
	if c := t.get("maxidleconnsperhost"); c != nil {
		switch number, ok := t.number("maxidleconnsperhost"); {
		case ok && number < 0:
			b.Set("pool.idle", "0", c.at)
		case ok && number > 0:
			b.Set("pool.idle", strconv.FormatInt(number, 10), c.at)
			im.Note(c.at, c.words(), "pool.idle is for all servers of the upstream together")
		}
	}
}

// secureTransport writes the keys about TLS of an upstream. They take the place of tls = true.
func (im *pools) secureTransport(t *node, b *plan.Block) {
	if c := t.get("insecureskipverify"); c != nil {
		b.Replace("tls", "tls.verify", strconv.FormatBool(c.text != "true"), c.at)
	}
	if c := t.get("servername"); c != nil && c.text != "" {
		b.Replace("tls", "tls.sni", plan.String(c.text), c.at)
	}
	for i, c := range t.elements("rootcas") {
		if i > 0 {
			im.Lose(c.at, c.words(), "put them into one file: tls.ca is one")
			continue
		}
		b.Replace("tls", "tls.ca", plan.String(c.text), c.at)
	}
	for i, c := range t.members("certificates") {
		if i > 0 {
			im.files.lose(c, "backends are shown one certificate")
			continue
		}
		b.Replace("tls", "tls.cert", plan.String(c.str("certfile")), c.at)
		b.Set("tls.key", plan.String(c.str("keyfile")), c.where("keyfile"))
	}
	if c := t.get("disablehttp2"); c != nil {
		b.From(c.at)
		if c.text == "true" {
			b.Set("protocol", `"h1"`, c.at)
		}
	}
}
