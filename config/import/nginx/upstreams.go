package nginx

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// group is an upstream { }.
type group struct {
	d    *directive
	keys []setting
}

// addGroup reads an upstream { }.
func (im *importer) addGroup(d *directive) {
	d.used = true
	g := &group{d: d}
	var backends []string
	method, methodAt := "round_robin", plan.Place{}
	most, longest := 0, ""
	for _, c := range d.block {
		c.used = true
		switch c.name {
		case "server":
			text, fails, timeout := im.member(c)
			backends = append(backends, text)
			if fails > most {
				most, longest = fails, timeout
			}
		case "least_conn":
			method, methodAt = "least_conn", c.at
		case "ip_hash":
			method, methodAt = "ip_hash", c.at
		case "random":
			method, methodAt = "random", c.at
			if c.arg(0) == "two" {
				method = "p2c"
			}
		case "hash":
			method, methodAt = "ketama", c.at
			if c.arg(1) != "consistent" {
				im.Lose(c.at, c.text(), "keys are hashed as with consistent: they go to other servers than they did")
			}
			key := hashKeys(c.arg(0))
			if key == "" {
				im.Lose(c.at, c.text(), "edge does not choose by this key")
				method = "round_robin"
				continue
			}
			g.keys = append(g.keys, setting{"hash_key", plan.String(key), c.at})
		case "keepalive":
			g.keys = append(g.keys, setting{"pool.idle", c.arg(0), c.at})
			im.Note(c.at, c.text(), "for each worker there, for the process here")
		case "keepalive_timeout":
			if t, ok := parseTime(c.arg(0)); ok {
				g.keys = append(g.keys, setting{"pool.idle_timeout", plan.Duration(t), c.at})
			}
		case "keepalive_requests":
			g.keys = append(g.keys, setting{"pool.max_requests", c.arg(0), c.at})
		case "zone":
			im.Note(c.at, c.text(), "nothing to write: all threads know the same")
		default:
			im.Lose(c.at, c.text(), "edge does not know it")
		}
	}
	first := []setting{{"backends", plan.Lines(backends), d.at}, {"load_balancing", plan.String(method), methodAt}}
	g.keys = append(first, g.keys...)
	if most > 1 {
		g.keys = append(g.keys, setting{"outlier.errors", strconv.Itoa(most), d.at})
		if t, ok := parseTime(longest); ok && longest != "" {
			g.keys = append(g.keys, setting{"outlier.eject", plan.Duration(t), d.at})
		}
	}
	im.groups[d.arg(0)] = g
}

// hashKeys returns the key of edge for one of nginx.
func hashKeys(s string) string {
	key := map[string]string{"$remote_addr": "client_ip", "$binary_remote_addr": "client_ip", "$request_uri": "uri",
		"$uri": "path", "$host": "host", "$http_host": "host"}[s]
	switch {
	case strings.HasPrefix(s, "$cookie_"):
		key = "cookie:" + s[len("$cookie_"):]
	case strings.HasPrefix(s, "$arg_"):
		key = "query:" + s[len("$arg_"):]
	case strings.HasPrefix(s, "$http_") && key == "":
		key = "header:" + fieldName(s[len("$http_"):])
	}
	return key
}

// member reads a server of an upstream and returns it as a backend, with max_fails and fail_timeout.
func (im *importer) member(d *directive) (text string, fails int, timeout string) {
	fields := []string{"address = " + plan.String(withPort(d.arg(0), "80"))}
	for _, option := range d.args[min(1, len(d.args)):] {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "weight":
			fields = append(fields, "weight = "+number(value))
		case "backup":
			fields = append(fields, "backup = true")
		case "down":
			fields = append(fields, "weight = 0")
		case "max_fails":
			fails, _ = strconv.Atoi(value)
		case "fail_timeout":
			timeout = value
		case "max_conns":
			im.Lose(d.at, "server … "+option, "limits of one backend are those of the upstream: breaker.max_requests")
		case "resolve":
			im.Note(d.at, "server … "+option, "nothing to write: names are asked for again")
		default:
			im.Lose(d.at, "server … "+option, "edge does not know this option")
		}
	}
	if fails > 1 {
		im.Note(d.at, fmt.Sprintf("server … max_fails=%d", fails), "outlier.errors, for all backends of the upstream")
	} else if timeout != "" {
		im.Note(d.at, "server … fail_timeout="+timeout, "nothing to write: see outlier of [upstreams.NAME]")
	}
	if slices.Contains(d.args, "down") {
		fields = []string{fields[0], "weight = 0"}
	}
	return "{ " + strings.Join(fields, ", ") + " }", fails, timeout
}

// number returns s where it is a number, else 1.
func number(s string) string {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return strconv.FormatUint(n, 10)
	}
	return "1"
}

// upstream returns the dest for a target, and writes its [upstreams.NAME] where it needs one.
func (im *importer) upstream(t target, at *scope, d *directive) string {
	secure := t.scheme == "https" || t.scheme == "grpcs"
	g := im.groups[t.authority]
	var keys []setting
	if g != nil {
		keys = append(keys, g.keys...)
	}
	keys = append(keys, im.upstreamKeys(at, secure)...)
	port := "80"
	if secure {
		port = "443"
	}
	address := withPort(t.authority, port)
	if g == nil && len(keys) == 0 {
		if strings.HasPrefix(address, "unix:") {
			return address
		}
		return "http://" + address
	}
	if g == nil {
		keys = append([]setting{{"backends", "[{ address = " + plan.String(address) + " }]", d.at}}, keys...)
	}
	id := fmt.Sprint(t.authority, secure, lines(keys))
	if name := im.made[id]; name != "" {
		return name
	}
	name := plan.Unused(cmp.Or(plan.Name(t.authority), "upstream"), im.names)
	im.made[id] = name
	b := im.Add("[upstreams." + plan.Key(name) + "]")
	if g != nil {
		b.From(g.d.at)
		for _, c := range g.d.block {
			b.From(c.at)
		}
	}
	for _, k := range keys {
		b.Set(k.name, k.value, k.at)
	}
	return name
}

// lines returns settings as text, without their places.
func lines(keys []setting) string {
	var b strings.Builder
	for _, k := range keys {
		b.WriteString(k.name + "=" + k.value + "\n")
	}
	return b.String()
}

// nextConditions returns conditions of proxy_next_upstream, by those of retry.on.
func nextConditions() map[string]string {
	return map[string]string{
		"error": "reset", "timeout": "timeout", "http_500": "500", "http_502": "502", "http_503": "503",
		"http_504": "504", "http_403": "403", "http_404": "404", "http_429": "429",
	}
}

// upstreamKeys returns what a location says about its backends.
func (im *importer) upstreamKeys(at *scope, secure bool) (keys []setting) {
	for _, name := range []string{"proxy_connect_timeout", "grpc_connect_timeout"} {
		if text, place, ok := at.value(name); ok {
			if t, valid := parseTime(text); valid && t > 0 {
				keys = append(keys, setting{"timeouts.connect", plan.Duration(t), place})
			}
		}
	}
	if d := at.get("proxy_next_upstream"); d != nil {
		on := []string{"connect", "refused_stream"}
		for _, word := range d.args {
			switch {
			case word == "off":
				keys = append(keys, setting{"retry.attempts", "0", d.at})
			case nextConditions()[word] != "":
				on = append(on, nextConditions()[word])
			case word == "non_idempotent":
				im.Lose(d.at, "proxy_next_upstream non_idempotent", "edge does not repeat what may have been done")
			default:
				im.Lose(d.at, "proxy_next_upstream "+word, "edge does not know this condition")
			}
		}
		if d.arg(0) != "off" {
			keys = append(keys, setting{"retry.on", plan.List(on...), d.at})
		}
	}
	if text, place, ok := at.value("proxy_next_upstream_tries"); ok {
		if n, err := strconv.Atoi(text); err == nil && n > 0 {
			keys = append(keys, setting{"retry.attempts", strconv.Itoa(n - 1), place})
		}
	}
	if secure {
		keys = append(keys, im.secureKeys(at)...)
	}
	return keys
}

// secureKeys returns the TLS of connections to backends.
func (im *importer) secureKeys(at *scope) (keys []setting) {
	verify, place, ok := at.value("proxy_ssl_verify")
	if ok && verify == "on" {
		keys = append(keys, setting{"tls", "true", place})
		if file, ca, found := at.value("proxy_ssl_trusted_certificate"); found {
			keys[0] = setting{"tls.ca", plan.String(file), ca}
		}
	} else {
		keys = append(keys, setting{"tls.verify", "false", place})
	}
	if name, at, found := at.value("proxy_ssl_name"); found && !hasVariables(name) {
		keys = append(keys, setting{"tls.sni", plan.String(name), at})
	}
	if file, at, found := at.value("proxy_ssl_certificate"); found {
		keys = append(keys, setting{"tls.cert", plan.String(file), at})
	}
	if file, at, found := at.value("proxy_ssl_certificate_key"); found {
		keys = append(keys, setting{"tls.key", plan.String(file), at})
	}
	return keys
}
