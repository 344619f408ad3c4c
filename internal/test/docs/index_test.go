package docs

import (
	"slices"
	"strings"
	"testing"
)

// tasks are the words for everyday jobs by which operators of other proxies search.
var tasks = []string{
	"access log", "admin api", "basic auth", "caddy", "canary", "certificate", "circuit breaking",
	"client certificates", "completion", "consul", "container", "cors", "csrf", "deny", "discovery", "dns",
	"docker", "drain", "edge doctor", "edge explain", "edge import", "edge why", "error page", "etcd", "failover",
	"geoip", "grpc", "haproxy", "headers", "health checks", "hedging", "helm", "hsts", "http/2", "http/3",
	"ip allow list",
	"ip list", "json log", "kubernetes", "load balancing methods", "load balancing", "log format", "log rotation",
	"maintenance", "metrics", "mtls", "nginx", "outlier", "packages", "plugins", "prometheus", "rate limit",
	"redirect http to https", "redirect", "reload", "renewal", "request ids", "retries", "rewrite", "rollback",
	"routes", "security headers", "sticky sessions", "systemd", "timeouts", "traefik", "upload", "websocket",
	"weight", "x-forwarded-for", "zero-downtime upgrade",
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
