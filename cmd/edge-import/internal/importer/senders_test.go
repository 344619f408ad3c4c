package importer_test

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
)

// everybody is from of a listener whose program believes each sender of the PROXY protocol.
const everybody = `proxy_protocol.from = ["0.0.0.0/0", "::/0", "unix"]`

// nameThem ends the note about everybody.
const nameThem = "(anybody who reaches the listener can claim any address: name load balancers in proxy_protocol.from)"

// Headers of the PROXY protocol are read of the peers that nginx believes. Clients that it knows by another address
// than edge does are not let in by their addresses.
func TestNginx_loadBalancers(t *testing.T) {
	const told, nets = "real_ip_header proxy_protocol; ", "set_real_ip_from 10.0.0.0/8; "
	const from = `proxy_protocol.from = ["10.0.0.0/8"] proxy_protocol.required = true`
	const asked, closed = `'client.ip not in {192.0.2.0/24}'`, "is guarded otherwise [[routes.rules]] deny = 403"
	const address = "not carried: the addresses of clients (the PROXY protocol tells them"
	for text, want := range map[string][]string{
		"listen 80 proxy_protocol; " + nets + told:                       {from, asked},
		"listen 80 proxy_protocol; " + nets:                              {from, "trusted_proxies", closed, address},
		"listen 80 proxy_protocol; " + nets + "real_ip_header X;":        {from, closed, address, "and Forwarded"},
		"listen 80 proxy_protocol; " + told:                              {everybody, nameThem, closed, address},
		"listen 80 proxy_protocol;":                                      {everybody, nameThem, closed, address},
		"listen unix:/s proxy_protocol; set_real_ip_from unix:; " + told: {`proxy_protocol.from = ["unix"]`, asked},
		"listen 80; listen [::]:80 proxy_protocol; " + nets + told:       {`"0.0.0.0:80"`, `"[::]:80"`, from, asked},
		"listen 80; listen [::]:80; " + nets + told:                      {`listen = ":80"`, asked},
		"listen 80 proxy_protocol; " + nets + told + "if ($proxy_protocol_addr = ::1) { return 403; }": {
			"[[rules]] deny = 403", "not carried: if ($proxy_protocol_addr = ::1)"},
		"listen 80 proxy_protocol; " + nets + told + "} geo $proxy_protocol_addr $in { 10.0.0.0/8 1; } server { " +
			"listen 81; if ($in) { return 403; }": {`listener == "http-81"' deny = 403`},
		"listen 80 proxy_protocol; " + nets + told + "} server { listen 80; server_name b.test; " + nets: {
			from, `host = "b.test" path = "/*"`, closed},
	} {
		p := planOf(t, "nginx", "http { server { "+text+" location / { allow 192.0.2.0/24; deny all; "+
			"proxy_pass http://127.0.0.1:9000; } } }")
		wantAll(t, text, p, want)
		out := string(p.Text(func([]byte) *config.Report { return &config.Report{} }))
		if strings.Contains(text, told) && strings.Contains(out, "trusted_proxies") {
			t.Errorf("%s: networks of load balancers are trusted to name clients in fields:\n%s", text, out)
		}
	}
}

// Headers of the PROXY protocol are read of all peers of a bind line, or of the networks that a frontend expects.
func TestHAProxy_loadBalancers(t *testing.T) {
	const front = "listen f\n mode http\n bind :80\n server s 127.0.0.1:1\n "
	const expect = "tcp-request connection expect-proxy layer4"
	const note = "note: bind :81 accept-proxy " + nameThem
	for lines, want := range map[string][]string{
		"bind :81 accept-proxy": {`name = "f" listen = "0.0.0.0:80" `, note,
			`name = "f-proxied" listen = "0.0.0.0:81" ` + everybody + " proxy_protocol.required = true"},
		"bind :81 ssl crt a.pem accept-proxy": {`name = "f-tls" listen = "0.0.0.0:81" tls = true`, everybody},
		expect:                                {everybody + " proxy_protocol.required = true", "note: " + expect},
		expect + " if { src 10.0.0.0/8 192.0.2.7 }": {
			`listen = "0.0.0.0:80" proxy_protocol.from = ["10.0.0.0/8", "192.0.2.7"] #`},
		expect + " if { src 10.0.0.0/8 }\n " + expect + " if { src 192.0.2.7 }": {
			`proxy_protocol.from = ["10.0.0.0/8", "192.0.2.7"] #`},
		expect + " if !{ src 10.0.0.0/8 }":              {"not carried: " + expect},
		expect + " if { src 10.0.0.0/8 } { dst ::1 }":   {"not carried: " + expect},
		expect + " if { src 10.0.0.0/8 } or { rand 5 }": {"not carried: " + expect},
		"bind :81 accept-proxy\n tcp-request connection reject if { src 10.0.0.0/8 }\n " +
			"http-request deny if { src 192.0.2.7 }": {`when = 'socket.ip in {10.0.0.0/8}' drop = true`,
			`when = 'client.ip in {192.0.2.7}' deny = 403`},
		"default-server send-proxy": {"not carried: proxy_protocol = \"v1\""},
	} {
		wantAll(t, lines, planOf(t, "haproxy", front+lines+"\n"), want)
	}
}

// Headers of the PROXY protocol are read of the peers that an entry point trusts.
func TestTraefik_loadBalancers(t *testing.T) {
	const point = "note: entryPoints.web.proxyProtocol.insecure: true " + nameThem
	for text, want := range map[string][]string{
		"{trustedIPs: [10.0.0.0/8, 192.0.2.7]}": {`proxy_protocol.from = ["10.0.0.0/8", "192.0.2.7"] #`},
		"{trustedIPs: 10.0.0.0/8}":              {`proxy_protocol.from = "10.0.0.0/8" #`},
		"{insecure: true}":                      {everybody + " #", point},
		"{insecure: false}":                     {`listen = ":80" #`},
		"{odd: 1}":                              {"not carried: entryPoints.web.proxyProtocol ("},
	} {
		wantAll(t, text, planOf(t, "traefik", "entryPoints: {web: {address: ':80', proxyProtocol: "+text+"}}\n"+
			"http: {routers: {a: {rule: \"Host(`a.test`)\", service: s}}, "+
			"services: {s: {loadBalancer: {servers: [{url: 'http://127.0.0.1:9000'}]}}}}"), want)
	}
}

// Headers of the PROXY protocol are read of the peers that Caddy believes.
func TestCaddy_loadBalancers(t *testing.T) {
	const allow = "allow 10.0.0.0/8\n"
	const from, required = `proxy_protocol.from = ["10.0.0.0/8"]`, `proxy_protocol.required = true`
	for text, want := range map[string][]string{
		allow:                                    {from + " #"},
		allow + "allow private_ranges\n":         {`proxy_protocol.from = ["10.0.0.0/8", "192.168.0.0/16", `},
		allow + "fallback_policy REQUIRE\n":      {from + " " + required, "note: fallback_policy REQUIRE ("},
		allow + "fallback_policy skip\n":         {from + " #", "note: fallback_policy skip ("},
		allow + "deny 10.1.0.0/16\n":             {from, "not carried: deny 10.1.0.0/16 (leave"},
		allow + "timeout 2s\n":                   {from, "note: timeout 2s"},
		allow + "odd\n":                          {from, "not carried: odd"},
		"fallback_policy use\n":                  {everybody, nameThem},
		"fallback_policy require\n":              {everybody, required, nameThem},
		"timeout 2s\n":                           {`listen = ":80" #`, "not carried: proxy_protocol (no peer"},
		allow + "}\ntls\nhttp_redirect\nodd {\n": {from, "note: tls (", "carried: http_redirect", "carried: odd"},
	} {
		wantAll(t, text, planOf(t, "caddy", "{\nservers {\nlistener_wrappers {\nproxy_protocol {\n"+text+
			"}\n}\n}\n}\n:80 {\nreverse_proxy :1\n}\n"), want)
	}
}
