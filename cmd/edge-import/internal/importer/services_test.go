package importer_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// Sections about connections are services, unless these would lead or let in others than the program does. The files
// have what cannot be asked here: nginx may be built without stream.
func TestImport_services(t *testing.T) {
	becomeGolden(t, "haproxy/tcp.cfg", "haproxy/names.cfg", "nginx/stream.conf", "nginx/names.conf")
}

// becomeGolden compares what files become with a golden file beside each.
func becomeGolden(t *testing.T, files ...string) {
	t.Helper()
	for _, file := range files {
		program, _, _ := strings.Cut(file, "/")
		file = filepath.Join("testdata", file)
		golden(t, strings.TrimSuffix(file, filepath.Ext(file))+".golden", imported(t, &dialect{program: program}, file))
	}
}

// What a server of stream says that edge does not do closes it, or is among the findings.
func TestNginx_streams(t *testing.T) {
	const service = `[services.tcp-5432] listen = "0.0.0.0:5432" dest = "10.0.0.1:5432"`
	for text, want := range map[string][]string{
		"listen 5432; ":                                 {service},
		"listen 5432; proxy_protocol off; ":             {service, "note: proxy_protocol off"},
		"listen 5432; listen 5432 udp; ":                {service, "not carried: listen 5432 udp"},
		"listen 5432; proxy_timeout 90s; ":              {service + ` timeouts.idle = "90s"`},
		"listen 5432; proxy_protocol on; ":              {`dest = "10-0-0-1-5432"`, `proxy_protocol = "v1"`},
		"listen 5432; proxy_ssl on; ":                   {"tls.verify = false"},
		"listen 5432; proxy_ssl on; proxy_ssl_name a; ": {`tls.sni = "a"`},
		"listen 5432; listen 5433 proxy_protocol; ":     {service, "[services.tcp-5433]", everybody, nameThem},
		"listen 5432 ssl; ":                             {`tls = true cert = "internal"`, "without ssl_certificate"},
		"listen 5432; limit_conn a 1; ":                 {"not carried: limit_conn a 1", "not carried: listen 5432"},
		"listen 5432; ssl_preread off; ":                {service},
		"listen 5432; ssl_preread on; ":                 {"peek = true", `dest = "10.0.0.1:5432"`},
		"listen 5432 ssl; ssl_preread on; ":             {"not carried: listen 5432 ssl"},
		"listen 5432; allow 10.0.0.0/8; ":               {service},
		"listen 5432; deny 10.0.0.0/8; allow all; ":     {`'not (client.ip in {10.0.0.0/8})' dest = "10.0.0.1:5432"`},
		"listen 5432 proxy_protocol; deny 10.0.0.0/8; ": {"not carried: deny 10.0.0.0/8"},
		"listen 5432 ssl; server_name a.test; ":         {"not carried: listen 5432 ssl"},
		"listen 5432; include /no/such/file; ":          {"not carried: listen 5432"},
		"listen 1-9; ":                                  {"not carried: listen 1-9", "not carried: server ("},
		"listen 5432 ssl; ssl_verify_client on; ":       {"services.tcp-5432 of the result"},
		"listen 5432; proxy_pass $name; ":               {"not carried: listen 5432"},
		"listen 5432; proxy_pass 10.0.0.1:5432; }\nupstream unused { server a:1; }\nserver { listen 5433; ": {
			"note: upstream unused (no server that is carried names it)"},
	} {
		if !strings.Contains(text, "$") {
			text += "proxy_pass 10.0.0.1:5432; "
		}
		wantAll(t, text, planOf(t, "nginx", "stream { server { "+text+"} }"), want)
	}
}

// A limit_conn of stream by client is the number of its service. Any other one closes the server.
func TestNginx_streamClients(t *testing.T) {
	const closed, number = "not carried: listen 1", "limits.connections_per_client = 3"
	const network = "of addresses of IPv6 the first 64 bits count"
	server := func(port, lines string) string {
		return "server { listen " + port + "; proxy_pass 10.0.0.1:1; " + lines + "}\n"
	}
	for text, want := range map[string][]string{
		server("1", "limit_conn a 3;"):                           {number, network},
		server("1", "limit_conn b 3; limit_conn a 7;"):           {number, network},
		server("1", "limit_conn a 7; limit_conn b 3;"):           {number},
		"limit_conn b 3;\n" + server("1", ""):                    {number},
		"limit_conn named 3;\n" + server("1", "limit_conn a 3;"): {number, "not carried: limit_conn named 3"},
		server("1", "limit_conn named 3;"):                       {closed, "not carried: limit_conn named 3"},
		server("1", "limit_conn none 3;"):                        {closed},
		"limit_conn named 3;\n" + server("1", ""):                {closed, "not carried: limit_conn named 3"},
		server("1", "limit_conn a 0;"):                           {"not carried: limit_conn a 0 (edge does not know"},
		server("1", "limit_conn a 3; limit_conn_dry_run on;"):    {"note: limit_conn a 3 (nothing to write: nobody"},
		server("1", "limit_conn a 3;") + server("2", "limit_conn a 4;"): {number, "limits.connections_per_client = 4",
			"not carried: limit_conn a 4 (each service counts the connections of its clients for itself)"},
	} {
		got := planOf(t, "nginx", "stream { limit_conn_zone $binary_remote_addr zone=a:1m;\n"+
			"limit_conn_zone $remote_addr zone=b:1m;\nlimit_conn_zone $server_addr zone=named:1m;\n"+text+"}")
		wantAll(t, text, got, want)
		if strings.Contains(text, "dry_run") && strings.Contains(string(got.Text(plan.TextOnly)), number) {
			t.Error("nobody is refused there")
		}
	}
}

// What a section of HAProxy about connections says is in its services and their upstream, or closes it.
func TestHAProxy_services(t *testing.T) {
	const service = `[services.f] listen = "0.0.0.0:1" dest = "f"`
	for lines, want := range map[string][]string{
		"":                                  {service},
		"mode http":                         {`name = "f"`, "[[routes]]"},
		"mode health":                       {"not carried: bind :1 (edge import carries HTTP and TCP alone)"},
		"timeout client 2s":                 {service + ` timeouts.idle = "2s"`},
		"timeout tunnel 1h":                 {service + ` timeouts.idle = "1h"`},
		"timeout client 0":                  {service + " #", `timeouts.idle = "0s" (edge says`},
		"balance source":                    {`load_balancing = "ketama"`, "note: balance source"},
		"balance hdr(X)":                    {`load_balancing = "round_robin"`, "not carried: balance hdr(X)"},
		"default-server send-proxy":         {`proxy_protocol = "v1"`},
		"default-server send-proxy-v2":      {`proxy_protocol = "v2"`},
		"server t 10.0.0.1:2 send-proxy-v2": {`proxy_protocol = "v2"`},
		"use-server s if { src ::1 }":       {"not carried: bind :1"},
		"default_backend gone":              {"not carried: bind :1 (it leads to no backend"},
		"default_backend web":               {"not carried: bind :1 (it leads to no backend"},
		"tcp-request content silent-drop":   {"not carried: services.f of the result"},
		"tcp-request content reject if { src ::1 }": {
			"[services.f] listen = ", `when = 'not (client.ip in {::1})' dest = "f"`},
		strings.Repeat("tcp-request content reject if { src ::1 }\n ", 60): {
			"too many lines close connections", "services.f of the result"},
		"use_backend f if { path /x }": {
			"services.f of the result", "services.f.routes of the result"},
		"tcp-request connection expect-proxy layer4 if { src ::1 }": {`proxy_protocol.from = ["::1"]`},
		"bind :2 ssl crt a.pem verify required":                     {"services.f-tls of the result"},
	} {
		wantAll(t, lines, planOf(t, "haproxy", "listen f\n bind :1\n server s 10.0.0.1:1\n "+lines+
			"\nbackend web\n mode http\n server w 127.0.0.1:3\n"), want)
	}
}

// Routers of Traefik for connections are routes of a service, or rules on handshakes of a listener. What edge cannot
// tell apart closes connections, or is among the findings.
func TestTraefik_connections(t *testing.T) {
	router := func(name, rule, more string) string {
		return "    " + name + ": {rule: '" + rule + "', entryPoints: [e], service: " + name + more + "}\n"
	}
	const pass, ends, star = ", tls: {passthrough: true}", ", tls: {}", "HostSNI(`*`)"
	const beside = "http:\n  routers:\n    h: {rule: Host(`h.test`), entryPoints: [e], service: h, tls: {}}\n"
	for text, want := range map[string][]string{
		router("a", star, ""):                      {`[services.e] listen = ":9443" dest = "a"`},
		router("a", star, pass):                    {`[services.e] listen = ":9443" peek = true dest = "a"`},
		router("a", star, ends):                    {`tls = true cert = "internal" dest = "a"`},
		router("a", "Odd(`x`)", ""):                {"not carried: router a (edge does not know all of the rule"},
		router("a", "(", ""):                       {"not carried: tcp.routers.a.rule"},
		router("z", star, ""):                      {"the service of router z (there is none: connections are closed)"},
		router("a", star, ", middlewares: [gone]"): {"services.e of the result"},
		router("a", star, ", middlewares: [odd]"):  {"services.e of the result", "what it guards is closed"},
		router("a", star, ", middlewares: [few]"):  {"limits.connections_per_client = 7"},
		router("a", star, "") + router("b", "HostSNI(`b.test`)", pass): {
			`when = 'tls.sni == "b.test"' dest = "b"`, `when = 'not (has(tls.sni))' dest = "a"`,
			"not carried: router a (edge knows TLS by the name"},
		router("a", star, pass) + router("b", "HostSNI(`b.test`)", ends): {
			`when = 'not (tls.sni == "b.test")' dest = "a"`,
			"not carried: router b (a service ends TLS, or passes it on: its connections are closed)"},
		router("a", star, pass+", middlewares: [few]") + router("b", "HostSNI(`b.test`)", pass): {
			"not carried: tcp.middlewares.few.inflightconn"},
		router("a", star, pass) + beside: {
			"note: router a (routers for requests take all names)", `[[routes]] host = "h.test"`},
		router("a", "ALPN(`x`)", pass) + beside: {
			`[[tls.rules]] when = 'not (tls.sni == "h.test") and tls.alpn == "x"' dest = "a"`},
		router("a", "HostSNI(`h.test`)", pass) + beside: {"note: router a (routers for requests take"},
		router("a", star, "") + router("b", "HostSNI(`b.test`)", ends): {
			`when = 'tls.sni == "b.test"' dest = "b"`, "not carried: router a (its connections have no TLS"},
		router("a", star, ends) + beside: {"not carried: router a (a listener for requests passes on"},
		router("a", star, pass) + strings.Replace(beside, "Host(`h.test`)", "PathPrefix(`/`)", 1): {
			"note: router a (routers for requests take all names)"},
		router("a", "HostSNI(`a.test`)", pass+", middlewares: [inside]") + beside: {
			`'tls.sni == "a.test" and client.ip in {10.0.0.0/8}' dest = "a"`,
			`[[tls.rules]] when = 'tls.sni == "a.test"' deny = true`},
	} {
		text = "entryPoints: {e: {address: ':9443'}}\ntcp:\n  middlewares:\n    odd: {plugin: {x: 1}}\n" +
			"    few: {inflightconn: {amount: 7}}\n    inside: {ipallowlist: {sourcerange: [10.0.0.0/8]}}\n" +
			"  services:\n    a: {loadbalancer: {servers: [{address: '10.0.0.1:1'}]}}\n" +
			"    b: {loadbalancer: {servers: [{address: '10.0.0.2:1'}]}}\n  routers:\n" + text
		wantAll(t, text, planOf(t, "traefik", text), want)
	}
}

// Labels of containers may be about connections too.
func TestTraefik_connectionsOfContainers(t *testing.T) {
	wantAll(t, "labels", planOf(t, "traefik", "services:\n  traefik:\n    image: traefik:v3\n    command:\n"+
		"      - --entrypoints.db.address=:5432\n  pg:\n    image: postgres\n    expose: [5432]\n    labels:\n"+
		"      - traefik.tcp.routers.pg.rule=HostSNI(`pg.test`)\n      - traefik.tcp.routers.pg.entrypoints=db\n"+
		"      - traefik.tcp.routers.pg.tls.passthrough=true\n"), []string{
		`[services.db] listen = ":5432" peek = true starttls = "postgres"`,
		`when = 'tls.sni == "pg.test"' dest = "pg"`, `address = "pg:5432"`})
}
