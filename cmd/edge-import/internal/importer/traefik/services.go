package traefik

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// share is a service that a route leads to, and its part of the requests.
type share struct {
	service *node
	weight  float64
}

// Limits of services in others.
const (
	serviceDepthMax = 4
	placesMax       = 4096 // lines of a target
)

// lead sends requests of a router to its service, and returns the steps that share them among several.
func (im *importer) lead(a *reply, t *plan.Target) (steps []plan.Step) {
	n := a.r.get("service")
	t.End = plan.Fail(503)
	switch name, service := a.r.str("service"), im.find("services", n); {
	case name == "ping@internal":
		t.End = plan.Answer(200, "OK", "")
	case strings.HasSuffix(name, "@internal"):
		im.Lose(n.at, n.words(), "edge has no such service: see [admin] and [metrics]")
	case service == nil:
		im.Lose(cmp.Or(n, a.r.node).at, "the service of router "+a.r.name, "there is none: "+a.r.unserved())
	default:
		sum := 0.0
		for _, s := range im.shares(nil, service, 1, t, 0) {
			up := im.upstream(s.service, a.retries)
			if up == "" {
				continue
			} else if sum += s.weight; sum == s.weight {
				t.End = plan.Dest(up)
				continue
			}
			when := fmt.Sprintf("random(10000) < %.0f", math.Round(10_000*s.weight/sum))
			steps = append(steps, plan.Step{When: plan.Test(when), Do: []plan.Action{plan.Dest(up)},
				What: a.r.path, From: []plan.Place{s.service.at}})
		}
	}
	return steps
}

// shares adds to list the services with backends that a service stands for, and a part of the requests of each. t
// gets the lines of all services on the way.
func (im *importer) shares(list []share, s *node, part float64, t *plan.Target, depth int) []share {
	s.used, t.From = true, append(t.From, s.at)
	parts := s.members("weighted", "services")
	if m := s.get("mirroring"); m != nil {
		parts = []*node{m}
	} else if parts == nil {
		i := slices.IndexFunc(list, func(o share) bool { return o.service == s })
		if i < 0 {
			return append(list, share{s, part})
		}
		list[i].weight += part
		return list
	}
	t.From = append(t.From, s.places()...)
	sum := 0.0
	weights := make([]float64, len(parts))
	for i, n := range parts {
		weight, err := strconv.ParseUint(cmp.Or(n.str("weight"), "1"), 10, 16)
		service := im.find("services", cmp.Or(n.get("name"), n.get("service")))
		if service == nil || depth == serviceDepthMax || err != nil || len(t.From) > placesMax {
			im.Lose(n.at, n.words(), "there is no such service, it contains itself, or edge does not know its weight")
			continue
		}
		weights[i] = float64(weight)
		sum += weights[i]
	}
	for i, n := range parts {
		if weights[i] > 0 {
			service := im.find("services", cmp.Or(n.get("name"), n.get("service")))
			list = im.shares(list, service, part*weights[i]/sum, t, depth+1)
		}
	}
	return list
}

// upstream returns the name of the upstream of a service whose requests are tried again so often ("": not), "" where it
// has no backends.
func (im *importer) upstream(s *node, retries string) (name string) {
	id := s.id() + " " + retries
	if name, found := im.ups[id]; found {
		return name
	}
	im.ups[id] = ""
	f, main := s.get("failover"), s
	if f != nil {
		main = im.find("services", f.get("service"))
	}
	n := main.get("loadbalancer")
	if n == nil {
		im.lose(s, "edge knows services with servers, which this is not, or does not name")
		return ""
	}
	s.used, main.used = true, true
	list, scheme := im.servers(n)
	if len(list) == 0 {
		im.Lose(s.at, s.path, "it has no servers: "+s.unserved())
		return ""
	}
	keys := []plan.Setting{{Name: "backends", Value: plan.Lines(list)}}
	protocol := map[string]string{"http": "", "https": `"auto"`, "h2c": `"h2"`}[scheme]
	keys = set(keys, plan.Place{}, "load_balancing", `"round_robin"`, "protocol", protocol, "retry.attempts", retries)
	if told := n.get("proxyprotocol"); told != nil {
		keys = set(keys, told.at, "proxy_protocol", `"v2"`)
	}
	if cookie := n.get("sticky", "cookie"); cookie != nil {
		keys = set(keys, cookie.at, "sticky.cookie", plan.String("_"+plan.Name(main.name)))
		if !cookie.has("maxage") {
			im.Note(cookie.at, cookie.words(), "clients keep it for an hour, see sticky.ttl, not until they end")
		}
	}
	if check := n.get("healthcheck"); check != nil && !n.tcp() { // what Traefik does without being told
		keys = set(keys, check.at, "health_check.interval", `"30s"`, "health_check.timeout", `"5s"`,
			"health_check.rise", "1", "health_check.fall", "1")
		if !strings.EqualFold(check.str("mode"), "grpc") {
			keys = set(keys, check.at, "health_check.path", `"/"`, "health_check.expected_status", `"200-399"`)
		}
	}
	transport := map[bool]*node{false: im.first("serverstransport")}[n.tcp()]
	if other := n.get("serverstransport"); other != nil {
		if transport = im.find("serverstransports", other); transport == nil {
			im.Lose(other.at, other.words(), "there is no such serversTransport")
		} else {
			transport.used = true
		}
	}
	keys = slices.Concat(keys, im.settings(n), im.settings(transport))
	from := slices.Concat([]plan.Place{main.at}, n.places(), transport.places())
	if f != nil {
		if other := im.find("services", f.get("fallback")); other != nil && im.upstream(other, "") != "" {
			keys = set(keys, f.at, "failover", plan.String(im.upstream(other, "")))
		} else {
			im.Lose(f.at, s.path+" with fallback "+f.str("fallback"), "there is no such service with servers")
		}
		from = append(from, s.places()...)
	}
	about := func(k plan.Setting) bool { return strings.HasPrefix(k.Name, "tls.") }
	if scheme != "https" && scheme != "tls" {
		keys = slices.DeleteFunc(keys, about)
	} else if !slices.ContainsFunc(keys, about) {
		keys = set(keys, plan.Place{}, "tls", "true")
	}
	keys = slices.DeleteFunc(keys, func(k plan.Setting) bool { return k.Value == "" })
	im.ups[id] = im.Named("upstreams", cmp.Or(plan.Name(s.name), "upstream"), keys, from...)
	return im.ups[id]
}

func set(keys []plan.Setting, at plan.Place, pairs ...string) []plan.Setting {
	for pair := range slices.Chunk(pairs, 2) {
		keys = append(keys, plan.Setting{Name: pair[0], Value: pair[1], At: at})
	}
	return keys
}

// unserved says how requests or connections end that are led to n, where it has no backends.
func (n *node) unserved() string {
	return map[bool]string{true: "connections are closed", false: "requests answer 503"}[n.tcp()]
}

// servers returns the backends of a service, and the scheme of all of them.
func (im *importer) servers(n *node) (list []string, scheme string) {
	members := slices.Clone(n.members("servers"))
	if one := n.get("server"); one != nil { // of labels
		members = append(members, one)
	}
	for _, v := range members {
		text := v.str("url") + v.str("address")
		if v.tcp() {
			text = map[bool]string{true: "tls", false: "tcp"}[v.truth("tls")] + "://" + text
		}
		u, err := url.Parse(text)
		if err != nil || strings.Contains(text, "${") {
			u = &url.URL{}
		}
		port := map[string]string{"http": "80", "https": "443", "h2c": "80", "tcp": u.Port(), "tls": u.Port()}[u.Scheme]
		if scheme = cmp.Or(scheme, u.Scheme); u.Hostname() == "" || port == "" || u.Scheme != scheme {
			im.lose(v, "edge does not know the address "+text+", or others of the service have another scheme")
			continue
		}
		if strings.Trim(u.Path, "/") != "" {
			im.Note(v.at, v.path+" "+text, "nothing to write: Traefik does not send the path either")
		}
		fields := "{ address = " + plan.String(net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)))
		if weight, ok := v.number("weight"); ok {
			fields += fmt.Sprintf(", weight = %d", weight)
		}
		list = append(list, fields+" }")
	}
	return list, scheme
}
