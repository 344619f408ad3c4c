package traefik

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// pass sends requests through a filter of the middleware that is read, whose name ends in more.
func (a *reply) pass(more, kind string, keys ...plan.Setting) {
	keys = append([]plan.Setting{{Name: "type", Value: plan.String(kind)}}, keys...)
	name := a.im.Named("filters", cmp.Or(plan.Name(a.m.name+more), "filter"), keys, a.m.places()...)
	if !slices.Contains(a.filters, name) {
		a.filters = append(a.filters, name)
	}
}

// ranges returns addresses and prefixes as edge has them, nil where one is wrong.
func ranges(texts []string) (list []string) {
	for _, text := range texts {
		if p, err := netip.ParsePrefix(text); err == nil {
			text = p.Masked().String()
		} else if _, err := netip.ParseAddr(text); err != nil {
			return nil
		}
		list = append(list, text)
	}
	return list
}

// addresses writes the filter of a list of addresses. Traefik looks at the other end of the connection, whatever
// trusted proxies say.
func (a *reply) addresses(n *node) (why string) {
	list := ranges(n.texts("sourcerange"))
	switch {
	case n.has("ipstrategy"):
		return "not available in this version: edge knows clients by their connection, and by trusted_proxies"
	case list == nil:
		return "edge does not know these addresses"
	}
	keys := []plan.Setting{{Name: "allow", Value: plan.Strings(list...)}}
	if a.trusts() {
		keys = []plan.Setting{{Name: "deny", Value: `["0.0.0.0/0", "::/0"]`},
			{Name: "when", Value: plan.Literal("peer.ip not in {" + strings.Join(list, " ") + "}")}}
	}
	a.pass("", "ip", append(keys, a.im.settings(n)...)...)
	return ""
}

// trusts reports whether what proxies say decides who a client is.
func (a *reply) trusts() bool { return a.e.block.Has("trusted_proxies") }

func (a *reply) password(n *node) (why string) {
	var users []plan.Field
	for _, u := range n.texts("users") {
		name, hash, _ := strings.Cut(u, ":")
		users = append(users, plan.Field{Name: name, Value: hash})
	}
	keys := []plan.Setting{{Name: "realm", Value: `"traefik"`}, {Name: "forward", Value: "true"}}
	text := strings.Join(n.texts("users"), "\n")
	if !n.has("usersfile") {
		keys = append(keys, plan.Setting{Name: "users", Value: plan.Table(users)})
	} else if content, err := a.im.read.Read(n.str("usersfile")); err == nil && text == "" {
		text = string(content)
	} else {
		return "the file with its users cannot be read, or it has users in two places"
	}
	if why := plan.UsersWrong(text); why != "" {
		return why
	}
	if field := n.str("headerfield"); field != "" {
		a.request(nil, field, "{auth.user}")
	}
	a.pass("", "basic_auth", append(keys, a.im.settings(n)...)...)
	return ""
}

// compress writes the filter that compresses answers, with the first of its kind.
func (a *reply) compress(n *node) (why string) {
	keys := a.im.settings(n)
	if list := n.texts("encodings"); len(list) > 0 {
		if list = plan.Encodings(list); len(list) == 0 {
			return "edge compresses with zstd and gzip"
		}
		keys = append(keys, plan.Setting{Name: "encodings", Value: plan.List(list...)})
	}
	a.encoder = cmp.Or(a.encoder, a.im.Compress(keys, a.m.places()...))
	return ""
}

// rate writes the filter of a rate, which counts the requests of one router.
func (a *reply) rate(n *node) (why string) {
	average, ok := n.number("average")
	burst, _ := n.number("burst")
	period, _ := plan.ParseTime(cmp.Or(n.str("period"), "1s"), time.Second)
	unit := map[time.Duration]string{time.Second: "/s", time.Minute: "/m", time.Hour: "/h"}[period]
	if !ok || average <= 0 || average > 1<<30 || unit == "" || n.has("sourcecriterion") {
		return "edge does not know this rate, or by whom to count: write a filter of type rate_limit"
	}
	keys := []plan.Setting{{Name: "rate", Value: plan.String(strconv.FormatInt(average, 10) + unit)},
		{Name: "burst", Value: strconv.FormatInt(min(max(burst, 1), 1_000_000), 10)}}
	if a.trusts() {
		keys = append(keys, plan.Setting{Name: "key", Value: `'{cidr(peer.ip, 32, 64)}'`})
	}
	a.pass("-"+a.r.name, "rate_limit", keys...)
	return ""
}

// secureFields are fields of answers that Traefik has a key for each, and what true stands for; "": the key has the
// value itself.
var secureFields = []struct{ key, name, value string }{
	{"customframeoptionsvalue", "X-Frame-Options", ""},
	{"framedeny", "X-Frame-Options", "DENY"},
	{"contenttypenosniff", "X-Content-Type-Options", "nosniff"},
	{"custombrowserxssvalue", "X-XSS-Protection", ""},
	{"browserxssfilter", "X-XSS-Protection", "1; mode=block"},
	{"contentsecuritypolicy", "Content-Security-Policy", ""},
	{"contentsecuritypolicyreportonly", "Content-Security-Policy-Report-Only", ""},
	{"referrerpolicy", "Referrer-Policy", ""},
	{"permissionspolicy", "Permissions-Policy", ""},
}

// headers translates the middleware that sets fields.
func (a *reply) headers(n *node) (why string) {
	for _, c := range n.members("customrequestheaders") {
		c.used = true
		a.request(nil, c.name, plan.Text(c.text))
	}
	for _, c := range n.members("customresponseheaders") {
		c.used = true
		a.answer(c.name, plan.Text(c.text))
	}
	for _, f := range secureFields {
		switch text := n.str(f.key); {
		case f.value == "" && text != "":
			a.answer(f.name, plan.Text(text))
		case f.value != "" && text == "true":
			a.answer(f.name, f.value)
		}
	}
	value := "max-age=" + n.str("stsseconds")
	for _, more := range []string{"includeSubDomains", "preload"} {
		if n.truth("sts" + more) {
			value += "; " + more
		}
	}
	seconds, _ := n.number("stsseconds")
	if always := n.truth("forcestsheader"); seconds > 0 && (a.e.secure || always) {
		a.answer("Strict-Transport-Security", value)
	}
	if n.truth("sslredirect") && !a.e.secure {
		a.away(n.get("sslredirect"), plan.Always, "https://{host}{path}", true)
	}
	a.share(n)
	return ""
}

// share writes the filter that lets pages of other sites read answers, where edge takes it: another one would close
// the route.
func (a *reply) share(n *node) {
	keys := a.im.settings(n)
	if age, ok := plan.ParseTime(n.str("accesscontrolmaxage"), time.Second); ok {
		keys = append(keys, plan.Setting{Name: "max_age", Value: plan.Duration(min(age, 24*time.Hour))})
	}
	text := "[filters.a]\ntype = \"cors\"\n"
	for _, k := range keys {
		text += k.Name + " = " + k.Value + "\n"
	}
	if n.has("accesscontrolalloworiginlist") && plan.TextOnly([]byte(text)).OK() {
		a.pass("", "cors", keys...)
		return
	}
	for _, k := range keys {
		a.im.Lose(cmp.Or(k.At, n.at), k.Name+" of "+n.path, "see the type cors of filters, which lists origins, and "+
			"with credentials methods and fields too")
	}
}
