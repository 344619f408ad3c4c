package docs

import (
	"slices"
	"strings"
	"testing"
)

// tasks are the words for everyday jobs by which operators of other proxies search.
var tasks = []string{
	"access log", "admin api", "basic auth", "bypass", "cache", "caddy", "canary", "certificate",
	"circuit breaker", "circuit breaking", "client certificates", "completion", "compression", "conf.d", "consul",
	"container", "cors", "csrf", "deny", "discovery", "dns", "docker", "drain", "edge doctor", "edge explain",
	"edge import", "edge why", "error page", "etcd", "exit codes", "failover", "geoip", "graceful shutdown",
	"grpc", "gzip", "haproxy", "headers", "health check", "health checks", "hedging", "helm", "hsts", "http/2",
	"http/3", "invalidation", "ip allow list", "ip list", "json log", "kubernetes", "let's encrypt",
	"load balancer", "load balancing", "load balancing methods", "log format", "log rotation", "maintenance",
	"metrics", "mtls", "nginx", "outlier", "packages", "plugins", "prometheus", "proxy protocol", "purge", "quic",
	"rate limit", "redirect", "redirect http to https", "reload", "renewal", "request ids", "retries",
	"reverse proxy", "rewrite", "rollback", "routes", "security headers", "service discovery", "spa",
	"static files", "sticky session", "sticky sessions", "systemd", "timeouts", "tls termination", "tracing",
	"traefik", "tuning", "upgrade", "upload", "virtual host", "websocket", "weight", "wildcard",
	"x-forwarded-for", "zero-downtime upgrade",
}

// A search for the everyday word of a job finds a line with a link in the index, and each recipe is in it.
func TestIndex(t *testing.T) {
	var index []string
	recipe := map[string]bool{}
	for _, line := range prose(t, "docs/README.md") {
		if strings.HasPrefix(line, "## All pages") {
			break
		}
		if strings.HasPrefix(line, "- [") {
			index = append(index, strings.ToLower(line))
			_, to, _ := strings.Cut(line, "](recipes.md#")
			to, _, _ = strings.Cut(to, ")")
			recipe[to] = true
		}
	}
	for _, task := range tasks {
		if !slices.ContainsFunc(index, func(line string) bool { return strings.Contains(line, task) }) {
			t.Errorf("no line of the index has %q", task)
		}
	}
	for anchor := range anchors(prose(t, recipes)) {
		if anchor != "recipes" && !recipe[anchor] {
			t.Errorf("the index does not lead to %s#%s", recipes, anchor)
		}
	}
}
