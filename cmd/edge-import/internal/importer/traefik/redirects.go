package traefik

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// away answers with a redirect the requests of a router for which a condition holds too.
func (a *reply) away(n *node, when *plan.Cond, to string, permanent bool) {
	status, other := 307, 302
	if permanent {
		status, other = 308, 301
	}
	a.im.Note(n.at, n.words(), fmt.Sprintf("the status is %d; Traefik answers GET with %d", status, other))
	when = plan.All(when, a.r.when)
	if when.String() == a.r.when.String() {
		a.finish(plan.Redirect(to, status))
		return
	}
	t := &plan.Target{Name: a.m.name, Steps: a.passed(), End: plan.Redirect(to, status), From: a.from}
	a.forks = append(a.forks, plan.Branch{When: when, To: a.im.same(t), What: n.words(),
		From: append([]plan.Place{n.at}, a.r.places()...)})
}

func (a *reply) scheme() string {
	if a.e.secure {
		return "https"
	}
	return "http"
}

// redirectScheme redirects to another scheme or port.
func (a *reply) redirectScheme(n *node) (why string) {
	scheme, port := strings.ToLower(n.str("scheme")), n.str("port")
	usual := map[string]string{"http": "80", "https": "443"}[scheme]
	switch {
	case usual == "":
		return "edge redirects to http and https"
	case scheme != a.scheme() || cmp.Or(port, usual) != a.e.port:
		if port = ":" + port; port == ":" || port == ":"+usual {
			port = ""
		}
		a.away(n.get("scheme"), plan.Always, scheme+"://{host}"+port+"{path}", n.truth("permanent"))
	}
	return ""
}

var (
	// moveFrom splits an expression for URLs: whether a group begins it, the scheme, the host, and what comes after.
	moveFrom = plan.Expr(`^\^?(\(?)(https?|https\?|\(\?:https\?\)|\(\?:http\|https\))://` +
		`(www\\?\.\((?:\.[*+]|\[\^/\]\+)\)|\[\^/\]\+|[A-Za-z0-9.\\_-]+)([/($].*)?$`)
	moveTo = plan.Expr(`^(https?://[A-Za-z0-9._:-]*)([^?#{}]*)$`)
)

// redirectExpression translates a redirectRegex: by the host, and by an expression for the path. The
// replacement names the groups of the expression for the path.
func (a *reply) redirectExpression(n *node) (why string) {
	const lost = "edge redirects by the host and by an expression for the path; requests go on to the service"
	regex, to := n.get("regex"), braced().ReplaceAllString(n.str("replacement"), "$$$1")
	f, t := moveFrom().FindStringSubmatch(n.str("regex")), moveTo().FindStringSubmatch(to)
	permanent, when := n.truth("permanent"), plan.Always
	switch {
	case f == nil || strings.Contains(f[4], `\?`):
		return lost
	case strings.HasSuffix(f[2], "http") && a.e.secure || strings.HasSuffix(f[2], "https") && !a.e.secure:
		return ""
	case f[1] != "" && strings.HasPrefix(to, "$1") && !strings.ContainsAny(to, "?#{}"):
		t = []string{"", a.scheme() + "://{host}", to}
	case t == nil || f[1] != "" || strings.HasSuffix(t[1], "/") != strings.HasSuffix(f[3], ")") ||
		strings.HasSuffix(f[3], ")") && (t[2] != "$1" || strings.Trim(f[4], "$") != ""):
		return lost
	case strings.HasSuffix(f[3], ")"):
		for _, host := range a.r.rule.hosts() {
			if bare, found := strings.CutPrefix(host, "www."); found {
				a.away(regex, plan.HostIs(host), t[1]+bare+"{path}", permanent)
			}
		}
		return ""
	}
	host := "{host}"
	if f[3] != "[^/]+" {
		host = strings.ToLower(strings.ReplaceAll(f[3], `\`, ""))
		when = plan.HostIs(host)
	}
	text, whole := strings.CutSuffix(f[1]+f[4], "$")
	re, err := regexp.Compile("^" + text)
	if _, ok := plan.Quote(text + t[2]); err != nil || !ok {
		return lost
	}
	put, query, last := t[2], "", "$"+strconv.Itoa(re.NumSubexp())
	switch open := strings.HasSuffix(text, ".*)") || strings.HasSuffix(text, ".+)"); {
	case open && strings.HasSuffix(put, last): // the query is in the last group
	case open || strings.HasSuffix(text, ".*") || strings.HasSuffix(text, ".+"):
		query = "?"
	case whole:
		text, when = text+"$", plan.All(when, plan.Test(`query == ""`))
	default: // what the expression does not match stays
		text, put = text+"(.*)", put+"$"+strconv.Itoa(re.NumSubexp()+1)
	}
	all := slices.Contains([]string{"/(.*)", "(.*)", "/.*", ".*"}, text)
	quoted, _ := plan.Quote("^" + text)
	replaced, _ := plan.Quote(put)
	switch {
	case all && put == strings.Replace(text, "(.*)", "$1", 1):
		put = "{" + a.path + "}"
	case strings.Contains(put, "$") && len(a.passed()) > 0: // a label stands between the condition and the redirect
		put = "{re_replace(" + a.path + ", " + quoted + ", " + replaced + ")}"
	default:
		put = groups().ReplaceAllString(put, "{match.$1}")
	}
	if !all || strings.Contains(put, "match") {
		when = plan.All(when, plan.Test(a.path+" ~ "+quoted))
	}
	if to = t[1] + put + query; to != a.scheme()+"://"+host+"{path}" {
		a.away(regex, when, to, permanent)
	}
	return ""
}

// groups matches groups of an expression, in the text that takes the place of its match.
var groups = plan.Expr(`\$(\d)`)
