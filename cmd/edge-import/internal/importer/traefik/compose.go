package traefik

import (
	"cmp"
	"path"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// compose reads the labels of a file of Docker Compose, and the flags of Traefik in it. All else in the file is for
// Compose, and gets no findings.
func (im *importer) compose(root *node, file string) {
	root.use()
	exposed := true
	for _, s := range root.members("services") {
		if !strings.HasPrefix(path.Base(s.str("image")), "traefik") {
			continue
		}
		flags := newRoot("file")
		words := s.members("command")
		for word := range strings.FieldsSeq(s.str("command")) {
			words = append(words, &node{name: "command", text: word, at: s.get("command").at})
		}
		for _, n := range words {
			im.set(flags, "-", n)
		}
		exposed = flags.str("providers", "docker", "exposedbydefault") != "false"
		im.add(flags, file)
		for _, n := range s.members("environment") {
			if strings.HasPrefix(n.name+n.text, "TRAEFIK_") || strings.HasPrefix(n.text, "TRAEFIK_") {
				im.Lose(n.at, n.path, "write it as a flag of the command, or into a file")
			}
		}
	}
	for _, s := range root.members("services") {
		im.container(s, exposed)
	}
}

// set sets in root what a label or a flag says, if it begins so: "name=value", or a member of that name.
func (im *importer) set(root *node, begin string, n *node) {
	line := n.text
	if n.name != "labels" && n.name != "command" {
		line = n.name + "=" + n.text
	}
	if !strings.HasPrefix(strings.ToLower(line), begin) {
		return
	}
	name, value, given := strings.Cut(strings.TrimLeft(line[len(begin):], "-"), "=")
	if !given {
		value = "true"
	}
	value = strings.ReplaceAll(variables().ReplaceAllString(value, "$1"), "$$", "$")
	if !root.set(name, value, n.at) {
		im.Lose(n.at, name, "edge does not know it, or another line says otherwise")
	}
}

// variables matches variables of Compose that have a default. Any other one is left as it is: what reads it says so.
var variables = plan.Expr(`\$\{[A-Za-z_][A-Za-z0-9_]*:?-([^{}$]*)\}`)

// container reads the labels of a service of Compose. It has one service of its own where they name none.
func (im *importer) container(s *node, exposed bool) {
	root := newRoot("docker")
	for _, n := range append(s.members("labels"), s.members("deploy", "labels")...) {
		im.set(root, "traefik.", n)
	}
	switch enable := root.str("enable"); {
	case len(root.list) == 0:
		return
	case enable != "true" && (enable != "" || !exposed):
		root.walk(func(n *node) {
			if !n.branch() {
				im.Note(n.at, n.words(), "the container "+s.name+" is left out, as Traefik does")
			}
		})
		return
	case !root.has("http", "routers") && !root.has("tcp", "routers"):
		im.Lose(s.at, "the container "+s.name, "it has no rule of its own: name one by a label")
	}
	for _, protocol := range []string{"http", "tcp"} {
		ownService(root, s, protocol)
	}
	im.docs = append(im.docs, root)
}

// ownService adds what Traefik knows of the service of a container without being told.
func ownService(root, s *node, protocol string) {
	port := firstPort(s)
	for _, r := range root.members(protocol, "routers") {
		if own := strings.ReplaceAll(s.name, ".", "-"); r.has("service") {
			continue
		} else if !root.has(protocol, "services") && port != "" {
			root.set(protocol+".services."+own+".loadbalancer.server.port", port, r.at)
		}
		if services := root.members(protocol, "services"); len(services) == 1 {
			r.set("service", services[0].name, r.at)
		}
	}
	for _, service := range root.members(protocol, "services") {
		server := service.get("loadbalancer", "server")
		port := cmp.Or(server.str("port"), port)
		if address := s.name + ":" + port; port != "" && protocol == "tcp" {
			service.set("loadbalancer.server.address", address, service.at)
		} else if port != "" && !server.has("url") {
			service.set("loadbalancer.server.url", cmp.Or(server.str("scheme"), "http")+"://"+address, service.at)
		}
	}
}

// firstPort returns a port of the container that Compose exposes, "" where there is none.
func firstPort(s *node) string {
	for _, n := range append(s.members("expose"), s.members("ports")...) {
		text, _, _ := strings.Cut(n.text+n.str("target"), "/")
		text = text[strings.LastIndexByte(text, ':')+1:]
		if text != "" && strings.Trim(text, "0123456789") == "" {
			return text
		}
	}
	return ""
}
