package caddy

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// policies returns the methods of load_balancing, by the names that lb_policy has for them.
func policies() map[string]string {
	return map[string]string{
		"random": "random", "round_robin": "round_robin", "least_conn": "least_conn", "ip_hash": "ip_hash",
		"client_ip_hash": "ip_hash", "first": "first", "random_choose": "p2c", "weighted_round_robin": "round_robin",
		"uri_hash": "ketama", "header": "ketama", "query": "ketama", "cookie": "random",
	}
}

// balanceOption reads lb_policy and the like.
func (p *pool) balanceOption(d *directive) {
	for _, c := range d.block {
		p.im.lose(c, "what is done without a key is up to edge: requests take turns")
	}
	switch d.name {
	case "lb_policy":
		p.readPolicy(d)
	case "lb_retries":
		if n, err := strconv.Atoi(d.arg(0)); err == nil && n >= 0 {
			p.set("retry.attempts", strconv.Itoa(n), d.at)
		}
	case "lb_try_duration":
		p.im.Lose(d.at, d.text(), "retries are counted, not timed: retry.attempts, 2 without the key")
	case "lb_try_interval":
		p.im.note(d, "nothing to write: another backend is tried at once")
	default:
		p.im.lose(d, "what is tried again is said by retry.on")
	}
}

// readPolicy reads lb_policy.
func (p *pool) readPolicy(d *directive) {
	p.policy = policies()[d.arg(0)]
	switch name := d.arg(0); name {
	case "uri_hash":
		p.set("hash_key", `"uri"`, d.at)
	case "header", "query":
		p.set("hash_key", plan.String(name+":"+d.arg(1)), d.at)
	case "cookie":
		cookie := d.arg(1)
		if cookie == "" {
			cookie = "lb"
		}
		p.set("sticky.cookie", plan.String(cookie), d.at)
		if len(d.args) > 2 {
			p.im.Note(d.at, d.text(), "edge signs the cookie with a secret of its own: see sticky.secret")
		}
	case "random_choose":
		if d.arg(1) != "" && d.arg(1) != "2" {
			p.im.Lose(d.at, d.text(), "two backends are drawn")
		}
	case "weighted_round_robin":
		for _, s := range d.args[1:] {
			p.weights = append(p.weights, max(number(s, 1), 0))
		}
	case "":
	default:
		if p.policy == "" {
			p.im.lose(d, "edge does not choose so")
		}
	}
	if p.policy == "ketama" || p.policy == "ip_hash" {
		p.im.Note(d.at, d.text(), "keys go to other backends than they did")
	}
}

// healthTimes returns keys of health_check, by the lines of Caddy that set them.
func healthTimes() map[string]string {
	return map[string]string{"health_interval": "interval", "health_timeout": "timeout"}
}

// healthOption reads health_uri and the like.
func (p *pool) healthOption(d *directive) {
	key := func(name, value string) { p.set("health_check."+name, value, d.at) }
	if name := healthTimes()[d.name]; name != "" {
		if t, ok := parseTime(d.arg(0)); ok && t > 0 {
			key(name, plan.Duration(t))
			return
		}
	}
	switch d.name {
	case "health_uri", "health_path":
		key("path", plan.String(d.arg(0)))
		for name, usual := range map[string]string{"interval": `"30s"`, "timeout": `"5s"`, "rise": "1", "fall": "1"} {
			full := "health_check." + name
			if !slices.ContainsFunc(p.keys, func(s setting) bool { return s.name == full }) {
				p.keys = append(p.keys, setting{full, usual, d.at})
			}
		}
		slices.SortStableFunc(p.keys, func(a, b setting) int { return strings.Compare(a.name, b.name) })
	case "health_port":
		key("port", strconv.Itoa(max(number(d.arg(0), 0), 0)))
	case "health_passes":
		key("rise", strconv.Itoa(max(number(d.arg(0), 1), 1)))
	case "health_fails":
		key("fall", strconv.Itoa(max(number(d.arg(0), 1), 1)))
	case "health_method":
		key("method", plan.String(strings.ToUpper(d.arg(0))))
	case "health_status":
		switch status := d.arg(0); {
		case len(status) == 3 && strings.HasSuffix(status, "xx") && status[0] >= '1' && status[0] <= '5':
			key("expected_status", plan.String(status[:1]+"00-"+status[:1]+"99"))
		default:
			key("expected_status", strconv.Itoa(max(number(status, 200), 200)))
		}
	case "health_body":
		if regexp.QuoteMeta(d.arg(0)) != d.arg(0) {
			p.im.lose(d, "the text of an answer is compared as it stands")
			return
		}
		key("body", plan.String(d.arg(0)))
	case "health_headers":
		var fields []plan.Field
		for _, c := range d.block {
			c.used = true
			p.from = append(p.from, c.at)
			if strings.EqualFold(c.name, "Host") {
				key("host", plan.String(c.arg(0)))
				continue
			}
			fields = append(fields, plan.Field{Name: c.name, Value: c.arg(0)})
		}
		if len(fields) > 0 {
			key("headers", plan.Table(fields))
		}
	default:
		p.im.lose(d, "checks have nothing like it")
	}
}

// transportTimes returns keys of an upstream, by the lines of transport http.
func transportTimes() map[string]string {
	return map[string]string{
		"dial_timeout": "timeouts.connect", "response_header_timeout": "timeouts.first_byte",
		"read_timeout": "timeouts.read",
	}
}

// transport reads how backends are asked.
func (p *pool) transport(d *directive) {
	if d.arg(0) != "http" {
		p.im.lose(d, "backends speak HTTP")
		p.broken = "backends speak HTTP"
		return
	}
	for _, c := range d.block {
		c.used = true
		p.from = append(p.from, c.at)
		if name := transportTimes()[c.name]; name != "" {
			if t, ok := parseTime(c.arg(0)); ok && t > 0 {
				p.set(name, plan.Duration(t), c.at)
			}
			continue
		}
		if strings.HasPrefix(c.name, "tls") {
			p.transportTLS(c)
			continue
		}
		p.transportOption(c)
	}
}

// transportOption reads a line of transport http.
func (p *pool) transportOption(c *directive) {
	count := number(c.arg(0), -1)
	switch {
	case c.name == "keepalive" && c.arg(0) == "off":
		p.set("pool.idle", "0", c.at)
	case c.name == "keepalive":
		if t, ok := parseTime(c.arg(0)); ok && t > 0 {
			p.set("pool.idle_timeout", plan.Duration(t), c.at)
		}
	case c.name == "keepalive_idle_conns" && count >= 0, c.name == "keepalive_idle_conns_per_host" && count >= 0:
		p.set("pool.idle", strconv.Itoa(count), c.at)
		if c.name != "keepalive_idle_conns" {
			p.im.Note(c.at, c.text(), "for each backend there, for all of them here")
		}
	case c.name == "max_conns_per_host" && count >= 0:
		p.set("pool.max_per_backend", strconv.Itoa(count), c.at)
	case c.name == "versions":
		p.versions(c)
	case c.name == "resolvers":
		p.set("resolver", plan.Strings(c.args...), c.at)
	case c.name == "compression" || c.name == "dial_fallback_delay" || c.name == "read_buffer" ||
		c.name == "write_buffer" || c.name == "expect_continue_timeout" || c.name == "keepalive_interval":
		p.im.note(c, "nothing to write: the default of edge")
	default:
		p.im.lose(c, "edge has nothing like it")
	}
}

// versions reads the versions of HTTP for backends.
func (p *pool) versions(c *directive) {
	switch {
	case slices.Contains(c.args, "h2c"):
		p.set("protocol", `"h2"`, c.at)
	case slices.Contains(c.args, "2") && slices.Contains(c.args, "1.1"):
		p.set("protocol", `"auto"`, c.at)
	case slices.Contains(c.args, "2"):
		p.set("protocol", `"h2"`, c.at)
	case slices.Contains(c.args, "1.1"):
		p.set("protocol", `"h1"`, c.at)
	default:
		p.im.lose(c, "backends are asked by HTTP/1.1 and HTTP/2")
	}
}

// transportTLS reads a line of transport http about TLS.
func (p *pool) transportTLS(c *directive) {
	p.secure = true
	switch c.name {
	case "tls":
	case "tls_insecure_skip_verify":
		p.set("tls.verify", "false", c.at)
	case "tls_server_name":
		if strings.Contains(c.arg(0), "{") {
			p.im.lose(c, "the name is known from the file")
			return
		}
		p.set("tls.sni", plan.String(c.arg(0)), c.at)
	case "tls_trusted_ca_certs":
		p.set("tls.ca", plan.String(c.arg(0)), c.at)
	case "tls_trust_pool":
		if c.arg(0) != "file" || len(c.args) != 2 {
			p.im.lose(c, "authorities come from one file")
			return
		}
		p.set("tls.ca", plan.String(c.arg(1)), c.at)
	case "tls_client_auth":
		if len(c.args) != 2 {
			p.im.lose(c, "the certificate comes from files")
			return
		}
		p.set("tls.cert", plan.String(c.arg(0)), c.at)
		p.set("tls.key", plan.String(c.arg(1)), c.at)
	case "tls_timeout":
		p.im.note(c, "nothing to write: it is a part of timeouts.connect")
	default:
		p.im.lose(c, "edge has nothing like it")
	}
}
