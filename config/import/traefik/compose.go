package traefik

import (
	"path"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
	"github.com/edge-proxy/edge/config/syntax"
)

// isCompose reports whether a file is one of Docker Compose.
func isCompose(root *node) bool {
	if root.has("http") || root.has("entrypoints") {
		return false
	}
	for _, s := range root.members("services") {
		for _, key := range []string{"image", "build", "labels", "container_name", "deploy"} {
			if s.has(key) {
				return true
			}
		}
	}
	return false
}

// compose reads the labels of a file of Docker Compose, and the flags of Traefik in it. All else in the file is for
// Compose, and gets no findings.
func (im *importer) compose(root *node, file string) {
	root.walk(func(n *node) { n.used = true })
	exposed := true
	for _, s := range root.members("services") {
		if image := s.str("image"); strings.HasPrefix(path.Base(image), "traefik") {
			flags := im.flags(s)
			im.statics = append(im.statics, flags)
			if n := flags.get("providers", "docker", "exposedbydefault"); n != nil {
				exposed = n.text != "false"
				im.Note(n.at, n.words(), "nothing to write: containers that it leaves out are left out")
			}
			im.providers(flags, file)
			im.environment(s)
			if n := flags.get("providers", "docker"); n != nil {
				n.used = true
			}
		}
	}
	for _, s := range root.members("services") {
		im.container(s, exposed)
	}
}

// flags returns the static configuration that the command of Traefik has.
func (im *importer) flags(s *node) *node {
	root := &node{kind: syntax.KindTable}
	var words []*node
	if n := s.get("command"); n != nil && n.kind == syntax.KindList {
		words = n.list
	} else if n != nil {
		for word := range strings.FieldsSeq(n.text) {
			words = append(words, &node{text: word, at: n.at})
		}
	}
	for _, w := range words {
		name, value, given := strings.Cut(strings.TrimLeft(w.text, "-"), "=")
		if !given {
			value = "true"
		}
		if !strings.HasPrefix(w.text, "-") || name == "" || strings.EqualFold(name, "providers.docker") {
			continue
		}
		root.set(name, im.expand(value), w.at)
	}
	return root
}

// environment adds a finding for each variable that configures Traefik.
func (im *importer) environment(s *node) {
	for _, n := range s.members("environment") {
		name := n.name
		if n.name == "environment" {
			name, _, _ = strings.Cut(n.text, "=")
		}
		if strings.HasPrefix(name, "TRAEFIK_") {
			im.Lose(n.at, name, "write it as a flag of the command, or into a file")
		}
	}
}

// container reads the labels of a service of Compose.
func (im *importer) container(s *node, exposed bool) {
	d := &doc{root: &node{kind: syntax.KindTable}, provider: "docker", container: s.name, port: firstPort(s)}
	labels := append(s.members("labels"), s.members("deploy", "labels")...)
	for _, n := range labels {
		name, value := n.name, n.text
		if n.name == "labels" {
			name, value, _ = strings.Cut(n.text, "=")
		}
		if rest, found := cutFold(name, "traefik."); found {
			d.root.set(rest, im.expand(value), n.at)
		}
	}
	if len(d.root.list) == 0 {
		return
	}
	if enable := d.root.get("enable"); enable != nil && enable.text != "true" || enable == nil && !exposed {
		d.root.walk(func(n *node) {
			if !n.branch() {
				im.Note(n.at, n.words(), "the container "+s.name+" is left out, as Traefik does")
			}
		})
		return
	}
	if enable := d.root.get("enable"); enable != nil {
		im.Note(enable.at, "traefik.enable", "nothing to write: what the labels say is in the result")
	}
	if !d.root.has("http", "routers") {
		im.Lose(s.at, "the container "+s.name, "it has no rule of its own: name one by a label")
	}
	im.docs = append(im.docs, d)
}

// cutFold is strings.CutPrefix whatever the case of the text.
func cutFold(s, prefix string) (rest string, found bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// firstPort returns a port of the container that Compose exposes, "" where there is none.
func firstPort(s *node) string {
	for _, key := range []string{"expose", "ports"} {
		for _, n := range s.members(key) {
			text := n.text
			if n.branch() {
				text = n.str("target")
			}
			text, _, _ = strings.Cut(text, "/")
			text = text[strings.LastIndexByte(text, ':')+1:]
			if text != "" && strings.Trim(text, "0123456789") == "" {
				return text
			}
		}
	}
	return ""
}

// variables are those of Compose that have a default.
var variables = plan.Expr(`\$\{[A-Za-z_][A-Za-z0-9_]*:?-([^{}$]*)\}`)

// expand puts defaults in the places of variables, and $ for $$. What has none is left as it is: what reads it says so.
func (im *importer) expand(s string) string {
	return strings.ReplaceAll(variables().ReplaceAllString(s, "$1"), "$$", "$")
}
