package importer_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	importer "github.com/edge-proxy/edge/cmd/edge-import/internal/importer"
	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// traefikSets returns the folders of testdata/traefik, and the file of each that is named on the command line.
func traefikSets(t *testing.T) map[string]string {
	sets := map[string]string{}
	for _, name := range []string{"traefik.yml", "traefik.toml", "docker-compose.yml"} {
		files, err := filepath.Glob(filepath.Join("testdata", "traefik", "*", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			sets[filepath.Base(filepath.Dir(f))] = f
		}
	}
	if len(sets) < 10 {
		t.Fatalf("%d sets of files", len(sets))
	}
	return sets
}

// Every set of files of testdata/traefik has the result and the findings of its golden file, each of its lines is in
// one of them, and edge answers as its table says.
func TestTraefik(t *testing.T) {
	for name, file := range traefikSets(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := planOfFile(t, "traefik", file)
			golden(t, filepath.Join(filepath.Dir(file), "golden"), withFindings(t, p))
			everyLine(t, file, p)
			ports := serve(t, string(p.Text(plan.TextOnly)))
			for line := range strings.Lines(read(t, filepath.Join(filepath.Dir(file), "answers.txt"))) {
				if got, want := askLine(t, line, ports); got != want {
					t.Errorf("%s\tgot  %s\n\twant %s", line, got, want)
				}
			}
		})
	}
}

// onlyNames are lines that say nothing but what comes next.
var onlyNames = regexp.MustCompile(`^\s*(-\s*)?[\w."@-]*:?$|^\s*\[+[\w.-]+\]+$`)

// everyLine checks that each line of the files of a set is in the result or among the findings.
func everyLine(t *testing.T, file string, p *plan.Plan) {
	if strings.HasSuffix(file, "compose.yml") {
		return // most of it is not for Traefik
	}
	told := p.Told()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*.[ty]*ml"))
	more, wrong := filepath.Glob(filepath.Join(filepath.Dir(file), "conf.d", "[^t]*.[ty]*ml"))
	if err != nil || wrong != nil {
		t.Fatal(err, wrong)
	}
	for _, f := range append(files, more...) {
		for i, line := range strings.Split(read(t, f), "\n") {
			bare, _, _ := strings.Cut(line, "# ")
			at := plan.Place{File: filepath.Base(f), Line: i + 1}
			if !onlyNames.MatchString(bare) && !told[at] {
				t.Errorf("%s: neither in the result nor among the findings: %s", at, line)
			}
		}
	}
}

// origins are backends that answer with what they got, by the address that the file has.
var origins = struct {
	sync.Mutex
	byName map[string]string
}{byName: map[string]string{}}

// originOf returns the address of the backend that stands for one of a file.
func originOf(name string) string {
	origins.Lock()
	defer origins.Unlock()
	if origins.byName[name] == "" {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("X-Origin", name)
			h.Set("X-Target", r.RequestURI)
			h.Set("X-Got-Host", r.Host)
			for field, values := range r.Header {
				h.Set("X-Got-"+field, strings.Join(values, ", "))
			}
		}))
		if strings.HasSuffix(name, "8443") { // it ends TLS
			s.StartTLS()
		} else {
			s.Start()
		}
		origins.byName[name] = s.Listener.Addr().String()
	}
	return origins.byName[name]
}

// inFile returns the address that the file has for that of an origin, and any other text as it is.
func inFile(address string) string {
	origins.Lock()
	defer origins.Unlock()
	for file, test := range origins.byName {
		if address == test {
			return file
		}
	}
	return address
}

var (
	listenLine  = regexp.MustCompile(`(?m)^(listen\s+= )"(.*:(\d+))"$`)
	addressPart = regexp.MustCompile(`(address = )"([^"]+)"`)
	pairLine    = regexp.MustCompile(`(?m)^(key|client_ca|error_log|output)\s+=.*\n`)
	acmeTable   = regexp.MustCompile(`(?s)\n\[acme\]\n.*?\n\n`)
	certLine    = regexp.MustCompile(`(?m)^(cert\s+= ).*$`)
)

// serve runs edge with a result of an import, and returns its ports by those of the file.
func serve(t *testing.T, result string) map[string]string {
	ports := map[string]string{}
	result = acmeTable.ReplaceAllString(result, "\n") // nothing is ordered in this test
	result = pairLine.ReplaceAllString(certLine.ReplaceAllString(result, `$1"internal"`), "")
	result = addressPart.ReplaceAllStringFunc(result, func(s string) string {
		m := addressPart.FindStringSubmatch(s)
		return m[1] + `"` + originOf(m[2]) + `"`
	})
	result = listenLine.ReplaceAllStringFunc(result, func(s string) string {
		m := listenLine.FindStringSubmatch(s)
		ports[m[3]] = freePort(t)
		return m[1] + `"127.0.0.1:` + ports[m[3]] + `"`
	})
	dir := t.TempDir()
	path := filepath.Join(dir, "edge.toml")
	write(t, path, result)
	edge := testutil.Binary(t, "./cmd/edge")
	testutil.Start(t, testutil.Command{
		Path: edge, Args: []string{"run", "-c", path}, Dir: dir, Env: []string{"STATE_DIRECTORY=" + dir},
	})
	for _, port := range ports {
		listens(t, port)
	}
	return ports
}

// askLine sends the request of a line of a table, and returns the answer in its words, and what the line says:
//
//	GET http://a.test/x X-Beta=yes => 127.0.0.1:3001 /x > X-Env=prod < X-Served-By=edge
//	GET http://b.test/x => 308 https://b.test/x
//	GET https://c.test/x => closed
//
// ">" is a field that the backend gets, "<" one of the answer; "_" stands for a blank.
func askLine(t *testing.T, line string, ports map[string]string) (got, want string) {
	t.Helper()
	asked, want, ok := strings.Cut(strings.TrimSpace(line), " => ")
	words := strings.Fields(asked)
	if !ok || len(words) < 2 {
		t.Fatal(line)
	}
	req, err := http.NewRequestWithContext(t.Context(), words[0], words[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "test")
	for _, field := range words[2:] {
		name, value, _ := strings.Cut(field, "=")
		req.Header.Set(name, value)
	}
	port := req.URL.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[req.URL.Scheme]
	}
	address := "127.0.0.1:" + ports[port]
	transport := &http.Transport{DisableCompression: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: req.URL.Hostname()},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil && want == "closed" {
		return want, want
	} else if err != nil {
		return err.Error(), want
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return answerWords(resp, want, ports), want
}

// answerWords returns an answer in the words of a table, with the fields that want has.
func answerWords(resp *http.Response, want string, ports map[string]string) string {
	name := resp.Header.Get("X-Origin")
	status := fmt.Sprint(resp.StatusCode)
	if name == "" {
		to := resp.Header.Get("Location")
		for _, port := range ports {
			to = strings.Replace(to, ":"+port, "", 1)
		}
		return strings.TrimSpace(status + " " + to)
	}
	got := name + " " + resp.Header.Get("X-Target")
	words := strings.Fields(want)
	for i := 2; i+1 < len(words); i += 2 {
		field, _, _ := strings.Cut(words[i+1], "=")
		value := resp.Header.Get(field)
		if words[i] == ">" {
			value = resp.Header.Get("X-Got-" + field)
			value = inFile(value)
		}
		got += " " + words[i] + " " + field + "=" + strings.ReplaceAll(value, " ", "_")
	}
	return got
}

// Where routers of one entry point ask for other options of TLS, those that ask for a certificate of the client are
// closed, whatever the order they stand in.
func TestTraefik_optionsOfTLS(t *testing.T) {
	const text = `{
		"entryPoints": {"websecure": {"address": ":8443"}},
		"http": {
			"routers": {
				"ROUTER1": {"rule": "Host(${q}mutual.example${q})", "service": "s", "entryPoints": ["websecure"],
					"tls": {"options": "mtls"}},
				"ROUTER2": {"rule": "Host(${q}public.example${q})", "service": "s", "entryPoints": ["websecure"],
					"tls": {}}},
			"services": {"s": {"loadBalancer": {"servers": [{"url": "http://127.0.0.1:9000"}]}}}},
		"tls": {"options": {"mtls": {"clientAuth": {"caFiles": ["ca.pem"],
			"clientAuthType": "RequireAndVerifyClientCert"}}}}}`
	for _, names := range [][2]string{{"a", "b"}, {"b", "a"}} {
		text := strings.NewReplacer("${q}", "`", "ROUTER1", names[0], "ROUTER2", names[1]).Replace(text)
		p := planOf(t, "traefik", text)
		out := string(p.Text(plan.TextOnly))
		_, mutual, _ := strings.Cut(out, "mutual.example")
		_, public, _ := strings.Cut(out, "public.example")
		mutual, _, _ = strings.Cut(mutual, "[[routes]]")
		public, _, _ = strings.Cut(public, "[[")
		if !strings.Contains(mutual, "deny = 403") || strings.Contains(public, "deny") ||
			!strings.Contains(public, `dest = "s"`) {
			t.Errorf("%v:\n%s", names, out)
		}
		closes := func(f plan.Finding) bool { return strings.Contains(f.Why, "close its routes") }
		if !slices.ContainsFunc(p.Findings(), closes) {
			t.Errorf("%v: no finding: %v", names, p.Findings())
		}
	}
}

// A router with a guard whose rule has a variable refuses all that may be for it.
func TestTraefik_guardsWithVariables(t *testing.T) {
	wantAll(t, "variable", planOf(t, "traefik", `{"services": {"a": {"image": "a", "expose": ["80"], "labels": [
		"traefik.http.routers.staff.rule=Host(`+"`${NAME}.test`) && PathPrefix(`/admin/`)"+`",
		"traefik.http.routers.staff.middlewares=office",
		"traefik.http.middlewares.office.ipallowlist.sourcerange=10.0.0.0/8",
		"traefik.http.routers.all.rule=PathPrefix(`+"`/`)"+`"]}}}`),
		[]string{`when = 'path starts_with "/admin/"' deny = 403`, "it has variables"})
}

// Middlewares that edge does not know close their routes where they stand: what is before them is done.
func TestTraefik_unknownMiddlewares(t *testing.T) {
	out := planOf(t, "traefik", `{"entryPoints": {"web": {"address": ":80"}}, "http": {
		"routers": {"a": {"rule": "Host(`+"`a.test`"+`)", "middlewares": ["led", "odd"], "service": "s"},
			"b": {"rule": "Host(`+"`b.test`"+`)", "middlewares": ["odd", "led"], "service": "s"}},
		"middlewares": {"odd": {"jwt": {"secret": "x"}}, "led": {"redirectScheme": {"scheme": "https"}}},
		"services": {"s": {"loadBalancer": {"servers": [{"url": "http://127.0.0.1:9000"}]}}}}}`)
	wantAll(t, "unknown", out, []string{`host = "a.test" path = "/*" redirect = {`,
		"is not carried: delete this rule once what it closes is guarded otherwise [[routes.rules]] deny = 403",
		"not carried: http.middlewares.odd.jwt"})
}

// Services and middlewares that contain themselves end in findings, however many ways lead around.
func TestTraefik_circles(t *testing.T) {
	text := "http:\n  routers:\n    r: {rule: \"Host(`a.test`)\", service: s0, middlewares: [m0]}\n  services:\n"
	var all string
	for i := range 30 {
		all += fmt.Sprintf("{name: s%d}, ", i)
	}
	for i := range 30 {
		text += fmt.Sprintf("    s%d: {weighted: {services: [%s]}}\n", i, all)
	}
	text += "  middlewares:\n"
	for i := range 30 {
		text += fmt.Sprintf("    m%d: {chain: {middlewares: [m%d, m%d]}}\n", i, (i+1)%30, (i+2)%30)
	}
	wantAll(t, "chains", planOf(t, "traefik", text), []string{"it is in itself: a rule with deny = 403 closes",
		"[[routes.rules]] deny = 403"})
	wantAll(t, "services", planOf(t, "traefik", strings.Replace(text, ", middlewares: [m0]", "", 1)),
		[]string{"it contains itself", `dest = "status:503"`})
}

var inFull = strings.NewReplacer(`"Allow`, `"accessControlAllow`, `"MaxAge`, `"accessControlMaxAge`)

// A filter of the type cors that edge would refuse is a finding: its route stays open.
func TestTraefik_sharesWhatEdgeTakes(t *testing.T) {
	for headers, want := range map[string]string{
		`"AllowOriginList": ["https://a.test"], "MaxAge": 2592000`:         `max_age = "24h"`,
		`"AllowOriginList": ["*"], "AllowHeaders": ["*"]`:                  `headers = "*"`,
		`"AllowOriginList": ["*"], "AllowCredentials": true`:               "with credentials",
		`"AllowOriginList": ["https://a.test:443"]`:                        "not carried: origins",
		`"AllowOriginList": ["https://a.test/"]`:                           "not carried: origins",
		`"AllowOriginList": ["https://a.test"], "AllowMethods": ["TRACE"]`: "not carried: methods",
		`"AllowMethods": ["get"]`:                                          "not carried: methods",
		`"MaxAge": 5`:                                                      "not carried: max_age",
	} {
		wantAll(t, headers, planOf(t, "traefik", `{"http": {
			"routers": {"a": {"rule": "Host(`+"`a.test`"+`)", "middlewares": ["m"], "service": "s"}},
			"middlewares": {"m": {"headers": {`+inFull.Replace(headers)+`}}},
			"services": {"s": {"loadBalancer": {"servers": [{"url": "http://127.0.0.1:9000"}]}}}}}`),
			[]string{want, `dest = "s"`})
	}
}

// What a router, its middlewares and its service say is in the result, or it is a finding: a guard closes its router.
func TestTraefik_partsOfRouters(t *testing.T) {
	const shut = `dest = "s" # closed, since`
	for parts, want := range map[string][]string{
		"basicAuth: {usersFile: /nonexistent}": {"the file with its users cannot be read", shut},
		"basicAuth: {usersFile: testdata/traefik/users}": {
			`file = "testdata/traefik/users"`, `filters = ["m"]`},
		"ipAllowList: {sourceRange: [office]}": {
			"edge does not know these addresses", shut},
		"rateLimit: {average: 9, period: 7s}": {
			"edge does not know this rate", `dest = "s"`},
		"redirectScheme: {scheme: wss}": {
			"edge redirects to http and https", `dest = "s"`},
		"redirectRegex: {regex: '^https://(.*)', replacement: x}": {
			"edge redirects by the host", `dest = "s"`},
		`redirectRegex: {regex: '^https://a\.test/', replacement: "https://b.test/"}`: {"note", `dest = "s"`},
		`redirectRegex: {regex: '^http://a\.test/[', replacement: "http://b.test/"}`:  {"not carried", `dest = "s"`},
		`redirectRegex: {regex: '^http://a\.test/(.*)', replacement: "x$1"}`: {
			"edge redirects by", `dest = "s"`},
		"addPrefix: {prefix: x}": {
			"edge has no such path", `dest = "s"`},
		"replacePath: {path: /x}, addPrefix: {prefix: /y}": {`rewrite.path = '{("/y" + "/x")}'`},
		"replacePathRegex: {regex: '(', replacement: /x}": {
			"edge has no such path", `dest = "s"`},
		"stripPrefixRegex: {regex: ['/[0-9]+']}": {
			`rewrite.path = '{re_replace(path, "^(?:(?:/[0-9]+))/?", "/")}'`},
		"stripPrefixRegex: {regex: ['(']}": {"edge does not know this expression", `dest = "s"`},
	} {
		text := "http: {routers: {a: {rule: \"Host(`a.test`)\", middlewares: [m], service: s}}, middlewares: {m: {" +
			parts + "}}, services: {s: {loadBalancer: {servers: [{url: 'http://127.0.0.1:9000'}]}}}}"
		wantAll(t, parts, planOf(t, "traefik", text), want)
	}
	for service, want := range map[string][]string{
		"{}": {"edge knows services with servers", "status:503"},
		"{failover: {service: o, fallback: z}}, o: {loadBalancer: {servers: [{url: 'http://127.0.0.1:9000'}]}}": {
			"with fallback z", `dest = "s"`},
		"{loadBalancer: {servers: []}}": {"it has no servers", "status:503"},
		"{loadBalancer: {servers: [{url: 'ftp://x'}]}}": {
			"edge does not know the address ftp://x", "status:503"},
		"{loadBalancer: {servers: [{url: 'http://${X}:1/'}]}}": {
			"edge does not know the address", "status:503"},
		"{loadBalancer: {servers: [{url: 'https://x/y'}], serversTransport: z}}": {
			"there is no such serversTransport", "does not send the path", "tls = true"},
	} {
		wantAll(t, service, planOf(t, "traefik", "http: {routers: {a: {rule: \"Host(`a.test`)\", service: s}, b: "+
			"{service: s}}, services: {s: "+service+"}}"), append(want, "routers.b (it has no rule"))
	}
}

// Entry points with and without TLS share routers; what a listener cannot do is a finding.
func TestTraefik_entryPointsAndTLS(t *testing.T) {
	const routers = "http: {services: {s: {loadBalancer: {servers: [{url: 'http://127.0.0.1:9000'}]}}}, routers: {" +
		"a: {rule: \"Host(`a.test`)\", service: s, entryPoints: [web, sec], tls: {options: mutual}}, " +
		"b: {rule: \"Host(`b.test`)\", service: s}, " +
		"c: {rule: \"Host(`c.test`)\", service: s, tls: {options: old}}}}\n" +
		"tls: {certificates: [{certFile: '-----BEGIN'}], options: {old: {minVersion: VersionTLS10}, " +
		"mutual: {clientAuth: {clientAuthType: KIND, caFiles: [FILES]}}}}\n"
	for points, want := range map[string][]string{
		"sec: {address: ':443'}, bad: {address: x}, " +
			"web: {address: ':80', http: {redirections: {entryPoint: {to: sec}}}}": {
			"edge does not know this address", "redirect_to_https = true", "write it to a file",
			"router a on entry point web", "the options of TLS of router c",
			`client_ca = "a"`, `client_auth = "require"`},
		"web: {address: ':80', http: {redirections: {entryPoint: {to: sec}}}}": {
			"edge redirects to the only listener"},
	} {
		text := "entryPoints: {" + points + "}\n" + strings.NewReplacer("KIND", "RequireAndVerifyClientCert",
			"FILES", "a").Replace(routers)
		wantAll(t, points, planOf(t, "traefik", text), want)
	}
	for kind, files := range map[string]string{"RequireAndVerifyClientCert": "", "Odd": "a",
		"VerifyClientCertIfGiven": "a, b"} {
		text := "entryPoints: {sec: {address: ':443'}}\n" + strings.NewReplacer("KIND", kind, "FILES", files).
			Replace(routers)
		wantAll(t, kind, planOf(t, "traefik", text), []string{`host = "a.test" path = "/*" dest = "s" # closed, since`})
	}
}

// HTTP/3 is of the listeners that get TLS, and clients are told of another port where the entry point has one.
func TestTraefik_http3(t *testing.T) {
	const routers = "\nhttp: {services: {s: {loadBalancer: {servers: [{url: 'http://127.0.0.1:9000'}]}}}, " +
		"routers: {a: {rule: \"Host(`a.test`)\", service: s, entryPoints: [sec], tls: {}}, " +
		"b: {rule: \"Host(`b.test`)\", service: s, entryPoints: [web]}}}\n"
	const serves = `protocols = ["h1", "h2", "h3"]`
	for points, want := range map[string][]string{
		"sec: {address: ':443', http3: {}}":                        {serves},
		"sec: {address: ':8443', http3: {advertisedPort: 443}}":    {serves + ` h3.advertise_port = 443`},
		"sec: {address: ':443', http3: {advertisedPort: '443'}}":   {serves},
		"sec: {address: ':443', http3: {advertisedPort: x}}":       {serves, "not carried: entryPoints.sec.http3.adv"},
		"sec: {address: ':443', http3: {advertisedPort: 70000}}":   {serves, "not carried: h3.advertise_port = 70000"},
		"sec: {address: ':443'}, web: {address: ':80', http3: {}}": {"not carried: entryPoints.web.http3 (HTTP/3"},
	} {
		if !strings.Contains(points, "web:") {
			points += ", web: {address: ':80'}"
		}
		wantAll(t, points, planOf(t, "traefik", "entryPoints: {"+points+"}"+routers), want)
	}
}

// Labels and flags that say nothing to Traefik, or nothing that can be, end in findings or say what they do in files.
func TestTraefik_labelsAndFlags(t *testing.T) {
	wantAll(t, "labels", planOf(t, "traefik", `{"services": {
		"proxy": {"image": "traefik", "command": "--api --entrypoints.web.address=:81 --a.b=c --a=d --a..b=e",
			"environment": ["TRAEFIK_PING=true", "TZ=UTC"]},
		"db": {"image": "postgres"}, "odd": {"image": "x", "labels": ["com.example=1", "traefik.enable=true"]},
		"app": {"image": "a", "expose": ["80"], "labels": [
			"traefik.http.routers.a.rule=Host(`+"`a.test`"+`)", "traefik.http.routers.a=true"]}}}`),
		[]string{`listen = ":81"`, "not carried: a.b", "not carried: a ", "not carried: a..b",
			"as a flag of the command",
			"not carried: the container odd (it has no rule of its own", `host = "a.test"`})
	for _, text := range []string{"[1, 2]\n", "- a: 1\n", "just words\n"} {
		if p, err := importer.Import("traefik", fileOf(t, text), &plan.Reader{}); err == nil && p.Losses() == 0 {
			t.Errorf("%q has no findings", text)
		}
	}
	if _, err := importer.Import("traefik", "/nonexistent", &plan.Reader{}); err == nil {
		t.Error("a file that is not there has no error")
	}
}

// A redirect of some requests that comes after a guard which is not carried does not answer before the guard.
func TestTraefik_redirectsAfterClosedGuards(t *testing.T) {
	p := planOf(t, "traefik", `{"entryPoints": {"web": {"address": ":80"}}, "http": {
		"routers": {"a": {"rule": "Host(`+"`a.test`"+`)", "middlewares": ["ask", "moved"], "service": "s"}},
		"middlewares": {"ask": {"forwardAuth": {"address": "http://auth"}},
			"moved": {"redirectRegex": {"regex": "^http://a\\.test/old/(.*)", "replacement": "http://b.test/$1"}}},
		"services": {"s": {"loadBalancer": {"servers": [{"url": "http://127.0.0.1:9000"}]}}}}}`)
	text := string(p.Text(plan.TextOnly))
	if n := strings.Count(text, "deny = 403"); !strings.Contains(text, `to = "http://b.test`) || n != 2 {
		t.Errorf("%d rules refuse requests:\n%s", n, text)
	}
}
