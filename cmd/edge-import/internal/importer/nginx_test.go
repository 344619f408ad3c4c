package importer_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// leftOut are lines that nginx does not start with on this machine. A socket for each worker needs the workers.
const leftOut = `(?m)^\s*(include (/config|fastcgi)|ssl_dhparam|worker_processes)[^;]*;`

// Every file of testdata/nginx does here what nginx does with it, but for what its golden file lists.
func TestNginx_answersAreTheSame(t *testing.T) { compare(t, nginxDialect(t)) }

func nginxDialect(t *testing.T) *dialect {
	binary := testutil.Nginx(t)
	return &dialect{
		program: "nginx", pattern: "[0-9]*.conf",
		listen:  regexp.MustCompile(`\blisten\s+(?:\[::\]:|[\d.]+:|\*:)?(\d+)`),
		backend: regexp.MustCompile(`(?:\bserver\s+|proxy_pass\s+https?://)((?:localhost|[\d.]+):\d+)`),
		files:   regexp.MustCompile(`ssl_certificate(?:_key)?\s+([^;]+)`),
		paths:   regexp.MustCompile(`location\s+(?:=\s+|\^~\s+)?(/[^\s{]*)`),
		hosts:   regexp.MustCompile(`server_name\s+([^;]+)`),
		start: func(t *testing.T, dir, text string) {
			text = strings.Replace(text, "http {", "http { client_body_temp_path t1; proxy_temp_path t2; "+
				"fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;", 1)
			text = withoutUser.ReplaceAllString(text, "")
			text = regexp.MustCompile(leftOut).ReplaceAllString(text, "")
			path := filepath.Join(dir, "main.conf")
			write(t, path, text)
			main := "daemon off; master_process off; error_log stderr warn; pid " + dir + "/nginx.pid;"
			testutil.Start(t, testutil.Command{Path: binary, Dir: dir,
				Args: []string{"-p", dir, "-c", path, "-e", "stderr", "-g", main}})
		},
	}
}

// What edge cannot ask of requests keeps all of them from their backend.
func TestNginx_whatRefusesStaysClosed(t *testing.T) {
	for name, body := range map[string]string{
		"an address of no kind": `location / { deny unix:; allow all; PASS }`,
		"proxies of one place":  `location / { set_real_ip_from 10.0.0.1; deny 192.0.2.7; PASS }`,
		"the last proxy alone": `set_real_ip_from 10.0.0.0/8; real_ip_header X-Forwarded-For;
			location / { allow 192.0.2.7; deny all; PASS }`,
		"users of no file":        `location / { auth_basic x; auth_basic_user_file none; PASS }`,
		"users of a variable":     `location / { auth_basic x; auth_basic_user_file $host; PASS }`,
		"users that are lost":     `location / { auth_basic x; auth_basic_user_file f; PASS }`,
		"nobody inside everybody": `allow all; location / { deny all; PASS }`,
		"any of two":              `location / { satisfy any; allow 10.0.0.0/8; deny all; auth_basic x; PASS }`,
		"a module of others":      `location / { auth_pam x; PASS }`,
		"digest":                  `auth_digest x; location / { PASS }`,
		"a script":                `location / { access_by_lua 'x'; PASS }`,
		"a password by name":      `location / { try_files $uri @app; } location @app { auth_basic x; PASS }`,
		"nobody by name":          `location / { try_files $uri @app; } location @app { deny all; PASS }`,
		"a method by name": `location / { try_files $uri @a; }
			location @a { limit_except GET { deny all; } return 403; }`,
		"an answer by name":          `location / { try_files $uri @app; } location @app { return 403; PASS }`,
		"a password before the name": `location / { auth_basic x; try_files $uri @app; } location @app { PASS }`,
		"an address of if":           `location / { if ($geoip_country_code != DE) { return 403; } PASS }`,
		"an address led away":        `location / { if ($geoip_country_code != DE) { return 302 /no; } PASS }`,
		"an unknown expression":      `location / { if ($http_x !~ "^(?!a)b") { return 444; } PASS }`,
		"what follows": `location / { if ($geoip_city = "") { return 401; }
			if ($http_x = s) { return 200; } PASS }`,
		"an expression":             `location / { PASS } location ~ /\.(?<!a)git { deny all; }`,
		"an expression in any case": `location / { PASS } location ~* "^/.{4}/" { auth_basic x; PASS }`,
		"an expression that opens": `auth_basic x; location / { auth_basic off; PASS }
			location ~ \.php(?=x) { return 404; }`,
		"the answer of one": `location / { PASS } location ~ \.p.p$ { return 404; }`,
		"one before another": `location / { deny all; } location ~ \.(?=git) { deny all; }
			location ~ \.php$ { PASS }`,
		"an expression inside":     `location / { location ~ ^/.b { deny all; } PASS }`,
		"a file that is not there": `location / { include not-there; PASS }`,
		"a file of the server":     `include not-there; location / { PASS }`,
		"inside only":              `location / { internal; return 200; }`,
		"a script in a block":      "access_by_lua_block { -- don't {\n ngx.exit('}') } location / { PASS }",
		"some go on":               `location / { if ($http_x = s) { break; } return 403; PASS }`,
		"a list of addresses": `location / { if ($known = 0) { return 403; } PASS } }
			geo $known { include not-there; 10.0.0.0/8 1;`,
		"files that a script runs": `root /srv; location / { } location ~ \.(?!js)php$ { fastcgi_pass unix:/s; }`,
		"inside of inside":         `location / { internal; location /a { PASS } PASS }`,
		"a file of a map": `location / { if ($blocked) { return 403; } PASS } }
			map $http_x $blocked { default 0; include not-there;`,
	} {
		t.Run(name, func(t *testing.T) {
			text := "http { server { listen 8080; " +
				strings.ReplaceAll(body, "PASS", "proxy_pass http://127.0.0.1:9000;") + " } }"
			p := planOfFiles(t, "nginx", "f", text)
			result := string(p.Text(plan.TextOnly))
			always := regexp.MustCompile(`\[\[(?:routes\.)?rules\]\]\n(?:deny = 4\d\d|drop = true)\n`)
			all := always.MatchString(strings.Split(result, "[[routes]]")[0])
			for _, route := range strings.Split(result, "[[routes]]")[1:] {
				open := regexp.MustCompile(`(?m)^(?:redirect\s|dest\s+= "(?:http|static:|status:[1235]))`)
				if open.MatchString(route) && !all && !always.MatchString(route+"\n") {
					t.Errorf("%s\n%s", route, result)
				}
			}
			if p.Losses() == 0 && strings.Contains(result, "closed, since") {
				t.Error("no finding says that it is closed")
			}
		})
	}
}

// Refusals that edge asks for as nginx does are rules, in the order of nginx.
func TestNginx_refusalsInItsOrder(t *testing.T) {
	const merged = `re_replace(url_decode(path), "/+", "/")`
	for name, c := range map[string]struct {
		body string
		want []string
	}{
		"another one before it": {`location / { deny all; } location ^~ /x/ { deny all; } location ~ ^/x/y { PASS }`,
			[]string{`not (P starts_with "/x/") and P ~ "^/x/y"' set = { to = "x-y" }`,
				`when = 'P starts_with "/x/"' deny = 403`}},
		"the same path": {`location /x/ { PASS } location ~ ^/x/ { deny all; } location / { deny all; }`,
			[]string{`when = 'P ~ "^/x/"' deny = 403`}},
		"a certificate": {`location / { if ($ssl_client_s_dn != CN=a) { return 403; } PASS }`,
			[]string{`when = 'not (cert.subject == "CN=a")' dest = "status:403"`}},
		"a variable": {`set $ok 0; if ($http_x = s) { set $ok 1; }
			if ($ok = 0) { return 403; } location / { PASS }`,
			[]string{`[[rules]] set = { ok = "0" }`,
				`when = 'join(header.x, ", ") == "s"' set = { ok = "1" }`,
				`when = 'local.ok == "0"' dest = "status:403"`}},
		"the longer one beside it": {`location / { deny all; } location /a/ { location /a/b/c/ { PASS } }
			location /a/b/ { deny all; }`,
			[]string{`when = 'P starts_with "/a/b/"' deny = 403`}},
		"one beside the / of another": {`location = /a { deny all; } location / { location /a/ { PASS } }`,
			[]string{`when = 'P == "/a"' deny = 403`}},
		"by the name in one": {`location / { PASS } location ~ a$ { try_files $uri @a; }
			location @a { deny all; }`,
			[]string{`when = 'P ~ "a\n?$"' dest = "status:403"`}},
		"a path that edge has not": {`location / { PASS } location /a*b/ { deny all; }`,
			[]string{`when = 'P starts_with "/a*b/"' dest = "status:403"`}},
		"two answers in one if": {`if ($http_x = s) { rewrite ^/a$ /b permanent; return 403; }
			location / { PASS }`,
			[]string{`when = 'join(header.x, ", ") == "s"' dest = "status:403"`}},
	} {
		body := strings.ReplaceAll(c.body, "PASS", "proxy_pass http://127.0.0.1:9000;")
		for i := range c.want {
			c.want[i] = strings.Replace(c.want[i], "P ==", merged+" ==", 1)
			c.want[i] = strings.Replace(c.want[i], "P ~", merged+" ~", 1)
			c.want[i] = strings.Replace(c.want[i], "P starts_with", merged+" starts_with", 1)
		}
		wantAll(t, name, planOf(t, "nginx", "http { server { listen 8080; "+body+" } }"), c.want)
	}
}

// allow, deny, auth_basic and limit_req are filters, where those mean the same.
func TestNginx_filters(t *testing.T) {
	const users = "u:$2y$04$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy\n"
	for name, c := range map[string]struct{ body, want string }{
		"a password": {`auth_basic "The \"staff\""; auth_basic_user_file users;`,
			`[filters.users] type="basic_auth" file="users" realm="The \"staff\"" forward=true`},
		"an address and a password": {`deny 192.0.2.7; auth_basic x; auth_basic_user_file users;`,
			`[filters.users] type="basic_auth" file="users" realm="x" forward=true`},
		"an address or a password": {`satisfy any; deny 10.1.0.0/16; allow 10.0.0.0/8; deny all; auth_basic x;
			auth_basic_user_file users;`,
			`[filters.users] type="basic_auth" file="users" realm="x" forward=true ` +
				`when='client.ip in {10.1.0.0/16} or client.ip not in {10.0.0.0/8}'`},
		"a password for those that are not refused": {`satisfy any; deny 192.0.2.7; auth_basic x;
			auth_basic_user_file users;`, `[filters.users] type="basic_auth" file="users" realm="x" forward=true`},
		"a rate": {`limit_req zone=one;`,
			`[filters.one] type="rate_limit" rate="2/s" burst=1 status=503`},
		"a burst that waits": {`limit_req zone=one burst=5;`,
			`[filters.one] type="rate_limit" rate="2/s" burst=6 mode="delay" max_delay="2500ms" status=503`},
		"a burst that does not wait": {`limit_req zone=one burst=5 nodelay; limit_req_status 429;`,
			`[filters.one] type="rate_limit" rate="2/s" burst=6 status=429`},
		"the smallest burst of all": {`limit_req zone=one burst=5 nodelay;
			location /x/ { limit_req zone=one burst=2; }`,
			`[filters.one] type="rate_limit" rate="2/s" burst=3 mode="delay" max_delay="1s" status=503`},
		"by a field": {`limit_req zone=key;`,
			`[filters.key] type="rate_limit" key='{header.x-key}' rate="5/m" burst=1 status=503`},
		"by the name of the server": {`limit_req zone=here;`,
			`[filters.here-a-test] type="rate_limit" key='a.test {path}' rate="1/s" burst=1 status=503`},
	} {
		t.Run(name, func(t *testing.T) {
			text := "http { limit_req_zone $remote_addr zone=one:1m rate=2r/s; " +
				"limit_req_zone $http_x_key zone=key:1m rate=5r/m; " +
				"limit_req_zone '$server_name $uri' zone=here:1m rate=1r/s; " +
				"server { listen 8080; server_name a.test; " + c.body +
				" location / { proxy_pass http://127.0.0.1:9000; } } }"
			p := planOfFiles(t, "nginx", "f", text, "users", users)
			got := filtersOf(string(p.Text(plan.TextOnly)))
			if want := strings.Join(strings.Fields(c.want), " "); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// allow and deny are conditions, in their order.
func TestNginx_addresses(t *testing.T) {
	for rules, want := range map[string]string{
		`deny 192.0.2.7; allow all;`: `client.ip in {192.0.2.7}`,
		`allow 10.0.0.0/8; allow 2001:db8::1/32; deny all; allow 192.0.2.7;`: "" +
			`client.ip not in {10.0.0.0/8 2001:db8::/32}`,
		`deny 10.1.0.0/16; allow 10.0.0.0/8; deny all;`: `client.ip in {10.1.0.0/16} or ` +
			`client.ip not in {10.0.0.0/8}`,
		`allow 10.1.0.0/16; deny 10.0.0.0/8; deny 192.0.2.7;`: `client.ip not in {10.1.0.0/16} and ` +
			`(client.ip in {10.0.0.0/8 192.0.2.7})`,
		`allow 10.1.0.0/16; deny 10.0.0.0/8; allow 192.0.2.7; deny all;`: `client.ip not in {10.1.0.0/16} and ` +
			`(client.ip in {10.0.0.0/8} or client.ip not in {192.0.2.7})`,
	} {
		p := planOf(t, "nginx", "http { server { listen 8080; location / { "+rules+
			" proxy_pass http://127.0.0.1:9000; } } }")
		wantAll(t, rules, p, []string{`path = "/*" when = '` + want + `' dest = "status:403"`})
	}
}

// Tests of if are conditions in the language.
func TestNginx_tests(t *testing.T) {
	const (
		argA    = `query ~ "(?i)(?:^|&)a=([^&]*)"`
		cookieA = `join(header.cookie, ";") ~ "(?i)(?:^|;) *a *= *([^;]*)"`
	)
	for test, want := range map[string]string{
		`$remote_addr = 10.0.0.1`:          `text(client.ip) == "10.0.0.1"`,
		`$remote_addr != 10.0.0.1`:         `not (text(client.ip) == "10.0.0.1")`,
		`$remote_addr ~ "^10\."`:           `text(client.ip) ~ "^10\."`,
		`$cookie_a`:                        cookieA + ` and match.1 not in {"" "0"}`,
		`$cookie_a != b`:                   `not (` + cookieA + ` and match.1 == "b")`,
		`$arg_a`:                           argA + ` and match.1 not in {"" "0"}`,
		`$arg_a = 1`:                       argA + ` and match.1 == "1"`,
		`$arg_a = ""`:                      `not (` + argA + ` and match.1 != "")`,
		`$arg_a != ""`:                     argA + ` and match.1 != ""`,
		`$arg_a !~* x.`:                    `not (` + argA + ` and match.1 ~ "(?i)x.")`,
		`$http_x !~* "^S?$"`:               `not (join(header.x, ", ") ~ "(?i)^S?$")`,
		`$request_uri ~ "\.\."`:            `target ~ "\.\."`,
		`$ssl_client_verify != SUCCESS`:    `not (cert.verified)`,
		`$args ~* union`:                   `query ~ "(?i)union"`,
		`$request_method !~ ^(GE|HEA)[TD]`: `not (method ~ "^(GE|HEA)[TD]")`,
	} {
		p := planOf(t, "nginx", "http { server { listen 8080; location / { if ("+test+") { return 403; } "+
			"proxy_pass http://127.0.0.1:9000; } } }")
		wantAll(t, test, p, []string{`path = "/*" dest = "http://127.0.0.1:9000"`,
			`path = "/*" when = '` + want + `' dest = "status:403"`})
	}
}

// A log format is a line of the log, or a loss.
func TestNginx_logFormats(t *testing.T) {
	for format, want := range map[string]string{
		`'$remote_addr "$request" $status'`: `line = "{client.ip} \"{method} {target} {proto}\" {status}"`,
		`escape=json '$host$http_x'`:        `line = "{host}{header.x ?? \"-\"}"`,
		`'$host $connection_requests'`:      `format = "combined"`,
	} {
		p := planOf(t, "nginx", "http { log_format own "+format+
			"; access_log /dev/stdout own; server { listen 8080; } }")
		wantAll(t, format, p, []string{want})
		if lost := strings.HasPrefix(want, "format"); lost != (p.Losses() > 0) {
			t.Errorf("%s: %d losses", format, p.Losses())
		}
	}
}

// A time of one location stays there.
func TestNginx_timesOfOneLocation(t *testing.T) {
	p := planOf(t, "nginx", "http { server { listen 8080; location / { proxy_read_timeout 90s; "+
		"proxy_pass http://127.0.0.1:9000; } location /a/ { proxy_pass http://127.0.0.1:9001; } } }")
	wantAll(t, "times", p, []string{`path = "/*" dest = "http://127.0.0.1:9000" rewrite_location = true ` +
		`timeouts.first_byte = "90s" timeouts.read = "90s"`})
}

// filtersOf returns the tables of filters of a text, with single blanks, and fails where no route names one.
func filtersOf(text string) string {
	var list []string
	for _, block := range strings.Split(text, "\n\n") {
		_, table, found := strings.Cut(block, "\n[filters.")
		if found && strings.Contains(text, "\nfilters ") {
			list = append(list, "[filters."+regexp.MustCompile(`(?m)^(\w+) *= `).ReplaceAllString(table, "$1="))
		}
	}
	return strings.Join(strings.Fields(strings.Join(list, " ")), " ")
}

// A listener asks all clients for the same certificates: a server that asks for others is closed.
func TestNginx_serversThatAskForCertificates(t *testing.T) {
	const on = "ssl_verify_client on; ssl_client_certificate "
	for name, c := range map[string]struct {
		first, second, both string
		want                string // dest of the second server
	}{
		"the second alone":     {second: on + "a.pem;", want: "status:403"},
		"other authorities":    {first: on + "a.pem;", second: on + "b.pem;", want: "status:403"},
		"the same authorities": {first: on + "a.pem;", second: on + "a.pem;", want: "http://127.0.0.1:2"},
		"of both":              {both: on + "a.pem;", want: "http://127.0.0.1:2"},
		"with a list of lost":  {both: on + "a.pem; ssl_crl c.pem;", want: "status:403"},
		"the first alone":      {first: on + "a.pem;", want: "http://127.0.0.1:2"},
		"not of all":           {second: "ssl_verify_client optional;", want: "http://127.0.0.1:2"},
	} {
		t.Run(name, func(t *testing.T) {
			text := "http { " + c.both + " server { listen 443 ssl; server_name one.test; " + c.first +
				" location / { proxy_pass http://127.0.0.1:1; } }\nserver { listen 443 ssl; listen 80; " +
				"server_name two.test; " + c.second + " location / { proxy_pass http://127.0.0.1:2; } } }"
			p := planOfFiles(t, "nginx", "f", text)
			result := string(p.Text(func([]byte) *config.Report { return &config.Report{} }))
			for listener, want := range map[string]string{"https-443": c.want, "http-80": "http://127.0.0.1:2"} {
				led := regexp.MustCompile(`listener +=.*` + listener + `"\ndest +=.*"` + regexp.QuoteMeta(want) + `"`)
				if !slices.ContainsFunc(strings.Split(result, "[[routes]]"), func(block string) bool {
					return led.MatchString(block) && (listener == "http-80" || strings.Contains(block, `"two.test"`))
				}) {
					t.Errorf("two.test does not lead to %s by %s:\n%s", want, listener, result)
				}
			}
			if c.want == "status:403" && p.Losses() == 0 {
				t.Error("no finding says that it is closed")
			}
		})
	}
}

// Backends are reached as nginx reaches them, and each server has its certificate.
func TestNginx_backendsAndCertificates(t *testing.T) {
	for body, want := range map[string]string{
		`proxy_pass http://unix:/run/app.sock;`: `dest = "unix:/run/app.sock" rewrite_location = true ` +
			`headers.request = { Host = "localhost" }`,
		`grpc_pass 127.0.0.1:50051;`: `dest = "http://127.0.0.1:50051" grpc = true`,
		`proxy_ssl_verify on; proxy_ssl_trusted_certificate ca.pem; proxy_pass https://10.0.0.1;`: "" +
			`tls.verify = true tls.ca = "ca.pem"`,
		`proxy_pass http://127.0.0.1:1; } } server { listen 443 ssl; server_name b.test; ssl_certificate b.pem;
			ssl_certificate_key b.key; location / { proxy_pass http://127.0.0.1:2;`: `[[certificates]] ` +
			`hosts = "b.test" cert = "b.pem" key = "b.key"`,
		`proxy_pass http://127.0.0.1:1; proxy_set_header Host $host;`: `min_version = "1.1"`,
	} {
		p := planOf(t, "nginx", "http { server { listen 443 ssl; ssl_certificate a.pem; ssl_protocols TLSv1.2 "+
			"TLSv1.1; location / { "+body+" } } }")
		wantAll(t, body, p, []string{want})
	}
}

// HTTP/3 is a line of listen in nginx, and a protocol of the listener in edge.
func TestNginx_http3(t *testing.T) {
	const both = `protocols = ["h1", "h2", "h3"]`
	for lines, want := range map[string][]string{
		`listen 443 ssl; listen 443 quic reuseport;`: {`listen = "0.0.0.0:443" tls = true ` + both},
		`listen 443 quic; listen [::]:443 quic; listen 443 ssl; listen [::]:443 ssl; http3 on;`: {
			`listen = ":443" tls = true ` + both},
		`listen 443 quic; listen 443 ssl; listen [::]:443 ssl;`: {
			`listen = "0.0.0.0:443" tls = true ` + both, `listen = "[::]:443" tls = true cert = "a.pem"`},
		`listen 443 http3; listen 443 ssl;`: {both},
		`listen 443 quic;`:                  {`name = "https-443" listen = "0.0.0.0:443" tls = true ` + both},
		`listen 443 quic; listen 443 ssl; quic_retry on; http3_max_concurrent_streams 64;`: {
			both + ` h3.max_streams = 64 h3.retry = "always"`},
		`listen 443 quic; listen 443 ssl; http3 off;`: {`tls = true cert = "a.pem"`},
		`listen 443 quic; http3 off;`:                 {`tls = true cert = "a.pem"`},
		`listen 443 ssl; http3 on; quic_retry on;`:    {`tls = true cert = "a.pem"`, "note: http3 on (no server"},
		`listen 80; listen 80 quic;`:                  {"not carried: listen 80 quic (HTTP/3 needs TLS"},
	} {
		p := planOf(t, "nginx", "http { server { "+lines+" ssl_certificate a.pem; ssl_certificate_key a.key; "+
			"location / { proxy_pass http://127.0.0.1:9000; } } }")
		wantAll(t, lines, p, want)
	}
}

// Where nginx looks for a location once more, with the name of a file, edge serves no file that the other location may
// refuse.
func TestNginx_filesOfOtherLocations(t *testing.T) {
	const root = "http { server { listen 8080; root /srv; "
	for body, want := range map[string][]string{
		`location / { } location ~ \.html$ { auth_basic x; }`:                       {`index = []`},
		`location / { } location ~ \.html$ { expires 1h; }`:                         {`dest = "static:/srv"`},
		`location / { } location = /b/index.html { deny all; }`:                     {`index = []`},
		`location / { deny all; } location = /a/ { allow all; }`:                    {`index = []`},
		`location / { index home.htm; } location /b/home { deny all; }`:             {`index = []`},
		`location / { index home.htm; } location ~ \.(php|bak)$ { deny all; }`:      {`index = ["home.htm"]`},
		`location / { try_files $uri /s.html; } location = /s.html { internal; }`:   {`dest = "static:/srv"`},
		`location / { try_files $uri /s.html; } location = /s.html { expires -1; }`: {`try = ["{path}", "/s.html"]`},
		`location /a/ { alias /b/; autoindex on; try_files $uri /a/none.html; }`: {`root = "/b"`, `listing = true`,
			`try = ["{path}", "/none.html"]`, `rewrite.strip_prefix = "/a"`},
		`location /a { alias /b/; }`:     {"edge does not know the folder"},
		`location ~ ^/a { alias /b; }`:   {"edge does not know the folder"},
		`location / { expires @1h; }`:    {"edge does not know the time"},
		`location / { expires max; }`:    {`cache_control = { "*" = "max-age=315360000" }`},
		`charset koi8-r; location / { }`: {`charset = "koi8-r"`},
	} {
		wantAll(t, body, planOf(t, "nginx", root+body+" } }"), want)
	}
}

// A guard that is not carried closes a route by one rule, which an operator deletes: all else of the route is there.
func TestImport_closedRoutesAreWhole(t *testing.T) {
	const closed = "[[routes.rules]] deny = 403"
	wantAll(t, "nginx", planOf(t, "nginx", `http { server { listen 8080; server_name a.test; location /x/ {
		auth_request /ask; allow 10.0.0.0/8; deny all; proxy_set_header X-A b; proxy_read_timeout 7s;
		proxy_pass http://127.0.0.1:9000; } } }`), []string{closed, `dest = "http://127.0.0.1:9000"`, `X-A = "b"`,
		`timeouts.read = "7s"`, `client.ip not in {10.0.0.0/8}' deny = 403`, "delete this rule"})
	wantAll(t, "caddy", planOf(t, "caddy", "a.test:80 {\n handle /x/* {\n  forward_auth 127.0.0.1:9 {\n   uri /ask\n"+
		"  }\n  header X-A b\n  reverse_proxy 127.0.0.1:9000\n }\n}\n"),
		[]string{closed, `dest = "http://127.0.0.1:9000"`, `X-A = "b"`, "delete this rule"})
	wantAll(t, "traefik", planOf(t, "traefik", `{"http": {
		"routers": {"a": {"rule": "Host(`+"`a.test`"+`)", "middlewares": ["ask", "lan", "per"], "service": "s"}},
		"middlewares": {"ask": {"forwardAuth": {"address": "http://auth"}},
			"lan": {"ipAllowList": {"sourceRange": ["10.0.0.0/8"]}}, "per": {"rateLimit": {"average": 5}}},
		"services": {"s": {"loadBalancer": {"servers": [{"url": "http://127.0.0.1:9000"}]}}}}}`),
		[]string{closed, `host = "a.test"`, `dest = "s"`, `type = "ip"`, `type = "rate_limit"`,
			"delete this rule"})
}

// proxy_cache is cache of the route, with what it asks of times, keys and requests. Where edge lacks a part of the key,
// or does not know what is not to be stored, nothing is cached.
func TestNginx_caches(t *testing.T) {
	const none = "nothing is cached here"
	const paths = "proxy_cache_path /var/cache/nginx levels=1:2 keys_zone=z:10m max_size=1g inactive=60m; "
	for lines, want := range map[string][]string{
		"": {`cache = { heuristic_max = "0s", stale_on_error = "0s" }`, `disk of [cache]`},
		"proxy_cache_valid 200 302 10m; proxy_cache_valid 404 1m; proxy_cache_valid 200 1h;": {
			`ttl = { 200 = "600s", 302 = "600s", 404 = "60s" }`},
		"proxy_cache_valid 5m; proxy_ignore_headers Cache-Control;": {
			`ttl = { 200 = "300s", 301 = "300s", 302 = "300s" }`, `obey = "ttl"`},
		"proxy_cache_bypass $http_x $cookie_no; proxy_no_cache $arg_fresh;": {
			`[[routes.rules]] when = 'join(header.x, ", ") not in {"" "0"} or join(`, `cache = false`},
		"proxy_cache_use_stale error updating http_502; proxy_cache_lock on; proxy_cache_lock_timeout 2s;": {
			`stale_while = "1h", stale_on_error = "1h", lock_timeout = "2s"`},
		"proxy_cache_key $scheme$host$request_uri$cookie_lang;": {`cache = { key = ["`},
		"proxy_cache_key $host$uri$jwt_claim_sub;":              {"keys have no $jwt_claim_sub", none},
		"proxy_no_cache $upstream_http_x;":                      {"edge has no $upstream_http_x", none},
	} {
		p := planOf(t, "nginx", "http { "+paths+"server { listen 80; location / { proxy_cache z; "+lines+
			" proxy_pass http://127.0.0.1:9000; } } }")
		wantAll(t, lines, p, want)
		closed := slices.Contains(want, none)
		if closed == strings.Contains(string(p.Text(plan.TextOnly)), "cache") {
			t.Errorf("%s: %s", lines, p.Text(plan.TextOnly))
		}
	}
}
