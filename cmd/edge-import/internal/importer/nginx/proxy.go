package nginx

import (
	"maps"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// target is the URL of proxy_pass.
type target struct{ scheme, authority, uri string }

var passURL = plan.Expr(`^(https?|grpcs?)://(unix:[^:]+|[^/?#$]+)(?::(/.*)|([/?].*))?$`)

// targetOf reads the URL of proxy_pass, in which nothing is variable but groups of the location in the URI at its end.
func targetOf(c context, s string) (t target, ok bool) {
	s = strings.TrimSuffix(strings.TrimSuffix(s, "$request_uri"), "$is_args$args")
	if !strings.Contains(s, "://") {
		s = "grpc://" + s
	}
	m := passURL().FindStringSubmatch(s)
	if m == nil {
		return t, false
	}
	t = target{scheme: m[1], authority: m[2], uri: m[3] + m[4]}
	return t, !strings.Contains(t.uri, "?") && (c.groups != nil || !hasVariables(t.uri))
}

// destOf returns what a rule does that leads requests to a backend.
func (im *importer) destOf(c context, d *directive) (do []plan.Action, ok bool) {
	to, ok := targetOf(c, expand(d.arg(0), c.at.constants))
	if !ok {
		return nil, false
	}
	do = []plan.Action{plan.Dest(im.upstream(to, c.at, d))}
	if sendsOwnHost(c.at) {
		do = append(do, plan.RequestFields(plan.Field{Name: "Host", Value: to.authority}))
	}
	return do, true
}

// proxy leads t to a backend. It returns steps that come after all others: for other values of a variable, and for
// groups of the location.
func (im *importer) proxy(c context, d *directive, t *plan.Target) (last []plan.Step) {
	t.From = append(t.From, d.at)
	name := nameOf(variable().FindString(expand(d.arg(0), c.at.constants)))
	var to target
	for i, o := range im.choices(c, name) {
		within, at := c, *c.at
		at.constants = maps.Clone(at.constants)
		at.constants[name], within.at = o.value, &at
		one, _ := targetOf(within, expand(d.arg(0), at.constants))
		if i == 0 {
			c, to, t.From = within, one, append(t.From, o.from...)
			continue
		}
		do, ok := im.destOf(within, d)
		switch {
		case o.when == plan.Unknown:
			im.Lose(o.from[0], "the value "+o.value+" for "+d.text(), "edge does not lead requests there")
			continue
		case !ok || one.uri != to.uri:
			im.Lose(o.from[0], "the value "+o.value+" for "+d.text(), "such requests are answered 503")
			do = []plan.Action{plan.Fail(503)}
		}
		step := d.step(do...)
		step.When, step.From = o.when, append(step.From, o.from...)
		last = append(last, step)
	}
	to, ok := targetOf(c, expand(d.arg(0), c.at.constants))
	if !ok {
		im.Lose(d.at, d.text(), "the backend is not known from the file; such requests are answered 503")
		t.End = plan.Fail(503)
		return last
	}
	t.End = plan.Dest(im.upstream(to, c.at, d))
	if strings.HasPrefix(to.scheme, "grpc") {
		set(t, "grpc", "true", d.at)
	}
	last = append(last, im.paths(c, to, d, t)...)
	if v, at, found := c.at.value("proxy_redirect"); found && v != "default" {
		if v != "off" {
			im.Note(at, "proxy_redirect "+v, "rewrite_location leads redirects of backends back here")
			set(t, "rewrite_location", "true", at)
		}
	} else if d.name == "proxy_pass" && !hasVariables(d.arg(0)) && sendsOwnHost(c.at) {
		// Only redirects that name the backend as proxy_pass does are rewritten there.
		set(t, "rewrite_location", "true", plan.Place{})
		if to.uri != "" && to.uri != "/" {
			im.Note(d.at, d.text(), "redirects of the backend that do not lead below "+to.uri+" lead back here too")
		}
	}
	im.requestFields(c, to, d, t)
	for _, k := range im.settings(c.at, "proxy_read_timeout", "grpc_read_timeout") {
		set(t, "timeouts.first_byte", k.Value, k.At)
		set(t, k.Name, k.Value, k.At)
		if slices.ContainsFunc(c.at.all("proxy_set_header"), func(h *directive) bool {
			return strings.EqualFold(h.arg(0), "Upgrade")
		}) { // else nginx makes no tunnels
			set(t, "timeouts.idle", k.Value, k.At)
		}
	}
	im.errorPages(c, t)
	return append(last, im.cache(c, t)...)
}

// sendsOwnHost reports whether backends get the Host that proxy_pass names.
func sendsOwnHost(at *scope) bool {
	for _, h := range at.all("proxy_set_header") {
		if strings.EqualFold(h.arg(0), "Host") && h.arg(1) != "$proxy_host" {
			return false
		}
	}
	return true
}

// paths writes what backends see of the path, where proxy_pass names another one. It returns a step for groups.
func (im *importer) paths(c context, to target, d *directive, t *plan.Target) (last []plan.Step) {
	added := strings.HasSuffix(d.arg(0), "$request_uri")
	alone := hasVariables(d.arg(0)) && to.uri != "" && !added // nginx sends the path of proxy_pass as it is
	switch path, unknown := im.template(c, to.uri); {
	case unknown != "":
		im.Lose(d.at, d.text(), "paths have no "+unknown)
	case hasVariables(to.uri):
		last = []plan.Step{d.step(plan.Rewrite(path))}
		last[0].When = c.groups
	case alone:
		set(t, "rewrite.path", plan.String(path), d.at)
	case added && to.uri != "":
		set(t, "rewrite.add_prefix", plan.String(sent(to.uri)), d.at)
	case to.uri != "":
		im.below(c.l, to, d, t)
	}
	if alone && !strings.Contains(d.arg(0), "$args") {
		im.Lose(d.at, d.text(), "edge keeps the query, which nginx does not where proxy_pass has a variable")
	}
	return last
}

// below writes the path of proxy_pass, which takes the place of the one of the location.
func (im *importer) below(l *location, to target, d *directive, t *plan.Target) {
	if l.mark == "=" {
		set(t, "rewrite.path", plan.String(plan.Text(to.uri)), d.at)
		return
	}
	above, slash := strings.CutSuffix(l.path, "/")
	added, end := strings.CutSuffix(to.uri, "/")
	if slash != end && l.path != "/" || slash && !end {
		im.Lose(d.at, d.text()+" for paths below "+l.path, "one of the two alone has a / at its end; here both do")
	}
	if above != "" {
		set(t, "rewrite.strip_prefix", plan.String(sent(above)), d.at)
	}
	if added != "" {
		set(t, "rewrite.add_prefix", plan.String(sent(added)), d.at)
	}
}

func (im *importer) requestFields(c context, to target, d *directive, t *plan.Target) {
	var fields []plan.Field
	from := []plan.Place{d.at}
	host := to.authority
	if strings.HasPrefix(host, "unix:") {
		host = "localhost"
	}
	name := strings.TrimSuffix(d.name, "pass") + "set_header"
	for _, h := range c.at.all(name) {
		field, value := h.arg(0), expand(h.arg(1), c.at.constants)
		from = append(from, h.at)
		if strings.EqualFold(field, "Host") {
			host = im.hostField(c, h, value, to)
		} else if value, ok := im.requestField(c, h, value); ok {
			fields = slices.DeleteFunc(fields, func(f plan.Field) bool { return strings.EqualFold(f.Name, field) })
			fields = append(fields, plan.Field{Name: field, Value: value})
		}
	}
	if host != "" {
		fields = append([]plan.Field{{Name: "Host", Value: host}}, fields...)
	}
	t.From = append(t.From, from...)
	if len(fields) > 0 {
		step := plan.Step{Do: []plan.Action{plan.RequestFields(fields...)}, What: name, From: from}
		if slices.ContainsFunc(fields, func(f plan.Field) bool { return strings.Contains(f.Value, "{match.") }) {
			step.When = c.groups
		}
		t.Steps = append(t.Steps, step)
	}
}

// hostField returns the Host for backends; "" is the Host of the client.
func (im *importer) hostField(c context, d *directive, value string, t target) string {
	unusual := slices.ContainsFunc(c.listens, func(l *listener) bool { // there clients send the port in Host
		return l.scheme()+l.port != "http80" && l.scheme()+l.port != "https443" && l.port != "unix"
	})
	if value == "$http_host" || value == map[bool]string{false: "$host", true: "$host:$server_port"}[unusual] {
		return ""
	}
	here, unknown := im.template(c, strings.ReplaceAll(value, "$proxy_host", t.authority))
	if unknown != "" {
		im.Lose(d.at, d.text(), "the Host of the client goes on")
		return ""
	}
	return here
}

// sentByEdge are values of fields that edge writes without being told.
const sentByEdge = `x-forwarded-for $remote_addr; x-forwarded-for $proxy_protocol_addr;
	x-forwarded-for $http_x_forwarded_for; x-forwarded-proto $scheme;
	x-forwarded-proto $http_x_forwarded_proto; x-forwarded-host $host; x-forwarded-host $http_host;
	x-forwarded-host $host:$server_port; x-forwarded-host $http_x_forwarded_host;`

// ownFields matches fields of connections.
var ownFields = plan.Expr(`^(connection|upgrade|te|keep-alive)$`)

// requestField returns the value of a field for backends; ok is false where nothing is to be written.
func (im *importer) requestField(c context, d *directive, value string) (here string, ok bool) {
	field := strings.ToLower(d.arg(0))
	m := im.maps[nameOf(value)]
	switch {
	case value == "$proxy_add_x_forwarded_for" && field == "x-forwarded-for":
		if c.at.find("set_real_ip_from") == nil {
			im.Note(d.at, d.text(), plan.Forwarded)
		}
		return "", false
	case strings.Contains(sentByEdge, " "+value+";") && strings.Contains(sentByEdge, field+" "+value+";"),
		value == "$http_"+strings.ReplaceAll(field, "-", "_"): // as the client sent it
		return "", false
	case ownFields().MatchString(field):
		known := []string{"", "close", "$http_upgrade", "upgrade", "websocket", "$http_connection"}
		if !slices.Contains(known, strings.ToLower(value)) && (m == nil || m.source != "http_upgrade") {
			im.Lose(d.at, d.text(), "edge writes the fields of its connections itself")
		}
		return "", false
	}
	here, unknown := im.template(c, value)
	if unknown != "" {
		im.Lose(d.at, d.text(), "fields of requests have no "+unknown)
	}
	return here, unknown == ""
}
