package config

import (
	"regexp"
	"strings"

	"github.com/edge-proxy/edge/config/syntax"
)

// programs are those whose files are told from a file of edge.
var programs = []struct {
	name string
	says string                       // what its words are called here
	text *regexp.Regexp               // a line that only its files have; nil: they are of a format that edge reads
	tree func(root *syntax.Node) bool // whether it is one of its files; nil: they are of no such format
}{
	{name: "HAProxy", says: "bind is listen, use_backend is dest, backend is [upstreams.NAME]",
		text: lines(`(?:frontend|backend|listen|defaults|global)(?:[ \t]+[\w.-]+)?[ \t]*(?:#.*)?`,
			`[ \t]+(?:use_backend|default_backend|bind|balance|server [\w.-]+)[ \t]+[^={\n]+`)},
	{name: "nginx", says: "server is [http], location is pattern, proxy_pass is dest, upstream is [upstreams.NAME]",
		text: lines(`[ \t]*(?:http|events|server|upstream[ \t]+\S+|location[ \t].*)[ \t]*\{[ \t]*(?:#.*)?`,
			`[ \t]*(?:http|events|server|upstream[ \t]+\S+|location[ \t].*)[ \t]*\{[^=\n]*;.*`,
			`[ \t]*(?:proxy_pass|server_name|listen|worker_processes|root|return)[ \t]+[^={}\n]+;.*`)},
	{name: "Apache", says: "VirtualHost is [http] and a host in pattern, ProxyPass is pattern and dest",
		text: lines(`[ \t]*<(?:VirtualHost|Location|Proxy|Directory|IfModule)\b.*`,
			`[ \t]*(?:ProxyPass|ProxyPassReverse|LoadModule|DocumentRoot|ServerName)[ \t]+[^=\s].*`)},
	{name: "Caddy", says: "the address before { is listen and the host of pattern, reverse_proxy is dest",
		text: lines(`[ \t]*(?:reverse_proxy|file_server|handle|handle_path|php_fastcgi|redir|encode|respond)` +
			`(?:[ \t]+[^=\s].*)?`),
		tree: func(root *syntax.Node) bool { return within(root, "apps", "http") != nil }},
	{name: "Traefik", says: "entryPoints are [[listeners]], a rule is pattern, a service is [upstreams.NAME]",
		tree: func(root *syntax.Node) bool {
			for _, path := range [][]string{{"http", "routers"}, {"http", "services"}, {"http", "middlewares"},
				{"tcp", "routers"}, {"entryPoints"}, {"certificatesResolvers"}, {"providers"}} {
				if within(root, path...) != nil {
					return true
				}
			}
			return false
		}},
	{name: "Envoy", says: "a route is [[routes]], a cluster is [upstreams.NAME], socket_address is listen",
		tree: func(root *syntax.Node) bool {
			return within(root, "static_resources") != nil || within(root, "dynamic_resources") != nil
		}},
	{name: "h2o", says: "hosts and paths are pattern, proxy.reverse.url is dest",
		tree: func(root *syntax.Node) bool {
			hosts := within(root, "hosts")
			return hosts != nil && len(hosts.Children) > 0 && within(hosts.Children[0], "paths") != nil
		}},
}

// lines returns what finds a whole line that is one of these.
func lines(some ...string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)^(?:` + strings.Join(some, "|") + `)[ \t\r]*$`)
}

// within returns the table or list that the names lead to, or nil.
func within(n *syntax.Node, names ...string) *syntax.Node {
	for _, name := range names {
		if n = n.Child(name); n == nil || n.Kind != syntax.KindTable && n.Kind != syntax.KindList {
			return nil
		}
	}
	return n
}

// ownHeader is a line that no file of a program without a tree has.
var ownHeader = regexp.MustCompile(`(?m)^[ \t]*\[\[?[\w. "-]+\]\]?[ \t]*(?:#.*)?\r?$`)

// What a small file says here, in both ways to write it.
const (
	exampleTOML = `
[http]
listen = ":80"
[[routes]]
pattern = "example.com/*"
dest = "http://127.0.0.1:3000"`
	exampleYAML = `
http:
  listen: ":80"
routes:
  - pattern: "example.com/*"
    dest: "http://127.0.0.1:3000"`
)

// foreignFile recognises a file of another program and says so. root is nil when it could not be parsed.
func foreignFile(src *syntax.Source, root *syntax.Node) (at syntax.Span, message, hint string) {
	for _, p := range programs {
		var found bool
		if root != nil {
			found = p.tree != nil && within(root, "routes") == nil && p.tree(root)
		} else {
			found = p.text != nil && p.text.Match(src.Text) && !ownHeader.Match(src.Text)
		}
		if !found {
			continue
		}
		example := exampleTOML
		if src.Colon {
			example = exampleYAML
		}
		return src.Begin(), "this is a configuration of " + p.name, "in edge " + p.says + ":" + example
	}
	return syntax.Span{}, "", ""
}
