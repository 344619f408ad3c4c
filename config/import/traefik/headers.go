package traefik

import (
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// secureFields are fields of answers for which Traefik has a key each. A key whose row has a value is true or false,
// and true sends that value; any other key has the value itself.
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
	{"featurepolicy", "Feature-Policy", ""},
	{"publickey", "Public-Key-Pins", ""},
}

// headers translates the middleware that sets fields.
func (a *reply) headers(n *node) {
	development := n.truth("isdevelopment")
	for _, c := range n.members("customrequestheaders") {
		c.used = true
		a.from = append(a.from, c.at)
		a.setRequest(c.name, c.text)
	}
	for _, c := range n.members("customresponseheaders") {
		c.used = true
		a.from = append(a.from, c.at)
		a.setResponse(c.name, c.text)
	}
	for _, f := range secureFields {
		c := n.get(f.key)
		if c == nil {
			continue
		}
		a.from = append(a.from, c.at)
		value := f.value
		if value == "" {
			value = c.text
		} else if c.text != "true" {
			value = ""
		}
		if value != "" && (!development || !strings.HasPrefix(f.name, "Public")) {
			a.setResponse(f.name, value)
		}
	}
	a.strictTransport(n, development)
	for _, key := range []string{"sslredirect", "ssltemporaryredirect"} {
		if c := n.get(key); c != nil {
			a.from = append(a.from, c.at)
			if c.text == "true" && key == "sslredirect" && !development && !a.e.secure {
				a.away(c, "https://{host}{path}", !n.truth("ssltemporaryredirect"))
			}
		}
	}
	for _, c := range n.list {
		switch name := strings.ToLower(c.name); {
		case strings.HasPrefix(name, "accesscontrol") || name == "addvaryheader":
			a.im.lose(c, "edge answers no preflight requests in this version; fields that are always the same go into "+
				"headers.response of routes")
		case name == "allowedhosts":
			a.im.lose(c, "edge takes the hosts that routes name")
		case name == "hostsproxyheaders" || name == "sslproxyheaders":
			a.im.lose(c, "see trusted_proxies of listeners")
		case name == "sslhost" || name == "sslforcehost":
			a.im.lose(c, "see redirect of routes")
		case !c.used && !c.branch():
			a.im.lose(c, "edge does not know it")
		}
	}
}

// strictTransport writes Strict-Transport-Security, which is for answers over TLS.
func (a *reply) strictTransport(n *node, development bool) {
	seconds, ok := n.number("stsseconds")
	var from []plan.Place
	for _, key := range []string{"stsseconds", "stsincludesubdomains", "stspreload", "forcestsheader",
		"isdevelopment"} {
		if c := n.get(key); c != nil {
			from = append(from, c.at)
		}
	}
	a.from = append(a.from, from...)
	if !ok || seconds <= 0 || development || !a.e.secure && !n.truth("forcestsheader") {
		return
	}
	value := "max-age=" + strconv.FormatInt(seconds, 10)
	if n.truth("stsincludesubdomains") {
		value += "; includeSubDomains"
	}
	if n.truth("stspreload") {
		value += "; preload"
	}
	a.setResponse("Strict-Transport-Security", value)
}
