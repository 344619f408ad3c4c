package nginx

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

type group struct {
	keys []plan.Setting
	from []plan.Place
}

// addGroup reads an upstream { }.
func (im *importer) addGroup(d *directive) {
	g := &group{}
	im.groups[d.arg(0)] = g
	d.each(func(d *directive) {
		d.used, g.from = true, append(g.from, d.at)
	})
	var backends []string
	add := func(name, value string, at plan.Place) {
		g.keys = append(g.keys, plan.Setting{Name: name, Value: value, At: at})
	}
	method, methodAt, eject := "round_robin", plan.Place{}, []string(nil)
	for _, m := range d.block {
		switch m.name {
		case "server":
			text, errors, pause := im.member(m)
			backends = append(backends, text)
			if errors > 1 && eject == nil {
				eject = []string{strconv.Itoa(errors), pause}
			}
		case "least_conn", "ip_hash":
			method, methodAt = m.name, m.at
		case "random":
			method, methodAt = cmp.Or(lookup("two=p2c", m.arg(0)), "random"), m.at
		case "hash":
			part, key := partOf(nameOf(m.arg(0)))
			if key = cmp.Or(lookup(hashed, nameOf(m.arg(0))), part+":"+key); key == ":" {
				im.Lose(m.at, m.text(), "edge does not choose by this key")
				continue
			}
			if method, methodAt = "ketama", m.at; m.arg(1) != "consistent" {
				im.Lose(m.at, m.text(), "keys are hashed as with consistent: they go to other servers than they did")
			}
			add("hash_key", plan.String(key), m.at)
		default:
			w, _ := words().Find("upstream." + m.name)
			value, ok := w.Unit.Value(m.arg(0))
			if w.Says == "key" && ok {
				add(w.Key, value, m.at)
			} else {
				im.tell("upstream."+m.name, m.at, m.text())
			}
		}
	}
	g.keys = append([]plan.Setting{{Name: "backends", Value: plan.Lines(backends), At: d.at}}, g.keys...)
	if len(backends) > 1 {
		add("load_balancing", plan.String(method), methodAt)
	}
	if eject != nil {
		add("outlier.errors", eject[0], d.at)
		if text, ok := plan.Seconds.Value(eject[1]); ok {
			add("outlier.eject", text, d.at)
		}
	}
}

// hashed are variables of keys.
const hashed = `remote_addr=client_ip; binary_remote_addr=client_ip; request_uri=uri; uri=path; host=host;
	http_host=host`

// member reads a server of an upstream and returns it as a backend, with max_fails and fail_timeout.
func (im *importer) member(d *directive) (text string, fails int, pause string) {
	weight, backup := "", ""
	for _, option := range d.args[min(1, len(d.args)):] {
		switch name, value, _ := strings.Cut(option, "="); name {
		case "weight":
			if n, err := strconv.ParseUint(value, 10, 31); err == nil && weight == "" {
				weight = ", weight = " + strconv.FormatUint(n, 10)
			}
		case "backup":
			backup = ", backup = true"
		case "down":
			weight = ", weight = 0"
		case "max_fails":
			fails, _ = strconv.Atoi(value)
		case "fail_timeout":
			pause = value
		default:
			im.tell("server."+name, d.at, "server … "+option)
		}
	}
	if fails > 1 {
		im.Note(d.at, "server … max_fails="+strconv.Itoa(fails), "outlier.errors, for all backends of the upstream")
	} else if pause != "" {
		im.Note(d.at, "server … fail_timeout="+pause, "nothing to write: see outlier of [upstreams.NAME]")
	}
	return "{ address = " + plan.String(withPort(d.arg(0), "80")) + weight + backup + " }", fails, pause
}

func withPort(address, port string) string {
	if _, _, err := net.SplitHostPort(address); err == nil || strings.HasPrefix(address, "unix:") {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), port)
}

// upstream returns the dest for a target, and writes its [upstreams.NAME] where it needs one.
func (im *importer) upstream(t target, at *scope, d *directive) string {
	secure := strings.HasSuffix(t.scheme, "s")
	address := withPort(t.authority, map[bool]string{true: "443", false: "80"}[secure])
	keys := im.upstreamKeys(at, secure)
	if im.groups[t.authority] == nil && len(keys) == 0 {
		return strings.Replace("http://"+address, "http://unix:", "unix:", 1)
	}
	return im.balanced(t.authority, address, keys, d)
}

// balanced writes the upstream for a group with some keys, or for an address where there is no group of the name.
func (im *importer) balanced(name, address string, keys []plan.Setting, d *directive) string {
	g := im.groups[name]
	if g == nil {
		backends := plan.Setting{Name: "backends", Value: "[{ address = " + plan.String(address) + " }]", At: d.at}
		g = &group{keys: []plan.Setting{backends}}
	}
	return im.Named("upstreams", cmp.Or(plan.Name(name), "upstream"), slices.Concat(g.keys, keys), g.from...)
}

// nextConditions are conditions of proxy_next_upstream, by the conditions of retry.on.
const nextConditions = `error=reset; timeout=timeout; http_500=500; http_502=502; http_503=503; http_504=504;
	http_403=403; http_404=404; http_429=429`

// upstreamKeys returns what a location says about its backends.
func (im *importer) upstreamKeys(at *scope, secure bool) (keys []plan.Setting) {
	keys = im.settings(at, "proxy_connect_timeout", "grpc_connect_timeout")
	add := func(name, value string, at plan.Place) {
		keys = append(keys, plan.Setting{Name: name, Value: value, At: at})
	}
	if d := at.get("proxy_next_upstream"); d != nil && d.arg(0) == "off" {
		add("retry.attempts", "0", d.at)
	} else if d != nil {
		on := []string{"connect", "refused_stream"}
		for _, word := range d.args {
			if here := lookup(nextConditions, word); here != "" {
				on = append(on, here)
			} else {
				im.tell("next."+word, d.at, "proxy_next_upstream "+word)
			}
		}
		add("retry.on", plan.List(on...), d.at)
	}
	if text, place, ok := at.value("proxy_next_upstream_tries"); ok && !at.says("proxy_next_upstream", "off") {
		if n, err := strconv.Atoi(text); err == nil && n > 0 {
			add("retry.attempts", strconv.Itoa(n-1), place)
		}
	}
	if d := at.find("proxy_buffer_size"); d != nil {
		if size, _ := plan.ParseSize(d.arg(0), 1<<10); size > plan.FieldSize { // else edge takes as much by itself
			d.used = true
			add("limits.header_size", plan.HeadSize(size), d.at)
			add("limits.field_size", plan.HeadSize(size), d.at)
		}
	}
	if secure {
		keys = append(keys, im.secureKeys(at, plan.Place{})...)
	}
	return keys
}

// secureKeys returns what a scope says about TLS to backends.
func (im *importer) secureKeys(at *scope, from plan.Place) (keys []plan.Setting) {
	verify, place, _ := at.value("proxy_ssl_verify")
	keys = []plan.Setting{{Name: "tls.verify", Value: strconv.FormatBool(verify == "on"), At: cmp.Or(place, from)}}
	if verify == "on" {
		keys = append(keys, im.settings(at, "proxy_ssl_trusted_certificate")...)
	}
	return append(keys, im.settings(at, "proxy_ssl_name", "proxy_ssl_certificate", "proxy_ssl_certificate_key")...)
}
