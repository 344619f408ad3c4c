package importer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	_ "github.com/edge-proxy/edge/internal/config/caching" // keys that results have
	_ "github.com/edge-proxy/edge/internal/filter/builtin" // types that results name
	_ "github.com/edge-proxy/edge/internal/filter/static"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.Main(m)) }

var update = flag.Bool("update", false, "write the golden files")

// dialect is how the files of a program are run in a test.
type dialect struct {
	program string
	pattern string                                   // of its files in testdata
	listen  *regexp.Regexp                           // the last group is a port to listen on
	backend *regexp.Regexp                           // the last group is the address of a backend
	files   *regexp.Regexp                           // the last group is a file that has to be there
	paths   *regexp.Regexp                           // the last group is a path of requests
	hosts   *regexp.Regexp                           // the last group is names of hosts
	start   func(t *testing.T, dir, text string)     // runs the program with a text
	own     func(r *http.Response, body string) bool // whether an answer is one of the program's own
	fields  *regexp.Regexp                           // fields of answers that are compared; nil: Location alone
}

// siteFiles are the files of the folder that stands for folders of the configurations.
var siteFiles = map[string]string{"index.html": "home", "about.html": "about", "50x.html": "sorry", "a/index.html": "a",
	"assets/b/c.png": "png", "assets/redirect": "file", "docs/index.html": "docs", "docs/b/c.png": "picture",
	"x/y": "file"}

// folders matches folders with the files of sites, in configurations.
var folders = regexp.MustCompile(`/(?:srv/no/such/site|srv/www|usr/share/nginx/html)\b`)

// requestsMax is how many requests each file is asked with.
const requestsMax = 30

// side is one of the two programs.
type side struct {
	ports   map[string]string // the port of the file: the one in this test
	origins map[string]string // the backend of the file: the one in this test
	told    bool              // connections begin with a header of the PROXY protocol
}

// request is a request that both programs get.
type request struct {
	port, method, host, path string
	secure                   bool
	header                   http.Header
	body                     string
	from                     string // the address of the client; "": any
}

func (r *request) String() string {
	scheme := "http"
	if r.secure {
		scheme = "https"
	}
	return fmt.Sprintf("%s %s://%s:%s%s", r.method, scheme, r.host, r.port, r.path)
}

// fieldsOfEdge are those that edge sends to backends without being told: docs/migrating.md.
var fieldsOfEdge = []string{"Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"}

// echo is an origin that answers with the head that it got.
func echo(t *testing.T, secure bool) string {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Origin", "yes")
		if strings.Contains(r.URL.Path, "redirect") {
			scheme := "http://"
			if r.TLS != nil {
				scheme = "https://"
			}
			w.Header().Set("Location", scheme+r.Host+"/led/here?x=1")
			w.WriteHeader(http.StatusFound)
		}
		fmt.Fprintf(w, "%s %s\nHost: %s\n", r.Method, r.RequestURI, r.Host)
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			if name != "Connection" {
				fmt.Fprintf(w, "%s: %s\n", name, strings.Join(r.Header[name], ", "))
			}
		}
		fmt.Fprintf(w, "\n%d bytes: %s\n", len(body), body)
	})
	s := httptest.NewUnstartedServer(handler)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.Listener.Addr().String()
}

// replaceLast replaces the last group of each match.
func replaceLast(re *regexp.Regexp, text string, f func(match, group string) string) string {
	var b strings.Builder
	at := 0
	for _, m := range re.FindAllStringSubmatchIndex(text, -1) {
		from, to := m[len(m)-2], m[len(m)-1]
		b.WriteString(text[at:from] + f(text[m[0]:m[1]], text[from:to]))
		at = to
	}
	return b.String() + text[at:]
}

// lastPort is the port that freePort returned last, but for 30000.
var lastPort atomic.Uint32

// freePort returns a port that nobody listens on at any address. Programs listen there on all of them: it is none of
// those that testutil.FreeAddr chooses from.
func freePort(t *testing.T) string {
	for {
		port := strconv.Itoa(30000 + int(lastPort.Add(1)%2700))
		l, err := net.Listen("tcp", ":"+port)
		if err == nil {
			l.Close()
			return port
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// compare imports every file of a program, compares the result with the golden file, and the answers of edge with those
// of the program.
func compare(t *testing.T, d *dialect) {
	files, err := filepath.Glob(filepath.Join("testdata", d.program, d.pattern))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			got := imported(t, d, file)
			got += "\n# Answers that differ:\n"
			for _, line := range d.answers(t, file, read(t, file)) {
				got += "# " + line + "\n"
			}
			golden(t, strings.TrimSuffix(file, filepath.Ext(file))+".golden", got)
		})
	}
}

// Each answer that differs in a golden file has a finding in it that tells of it.
func TestImport_findingsTellOfWhatDiffers(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.golden")
	if err != nil || len(files) < 30 {
		t.Fatal(files, err)
	}
	told := 0
	for _, file := range files {
		before, differing, _ := strings.Cut(read(t, file), "\n# Answers that differ:\n")
		_, findings, _ := strings.Cut(before, "\n# Findings:\n")
		for line := range strings.Lines(differing) {
			line = strings.TrimPrefix(strings.TrimSpace(line), "# ")
			if because(line, strings.Split(findings, "\n")) == "" {
				t.Errorf("%s: no finding tells of it: %s", file, line)
			}
			told++
		}
	}
	if told < 50 {
		t.Errorf("%d answers differ: are they where they were?", told)
	}
}

// because returns the finding that tells of an answer that is not the same, or "".
func because(line string, findings []string) string {
	for _, reason := range reasons {
		for _, f := range findings {
			if reason.differs.MatchString(line) && reason.finding.MatchString(f) {
				return f
			}
		}
	}
	return ""
}

// reasons are what may differ in an answer, by the finding that tells of it.
var reasons = []struct{ differs, finding *regexp.Regexp }{
	// Caddy
	{regexp.MustCompile(`(-1|200) there, 404 here`), regexp.MustCompile(`note: hosts that no site of `)},
	{regexp.MustCompile(`: [A-Z][-A-Za-z]* not there, `), regexp.MustCompile(`note: header .* answer to a failure`)},
	{regexp.MustCompile(`/php/.*: (502|405|200) there, 503 here`), regexp.MustCompile(`not carried: php_fastcgi`)},
	{regexp.MustCompile(`/admin/.*: 401 there, 403 here`), regexp.MustCompile(`not carried: basic_auth`)},
	{regexp.MustCompile(`/sso/.*: [23]0. there, 403 here`), regexp.MustCompile(`not carried: forward_auth`)},
	{regexp.MustCompile(`//admin.*-1 there, 403 here`), regexp.MustCompile(`: client_auth`)},
	{regexp.MustCompile(`[23]0. there, 403 here`), regexp.MustCompile(`not carried: path \*/`)},

	{regexp.MustCompile(`backend: false there|: (200|405) there, (302|200) here|html/: 308 there|body "home" there`),
		regexp.MustCompile(`note: try_files`)},
	{regexp.MustCompile(`: (404 there, 405|308 there, 301) here`), regexp.MustCompile(`note: file_server`)},

	// All
	{regexp.MustCompile(`/\w+x: `), regexp.MustCompile(`not carried: (.* for )?paths such as `)},

	// nginx
	{regexp.MustCompile(`: Location ".*" there, `), regexp.MustCompile(`note: .*redirects of the backend .*lead back`)},
	{regexp.MustCompile(`\.png\?.*: 200 there, 403 here`), regexp.MustCompile(`not carried: location ~.*png`)},
	{regexp.MustCompile(`(200|302) there, 403 here`), regexp.MustCompile(`not carried: location .* are closed: 403`)},
	{regexp.MustCompile(`: 502 there, 40[45] here`), regexp.MustCompile(`not carried: try_files .*404 in its place`)},
	{regexp.MustCompile(`: 502 there, 503 here`), regexp.MustCompile(`not carried: fastcgi_pass .* answered 503`)},
	{regexp.MustCompile(`: 500 there, 503 here`), regexp.MustCompile(`not carried: proxy_pass .* answered 503`)},
	{regexp.MustCompile(`: 401 there, 403 here`), regexp.MustCompile(`not carried: (auth_basic|http-request auth) `)},
	{regexp.MustCompile(`: - (\w+ /.*); \+ \w+ /.*\?`), regexp.MustCompile(`not carried: .*edge keeps the query`)},
	{regexp.MustCompile(`: - X-Request-Start$`), regexp.MustCompile(`not carried: proxy_set_header X-`)},
	{regexp.MustCompile(`: (405|200) there, 404`), regexp.MustCompile(`(root|alias) .* answered 404`)},
	{regexp.MustCompile(`/: 403 there, 404 here`), regexp.MustCompile(`note: (root|alias) .*a folder without a file`)},
	{regexp.MustCompile(`: 30[18] there|: 403 there`), regexp.MustCompile(`note: try_files .*the fallback answers`)},
	{regexp.MustCompile(`backend: false there|: 301 there`), regexp.MustCompile(`try_files .* for no file before`)},
	{regexp.MustCompile(`: 405 there, 404 here`), regexp.MustCompile(`note: paths that no location takes`)},
	{regexp.MustCompile(`body ".*" there, "200 OK`), regexp.MustCompile(`not carried: the text of return 200`)},
	{regexp.MustCompile(`: -1 there, 403 here`), regexp.MustCompile(`not carried: return 444`)},
	{regexp.MustCompile(`: - Host: .*; \+ Host: .*:\d+$`), regexp.MustCompile(`not carried: proxy_set_header Host`)},

	// HAProxy
	{regexp.MustCompile(`: -1 there, 403 here`), regexp.MustCompile(`not carried: tcp-request .* reject .* is closed`)},
	{regexp.MustCompile(`: - X-Unique$`), regexp.MustCompile(`not carried: http-request set-header X-Unique`)},
}

// golden compares a text with a file, which -update writes.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		write(t, file, got)
	}
	if want := read(t, file); got != want {
		t.Errorf("%s:\n%s", file, difference(want, got))
	}
}

// difference shows the lines that are in one of two texts alone.
func difference(want, got string) string {
	var b strings.Builder
	has := func(text, line string) bool { return strings.Contains("\n"+text, "\n"+line+"\n") }
	for line := range strings.Lines(want) {
		if !has(got, strings.TrimSuffix(line, "\n")) {
			b.WriteString("- " + line)
		}
	}
	for line := range strings.Lines(got) {
		if !has(want, strings.TrimSuffix(line, "\n")) {
			b.WriteString("+ " + line)
		}
	}
	return b.String()
}

// findingsOf imports a text and returns what is found in it.
func findingsOf(t *testing.T, program, text string) []plan.Finding {
	t.Helper()
	p := planOf(t, program, text)
	p.Text(plan.TextOnly)
	return p.Findings()
}

// imported returns the text and the findings for a file, and checks that each of its lines is in one of them.
func imported(t *testing.T, d *dialect, file string) string {
	p := planOfFile(t, d.program, file)
	result := withFindings(t, p)
	told := p.Told()
	for i, line := range strings.Split(read(t, file), "\n") {
		line, _, _ = strings.Cut(line, "#")
		at := plan.Place{File: filepath.Base(file), Line: i + 1}
		if word := strings.Trim(line, " \t{}"); word != "" && !structural.MatchString(word) && !told[at] {
			t.Errorf("%s:%d: neither in the result nor among the findings: %s", file, i+1, line)
		}
	}
	return result
}

// structural are lines that say nothing but what comes next.
var structural = regexp.MustCompile(`^(http|server|events|'|defaults|global|frontend|backend|listen|[a-z._-]+$|` +
	`(cert_)?issuer acme|\(\w+\)|@\w+$|<h1>.*|HTML$)`)

// answers returns the requests to which both programs answer otherwise, each with what is not the same.
func (d *dialect) answers(t *testing.T, file, text string) (differ []string) {
	dir := t.TempDir()
	issuePair(t, dir)
	text = strings.ReplaceAll(text, "/var/log/nginx/", dir+"/")
	for name, content := range siteFiles {
		write(t, filepath.Join(dir, "site", name), content)
	}
	asked := folders.ReplaceAllString(text, "")
	text = folders.ReplaceAllString(text, dir+"/site")
	origins := map[string]string{}
	told := strings.Contains(text, "# Clients come by the PROXY protocol.")
	there, here := d.startBoth(t, file, text, dir, origins, told)
	for _, r := range d.requests(file, asked) {
		a, b := there.ask(t, r), here.ask(t, r)
		what := unlike(a, b, there, here)
		if what == "" && d.fields != nil {
			what = unlikeFields(d.fields, a.fields, b.fields)
		}
		if what != "" {
			differ = append(differ, r.String()+": "+what)
		}
	}
	return differ
}

// issuePair writes a certificate, with its key after it, and the key.
func issuePair(t *testing.T, dir string) {
	testutil.NewAuthority(t).IssueTo(t, dir, "pair", nil, "example.com")
	pem := filepath.Join(dir, "pair.pem")
	write(t, pem, read(t, pem)+read(t, filepath.Join(dir, "pair.key")))
}

// startBoth runs the program and edge with a text, and returns them.
func (d *dialect) startBoth(t *testing.T, file, text, dir string, origins map[string]string, told bool) (
	there, here *side) {
	there, here = &side{map[string]string{}, origins, told}, &side{map[string]string{}, origins, told}
	own, ours := filepath.Join(dir, "there"), filepath.Join(dir, "here")
	d.copyFiles(t, there, file, text, dir, own)
	d.copyFiles(t, here, file, text, dir, ours)

	d.start(t, own, d.moved(t, there, text, dir))
	d.startEdge(t, ours, d.moved(t, here, text, dir))
	for _, s := range []*side{there, here} {
		for _, port := range s.ports {
			listens(t, port)
		}
	}
	return there, here
}

// listens waits until a port of this machine takes connections.
func listens(t *testing.T, port string) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, "listens on "+port)
}

// moved returns a text with the ports, backends and certificates of this test.
func (d *dialect) moved(t *testing.T, s *side, text, dir string) string {
	text = replaceLast(d.backend, text, func(match, address string) string {
		if s.origins[address] == "" {
			secure := strings.HasPrefix(match, "proxy_pass https") || strings.Contains(address, "8443")
			s.origins[address] = echo(t, secure)
		}
		return s.origins[address]
	})
	text = constantPort.ReplaceAllStringFunc(text, func(string) string {
		if s.origins["constant"] == "" {
			s.origins["constant"] = echo(t, false)
		}
		address := s.origins["constant"]
		return "set $upstream_port " + address[strings.LastIndexByte(address, ':')+1:]
	})
	text = replaceLast(d.files, text, func(match, _ string) string {
		if strings.Contains(match, "_key") {
			return filepath.Join(dir, "pair.key")
		}
		return filepath.Join(dir, "pair.pem")
	})
	return replaceLast(d.listen, text, func(_, port string) string {
		if s.ports[port] == "" {
			s.ports[port] = freePort(t)
		}
		return s.ports[port]
	})
}

// copyFiles copies what the files of a test include.
func (d *dialect) copyFiles(t *testing.T, s *side, file, text, dir, to string) {
	if err := os.CopyFS(to, os.DirFS(filepath.Dir(file))); err != nil {
		t.Fatal(err)
	}
	var included []string
	for _, folder := range []string{"conf.d", "sites"} {
		if strings.Contains(text, " "+folder+"/") {
			more, err := filepath.Glob(filepath.Join(to, folder, "*"))
			if err != nil {
				t.Fatal(err)
			}
			included = append(included, more...)
		}
	}
	for _, path := range included {
		write(t, path, d.moved(t, s, read(t, path), dir))
	}
}

// startEdge imports a text, checks the result and serves it.
func (d *dialect) startEdge(t *testing.T, dir, text string) {
	path, result := filepath.Join(dir, "main.conf"), filepath.Join(dir, "edge.toml")
	write(t, path, withoutUser.ReplaceAllString(text, ""))
	edge := testutil.Binary(t, "./cmd/edge")
	out, err := exec.Command(testutil.Binary(t, "./cmd/edge-import"), d.program, path, "-o", result).CombinedOutput()
	if code := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &code) || code.ExitCode() != 2) {
		t.Fatalf("edge-import: %v\n%s", err, out)
	}
	state := "STATE_DIRECTORY=" + t.TempDir() // an internal authority that vouches for the hosts of this file
	check := exec.Command(edge, "check", result)
	check.Env = append(os.Environ(), state)
	if out, err := check.CombinedOutput(); err != nil {
		t.Fatalf("edge check: %v\n%s", err, out)
	}
	testutil.Start(t, testutil.Command{Path: edge, Args: []string{"run", "-c", result}, Dir: dir,
		Env: []string{state}})
}

var constantPort = regexp.MustCompile(`set \$upstream_port \d+`)

var withoutUser = regexp.MustCompile(`(?m)^\s*(user|pid|error_log)\s[^;]*;`)

// answered is an answer.
type answered struct {
	status   int
	location string
	body     string
	origin   bool // it is one of the origin
	own      bool // the text in it is one of the program's own
	fields   http.Header
}

// ask sends a request to one of the programs.
func (s *side) ask(t *testing.T, r *request) (a answered) {
	t.Helper()
	address := "127.0.0.1:" + s.ports[r.port]
	dialer := func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil && s.told {
			_, err = io.WriteString(c, "PROXY TCP4 203.0.113.7 192.0.2.80 4321 8080\r\n")
		}
		return c, err
	}
	transport := &http.Transport{DialContext: dialer, DisableCompression: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: r.host}}
	defer transport.CloseIdleConnections()
	asIs := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c := &http.Client{Transport: transport, Timeout: testutil.Patience / 6, CheckRedirect: asIs}
	scheme := "http"
	if r.secure {
		scheme = "https"
	}
	asked := scheme + "://" + r.host + r.path
	req, err := http.NewRequestWithContext(t.Context(), r.method, asked, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = r.header.Clone()
	if r.port != "80" && r.port != "443" {
		req.Host = r.host + ":" + s.ports[r.port]
	}
	resp, err := c.Do(req)
	if err != nil {
		return answered{status: -1, body: "no answer"}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(r, err)
	}
	a = answered{status: resp.StatusCode, body: string(body), origin: resp.Header.Get("X-Origin") != "",
		fields: resp.Header}
	a.own = len(body) == 0 || bytes.Contains(body, []byte("<center>nginx")) ||
		bytes.Contains(body, []byte("<html><body><h1>"))
	if to := resp.Header.Get("Location"); to != "" {
		full, err := req.URL.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		for _, port := range s.ports {
			full.Host = strings.TrimSuffix(full.Host, ":"+port)
		}
		a.location = (&url.URL{Scheme: full.Scheme, Host: full.Host, Path: full.Path, RawQuery: full.RawQuery}).String()
	}
	return a
}

// unlike says what is not the same in two answers: of the program, and of edge.
func unlike(a, b answered, there, here *side) string {
	switch {
	case a.status != b.status:
		return fmt.Sprintf("%d there, %d here", a.status, b.status)
	case a.location != b.location:
		return fmt.Sprintf("Location %q there, %q here", a.location, b.location)
	case a.origin != b.origin:
		return fmt.Sprintf("answered by the backend: %t there, %t here", a.origin, b.origin)
	case !a.origin:
		if !a.own && a.body != b.body {
			return fmt.Sprintf("body %q there, %q here", a.body, b.body)
		}
		return ""
	}
	one, two := strings.Split(ported(a.body, there), "\n"), strings.Split(ported(b.body, here), "\n")
	var lines []string
	for _, line := range one {
		if !slices.Contains(two, line) {
			lines = append(lines, "- "+shown(line))
		}
	}
	for _, line := range two {
		name, _, _ := strings.Cut(line, ":")
		added := slices.Contains(fieldsOfEdge, name) && !strings.Contains(a.body, "\n"+name+":")
		if !slices.Contains(one, line) && !added {
			lines = append(lines, "+ "+shown(line))
		}
	}
	return strings.Join(lines, "; ")
}

// unlikeFields says which fields that are compared are not the same in two answers.
func unlikeFields(compared *regexp.Regexp, a, b http.Header) string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if compared.MatchString(name) && !slices.Equal(a[name], b[name]) {
			lines = append(lines, fmt.Sprintf("%s %q there, %q here", name, a[name], b[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if compared.MatchString(name) && a[name] == nil {
			lines = append(lines, fmt.Sprintf("%s not there, %q here", name, b[name]))
		}
	}
	return strings.Join(lines, "; ")
}

// random are fields that are not the same in each run.
var random = []string{"X-Request-Start", "X-Unique"}

// shown returns a line of what the origin got without what is not the same in each run.
func shown(line string) string {
	if name, _, field := strings.Cut(line, ": "); field && slices.Contains(random, name) {
		return name
	}
	return line
}

// ported returns what the origin got with the ports of the file.
func ported(body string, s *side) string {
	body = strings.ReplaceAll(body, "1.1 Caddy", "1.1 edge")
	body = strings.Replace(body, "Accept-Encoding: gzip\n", "", 1) // Caddy asks for it by itself; no client here does
	for address, test := range s.origins {
		body = strings.ReplaceAll(body, test, address)
	}
	for port, test := range s.ports {
		body = strings.ReplaceAll(body, ":"+test, ":"+port)
		body = strings.ReplaceAll(body, "Port: "+test, "Port: "+port)
	}
	return body
}

// requests returns what both programs are asked: hosts and paths of the file, and others that are near to them.
func (d *dialect) requests(file, text string) (list []*request) {
	more, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "conf.d", "*"+filepath.Ext(file)))
	for _, name := range more {
		if strings.Contains(text, "include conf.d") {
			included, _ := os.ReadFile(name)
			text += string(included)
		}
	}
	hosts := []string{"unknown.test"}
	for _, m := range d.hosts.FindAllStringSubmatch(text, -1) {
		for _, name := range strings.Fields(m[len(m)-1]) {
			name = strings.Replace(strings.Trim(name, "_,"), "*", "any", 1)
			if name = strings.Trim(name, "."); name != "" && !slices.Contains(hosts, name) {
				hosts = append([]string{name}, hosts...)
			}
		}
	}
	paths := []string{"/", "/x/y?a=1&b=%20c", "/index.html"}
	for _, m := range d.paths.FindAllStringSubmatch(text, -1) {
		p := m[len(m)-1]
		dir := strings.TrimSuffix(p, "/")
		for _, more := range []string{p, dir + "/redirect", dir + "/b/c.png?q=1", dir, dir + "x", dir + "/"} {
			if strings.HasPrefix(more, "/") && !slices.Contains(paths, more) {
				paths = append(paths, more)
			}
		}
	}
	var ports []string
	secure := map[string]bool{}
	for _, m := range d.listen.FindAllStringSubmatch(text, -1) {
		if port := m[len(m)-1]; !slices.Contains(ports, port) {
			ports = append(ports, port)
			secure[port] = strings.HasSuffix(port, "443")
		}
	}
	for i := 0; len(list) < requestsMax; i++ {
		// Each path is asked for on each port and, in turns, of each host.
		r := &request{port: ports[i%len(ports)], path: paths[i/len(ports)%len(paths)], method: "GET",
			host: hosts[(i/len(ports)+i/len(ports)/len(paths))%len(hosts)]}
		r.secure = secure[r.port]
		r.header = http.Header{"User-Agent": {"curl/8.0"}, "Accept": {"*/*"}, "X-Sent": {"a, b"}}
		switch i % 10 {
		case 3:
			r.method, r.body = "POST", "name=value"
		case 5:
			r.method = "HEAD"
		case 7:
			r.method = "DELETE"
			r.header.Set("X-Beta", "yes")
		}
		list = append(list, r)
	}
	return list
}
