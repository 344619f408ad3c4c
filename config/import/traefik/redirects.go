package traefik

import (
	"fmt"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// redirection sends all requests to another scheme or port.
type redirection struct {
	scheme, port string
	permanent    bool
	at           *node
}

// away answers a request with a redirect.
func (a *reply) away(n *node, to string, permanent bool) {
	if a.moved {
		a.im.Lose(n.at, n.words(), "it comes after a change of the path: edge redirects by the path of the client")
	}
	status, other := "307", "302"
	if permanent {
		status, other = "308", "301"
	}
	a.im.Note(n.at, n.words(), "the status is "+status+"; Traefik answers GET with "+other)
	a.answer(plan.Field{Name: "redirect", Value: "{ to = " + plan.String(to) + ", status = " + status + " }"})
}

// answer sets what answers a request, unless an earlier middleware has.
func (a *reply) answer(keys ...plan.Field) {
	if a.answered == nil {
		a.answered = keys
	}
}

// scheme returns the scheme of the requests.
func (a *reply) scheme() string {
	if a.e.secure {
		return "https"
	}
	return "http"
}

func (a *reply) toScheme(r *redirection) {
	usual := map[string]string{"http": "80", "https": "443"}[r.scheme]
	if r.scheme == a.scheme() && (r.port == "" && a.e.port == usual || r.port == a.e.port) {
		return
	}
	if usual == "" {
		a.im.Lose(r.at.at, r.at.words(), "edge redirects to http and https")
		return
	}
	port := ""
	if r.port != "" && r.port != usual {
		port = ":" + r.port
	}
	a.away(r.at, r.scheme+"://{host}"+port+"{path}", r.permanent)
}

func (a *reply) redirectScheme(n *node) {
	scheme := n.get("scheme")
	if scheme == nil {
		return
	}
	a.from = append(a.from, n.places()...)
	a.toScheme(&redirection{strings.ToLower(scheme.text), n.str("port"), n.truth("permanent"), scheme})
}

// move is a redirectRegex that edge can do.
type move struct {
	schemes string // "http", "https" or "" for both
	host    string // "" is any
	www     bool   // from www.HOST to HOST
	path    string // what paths begin with
	alone   bool   // that path alone
	to      string // what stands before the rest of the path, or the whole
	rest    bool   // the rest of the path follows
}

var (
	moveFrom = plan.Expr(`^\^?(https\?|http|https|\(\?:https\?\)|\(\?:http\|https\))://` +
		`([A-Za-z0-9.\\_-]+?|\[\^/\]\+|\.\+|\.\*)((?:/[A-Za-z0-9_.\\~-]*)*)(\(\.[*+]\)|\.[*+]|\(/\.[*+]\))?(\$?)$`)
	moveWWW = plan.Expr(`^\^?(https\?|http|https|\(\?:https\?\))://www\\?\.\((?:\.[*+]|\[\^/\]\+)\)\$?$`)
	moveTo  = plan.Expr(`^(https?://[A-Za-z0-9._:-]+(?:/[A-Za-z0-9_.~/-]*)?)(\$1|\$\{1\})?$`)
	bareTo  = plan.Expr(`^(https?://)(\$1|\$\{1\})$`)
)

// parseMove reads a redirectRegex; nil where edge cannot do it.
func parseMove(n *node) *move {
	regex, to := n.str("regex"), n.str("replacement")
	schemes := map[string]string{"http": "http", "https": "https"}
	if g := moveWWW().FindStringSubmatch(regex); g != nil {
		if t := bareTo().FindStringSubmatch(to); t != nil {
			return &move{schemes: schemes[g[1]], www: true, to: t[1], rest: true}
		}
		return nil
	}
	f, t := moveFrom().FindStringSubmatch(regex), moveTo().FindStringSubmatch(to)
	if f == nil || t == nil {
		return nil
	}
	m := &move{schemes: schemes[f[1]], path: plainText(f[3]), to: t[1]}
	if strings.ContainsAny(f[2], "[+*") {
		if f[2] != "[^/]+" && f[3] == "" {
			return nil // it takes the path as well
		}
	} else if m.host = strings.ToLower(plainText(f[2])); m.host != strings.Trim(m.host, ".-") {
		return nil
	}
	switch group := f[4]; {
	case group == "" && f[5] == "$":
		m.alone = true
		return m.valid(t[2] == "")
	case group == "":
		m.rest = true // what the expression does not match stays
		return m.valid(t[2] == "")
	case strings.HasPrefix(group, "("):
		m.rest = t[2] != ""
		if strings.HasPrefix(group, "(/") && m.rest {
			return m.valid(!strings.HasSuffix(m.path, "/") && !strings.HasSuffix(m.to, "/"))
		}
		return m.valid(true)
	}
	return m.valid(t[2] == "")
}

// valid returns m where ok is set, and the beginning of the path and what takes its place both end in a slash or both
// do not; else nil.
func (m *move) valid(ok bool) *move {
	if !ok || m.rest && strings.HasSuffix(m.path, "/") != strings.HasSuffix(m.to, "/") {
		return nil
	}
	return m
}

// plainText returns a text of an expression without backslashes.
func plainText(s string) string { return strings.ReplaceAll(s, `\`, "") }

func (a *reply) redirectExpression(n *node) {
	regex := n.get("regex")
	if regex == nil || !n.has("replacement") {
		return
	}
	a.from = append(a.from, n.places()...)
	n.walk(func(c *node) { c.used = true })
	m := parseMove(n)
	if m == nil {
		a.im.Lose(regex.at, regex.words(), "edge redirects by host and by the beginning of a path; requests go on to "+
			"the service")
		return
	}
	if m.schemes != "" && m.schemes != a.scheme() {
		return
	}
	host := a.cell.host
	if m.www {
		bare, found := strings.CutPrefix(host, "www.")
		if host == "" || strings.HasPrefix(host, "*") {
			a.im.Lose(regex.at, "a part of "+regex.words(), "edge redirects hosts that a route names")
		}
		if found {
			a.away(regex, m.to+bare+"{path}", n.truth("permanent"))
		}
		return
	}
	if m.host != "" && host != m.host || m.path != "" && m.path != "/" && !a.begins(m.path) {
		return
	}
	if to := a.target(m); to != a.scheme()+"://"+host+"{path}" {
		a.away(regex, to, n.truth("permanent"))
	}
}

// target returns where a redirect leads.
func (a *reply) target(m *move) string {
	if !m.rest {
		if m.alone {
			return m.to
		}
		return m.to + "?"
	}
	to, short := strings.TrimRight(m.to, "/"), strings.TrimRight(m.path, "/")
	if short == "" {
		return to + "{path}"
	}
	more := strings.TrimPrefix(a.cell.base(), short)
	if a.exact {
		return to + more
	}
	return fmt.Sprintf("%s%s{rest}", to, more)
}
