package docs

import (
	"cmp"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// keyPage is a page of the reference of all keys.
type keyPage struct {
	file  string   // below docs
	title string   // of the page
	words string   // the words by which readers search for its keys
	parts []string // the headings of its sections, without backquotes
}

// keyPages says which sections stand together, in this order.
var keyPages = []keyPage{
	{
		file: "config/process.md", title: "The process and the admin API",
		words: "worker processes, event loops, memory, user and group, pid file, daemon, sandbox, graceful shutdown, " +
			"reload, upgrade, rollback, include, admin socket",
		parts: []string{"Top level", "[global]", "[admin]"},
	},
	{
		file: "config/listeners.md", title: "Listeners, TLS and certificates",
		words: "listen, bind, port, server, frontend, entry point, HTTPS, TLS termination, SSL, SNI, client " +
			"certificates (mTLS), OCSP, HSTS, HTTP/2, HTTP/3 (QUIC), PROXY protocol, client timeouts, keep-alive",
		parts: []string{"[[listeners]]", "[tls]", "[[certificates]]"},
	},
	{
		file: "config/acme.md", title: "Certificates by ACME (Let's Encrypt)",
		words: "certbot, ZeroSSL, automatic HTTPS, DNS challenge, wildcard certificates, renewal",
		parts: []string{"[acme]", "[dns_providers.NAME]", "[storages.NAME]"},
	},
	{
		file: "config/routes.md", title: "Routes and destinations",
		words: "virtual host, server name, location, path, proxy_pass, redirect, rewrite, headers, request timeouts, " +
			"WebSocket, gRPC, canary, error pages, static files",
		parts: []string{"[[routes]]", "[defaults]", "[destinations.NAME]"},
	},
	{
		file: "config/upstreams.md", title: "Upstreams, backends and health checks",
		words: "upstream, backend, server, pool, load balancer, load balancing, weight, keep-alive, connect timeout, " +
			"retries, circuit breaker, outlier detection, sticky session, health check, service discovery (DNS, " +
			"Docker, Kubernetes, Consul, etcd)",
		parts: []string{"[upstreams.NAME]", "[[upstreams.NAME.backends]]", "[upstream_defaults]",
			"[health_check]", "[upstreams.NAME.health_check]", "[[load_balancing.backends]]",
			"[balance_methods.NAME]", "[discoverers.NAME]", "[[register]]"},
	},
	{
		file: "config/rules.md", title: "Rules, lists and variables",
		words: "if, acl, map, geo, GeoIP, http-request, matcher, block, deny, set a header, redirect, secrets, " +
			"handshake rules",
		parts: []string{"[[rules]]", "[[listeners.rules]]", "[[routes.rules]]", "[[tls.rules]]",
			"[[listeners.tls_rules]]", "[lists.NAME]", "[maps.NAME]", "[secrets.NAME]", "[geo]"},
	},
	{
		file: "config/filters.md", title: "Filters",
		words: "middleware, basic auth, compression (gzip, zstd), CORS, CSRF, IP allow list, rate limit, request " +
			"size limits, maintenance mode, security headers, fault injection",
		parts: []string{"[filters.NAME]", "[connection_filters.NAME]"},
	},
	{
		file: "config/cache.md", title: "Cache",
		words: "proxy_cache, cache key, bypass, TTL, stale answers, purge, invalidation, tags, disk cache",
		parts: []string{"[cache]", "[defaults.cache]", "[routes.cache]", "[rules.cache]",
			"[listeners.rules.cache]", "[routes.rules.cache]"},
	},
	{
		file: "config/logs.md", title: "Logs, metrics and traces",
		words: "access log, log format, JSON log, log rotation, syslog, OpenTelemetry (OTLP), Prometheus, tracing, " +
			"Sentry",
		parts: []string{"[log]", "[log_sinks.NAME]", "[metrics]", "[tracing]", "[listeners.tracing]",
			"[routes.tracing]", "[sentry]"},
	},
	{
		file: "config/services.md", title: "TCP services (layer 4)",
		words: "stream, TCP proxy, TLS passthrough, SNI routing, databases",
		parts: []string{"[services.NAME]", "[[services.NAME.routes]]"},
	},
	{
		file: "config/warnings.md", title: "Warnings and ignored keys",
		words: "edge check, lint, codes of warnings, allow",
		parts: []string{"Keys without a meaning", "Warnings and notes"},
	},
}

// made is the second paragraph of each page, as of the introduction.
const made = "<!-- Made from the schema by \"go test ./internal/test/docs -run Reference -update\". Do not edit. -->\n"

// splitReference returns the reference in pages, by their paths below docs: its introduction is configuration.md, with
// a table of the other pages before its second heading. A section that no page has fails the test.
func splitReference(t *testing.T, text string, pages []keyPage) map[string]string {
	t.Helper()
	const index = "configuration.md"
	introduction, sections := text, map[string]string{}
	if at := strings.Index(text, "\n## Top level\n"); at >= 0 {
		introduction = text[:at]
		for section := range strings.SplitSeq(text[at+len("\n## "):], "\n## ") {
			title, _, _ := strings.Cut(section, "\n")
			sections[strings.Trim(title, "`")] = "\n## " + strings.TrimRight(section, "\n") + "\n"
		}
	}
	all, rows := map[string]string{}, ""
	for _, p := range pages {
		text := "# " + p.title + "\n\n" + made + "\nAll sections, and how a file is written: [configuration](" + index +
			"). In other words: " + p.words + ".\n"
		for _, title := range p.parts {
			text += sections[title]
			delete(sections, title)
		}
		var links []string
		for _, title := range headings(text) {
			links = append(links, "["+title+"](#"+anchorOf(title)+")")
		}
		rows += "| [" + p.title + "](" + p.file + ") | " + strings.Join(links, ", ") + " | " + p.words + " |\n"
		all[p.file] = text
	}
	for title := range sections {
		t.Errorf("keyPages has no page for %s", title)
	}
	head, rest, _ := strings.Cut(introduction, "\n## ")
	all[index] = head + "\n## Sections\n\n| page | sections | in other words |\n|---|---|---|\n" + rows + "\n## " +
		strings.TrimRight(rest, "\n") + "\n"
	return relinked(all)
}

// headings returns the headings of a page but for the first level.
func headings(text string) (all []string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "##") {
			all = append(all, strings.Trim(line, "# \n"))
		}
	}
	return all
}

// localLink matches a link to a page of docs, to a heading of the reference, or both.
var localLink = regexp.MustCompile(`\]\(([\w-]+\.md)?(?:#([\w-]+))?\)`)

// relinked returns pages whose links lead from where they stand. In the reference each link begins at docs, and a
// heading of the reference may be on any page of it.
func relinked(pages map[string]string) map[string]string {
	home := map[string]string{}
	for file, text := range pages {
		for _, title := range headings(text) {
			home[anchorOf(title)] = file
		}
	}
	for from, text := range pages {
		pages[from] = localLink.ReplaceAllStringFunc(text, func(link string) string {
			m := localLink.FindStringSubmatch(link)
			to, anchor := m[1], m[2]
			if to == "" {
				to = cmp.Or(home[anchor], from)
			}
			if anchor != "" {
				anchor = "#" + anchor
			}
			if to == from {
				return "](" + anchor + ")"
			}
			rel, _ := filepath.Rel(path.Dir(from), to) // both begin at docs
			return "](" + filepath.ToSlash(rel) + anchor + ")"
		})
	}
	return pages
}

// Links lead to the page that has the heading, from the folder of the page they stand on.
func TestReference_linksLeadToThePageOfTheHeading(t *testing.T) {
	const text = "# All\n\nSee [b](#b).\n\n## Forms\n\nx\n\n" +
		"## Top level\n\n[forms](#forms) [b](#b) [tls](tls.md#c)\n\n## `[b]`\n\n[here](#b)\n"
	pages := splitReference(t, text, []keyPage{
		{file: "config/a.md", title: "A", words: "one", parts: []string{"Top level"}},
		{file: "config/b.md", title: "B", words: "two, three", parts: []string{"[b]"}},
	})
	for page, want := range map[string]string{
		"configuration.md": "See [b](config/b.md#b).\n\n## Sections\n\n" +
			"| page | sections | in other words |\n|---|---|---|\n" +
			"| [A](config/a.md) | [Top level](config/a.md#top-level) | one |\n" +
			"| [B](config/b.md) | [`[b]`](config/b.md#b) | two, three |\n\n## Forms\n\nx\n",
		"config/a.md": "(../configuration.md). In other words: one.\n\n## Top level\n\n" +
			"[forms](../configuration.md#forms) [b](b.md#b) [tls](../tls.md#c)\n",
		"config/b.md": "## `[b]`\n\n[here](#b)\n",
	} {
		if !strings.HasSuffix(pages[page], want) {
			t.Errorf("%s does not end with %q:\n%s", page, want, pages[page])
		}
	}
}
