package docs

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.Main(m)) }

// block is a code block of a page.
type block struct {
	page    string // from the root, with slashes
	section string // the last heading of the second level
	line    int    // of its first line
	lang    string
	lines   []string
}

func (b *block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

func (b *block) text() string { return strings.Join(b.lines, "\n") + "\n" }

// languages are the words after a fence; text and those of other programs are not run.
var languages = []string{"go", "toml", "yaml", "sh", "console", "text", "ini", "dockerfile"}

// exceptions are blocks that the test of their language does not take, by page and the begin of their first line. A
// page may be a pattern of path.Match.
var exceptions = []struct{ page, begins, reason string }{
	{"*/README.md", "go get github.com/edge-proxy/edge/", "needs a module; TestGet looks at it"},
	{"*/README.md", "bin/edge-bench micro", "measures for minutes"},
	{"docs/DSL.md", "condition = expr", "the grammar"},
	{"docs/DSL.md", `path starts_with "/api/"`, "the tables of the page have these two, which tests of lang read"},
	{"docs/acme.md", "edge check --acme", "asks an authority of the Internet; TestCheck_acme asks one of its own"},
	{"docs/admin.md", "curl --unix-socket", "needs /run/edge; tests of cmd/edge ask in this way"},
	{"docs/architecture.md", "1 wait    kernel.Wait(until the next timer)", "a drawing"},
	{"docs/design/adr/0003-number-of-processors.md", "go test ./engine", "measures for a minute"},
	{"docs/design/balancing-measured.md", "bin/edge-bench balance", "simulates for minutes"},
	{"docs/design/benchmarks.md", "bin/edge-bench proxy", "measures for minutes"},
	{"docs/design/benchmarks.md", "OpenSSL  ./Configure", "builds programs of others for a quarter of an hour"},
	{"docs/design/benchmarks.md", "bin/edge-bench bystander", "measures for minutes"},
	{"docs/design/benchmarks.md", "bin/edge-bench scale", "measures for minutes"},
	{"docs/design/benchmarks.md", "bin/edge-bench micro", "measures for minutes"},
	{"docs/design/benchmarks.md", "bin/edge-bench http", "measures for a minute"},
	{"docs/design/benchmarks.md", "bin/edge-bench self", "measures for minutes"},
	{"docs/design/cost.md", "go test -run - -bench Proxy_crowd", "measures for minutes"},
	{"docs/design/cost.md", "go test -c -o crowd", "measures for minutes"},
	{"docs/deployment.md", "install -m 755 edge", "changes the machine"},
	{"docs/deployment.md", "docker build", "needs docker"},
	{"docs/deployment.md", "helm install", "needs a cluster"},
	{"docs/deployment.md", "minisign -V", "needs a release; TestSign runs minisign"},
	{"docs/deployment.md", "docker load", "needs docker, and a registry"},
	{"docs/install.md", "docker load", "needs docker; TestImage of packaging/dist reads the file"},
	{"docs/install.md", "helm install", "needs a cluster; make helm-check renders the chart"},
	{"docs/install.md", "git clone", "fetches edge"},
	{"docs/install.md", "apt-get install", "changes the machine; TestRelease_install runs it on a copy"},
	{"docs/install.md", "edge check -c /etc", "changes the machine; TestRelease_install runs it on a copy"},
	{"docs/install.md", "rpm -U", "changes the machine; TestRelease_install runs it on a copy"},
	{"docs/install.md", "tar xzf", "changes the machine; TestRelease_install runs it on a copy"},
	{"docs/upgrade.md", "tar xzf", "of a release to come; TestUpgrade_verify runs the command"},
	{"docs/discovery.md", "# address [weight=N]", "a file of backends; the tests of its parser have such lines"},
	{"docs/discovery.md", "edge run -c examples/services/edge.toml", "needs etcd; examples_test.go does the same"},
	{"docs/doctor.md", "edge doctor", "finds what is wrong with this machine; doctor_test.go runs it"},
	{"docs/doctor.md", "warning  descriptors", "of another machine"},
	{"docs/filters.md", "[[routes]]\npattern = \"/*\"", "for examples/configured, whose test has such a file"},
	{"docs/health.md", "level=WARN msg=\"backend down\"", "the log of a terminal"},
	{"docs/plugins.md", "edge build --with", "takes a module of others and half a minute; TestBuild builds"},
	{"docs/plugins.md", "[http]\nlisten = \":8080\"\n\n[filters.tenants]", "of examples/plugin; TestBuild serves it"},
	{"docs/plugins.md", "[http]\nlisten = \":8080\"\n\n[destinations.info]", "examples/plugin/fleet serves it"},
	{"docs/plugins.md", "[http]\nlisten = \":8080\"\n\n[log]", "examples/plugin/fleet serves it"},
	{"docs/plugins.md", "[http]\nlisten = \":8080\"\n\n[balance_methods", "examples/plugin/fleet serves it"},
	{"docs/plugins.md", "[connection_filters.door]", "examples/plugin/fleet serves it"},
	{"docs/plugins.md", "[https]\nlisten = \":443\"\ncert = \"acme\"", "types of examples/plugin/fleet; its tests"},
	{"docs/acme.md", "#!/bin/sh", "needs a zone; internal/test/interop runs it with BIND"},
	{"docs/plugins.md", "[services.pager]", "examples/plugin/fleet serves it"},
	{"docs/framework.md", "[services.lines]", "a test of package program reads it"},
	{"docs/plugins.md", "[http]\nlisten = \":8080\"\n\n[discoverers", "examples/plugin/fleet serves it"},
	{"docs/plugins.md", "github.com/edge-proxy/edge v1.4.0 ", "what edge build prints; TestBuild looks at it"},
	{"docs/plugins.md", "# edge.build", "TestParseFile reads such a file"},
	{"docs/plugins.md", "FROM golang:1.26 AS build", "needs docker"},
	{"docs/recipes.md", "edge serve-demo", "prelude.bash starts them"},
	{"docs/tcp.md", "$ edge why", "of a connection on another machine; tests of cmd/edge run the command"},
	{"docs/tcp.md", "{\"time\"", "a line of a log; tests of package server read such lines"},
	{"docs/resilience.md", "level=WARN msg=\"backend down\"", "the log of a terminal"},
	{"docs/health.md", "            ┌──", "a drawing"},
	{"docs/design/hit-ratio.md", "bin/edge-bench hitratio", "measures for minutes"},
	{"docs/design/hit-ratio.md", "hit(e)", "pseudo code"},
	{"docs/migrating.md", "$ edge import nginx /etc/nginx/nginx.conf", "a file of the reader; TestImport has another"},
	{"docs/migrating.md", "# cp -a /var/lib/caddy", "files of the reader; tests of internal/test/interop have others"},
	{"docs/migrating.md", "# edge import traefik", "files of the reader; TestImport_certificatesOfTraefik has others"},
	{"docs/deployment.md", "systemctl edit edge.socket", "needs systemd; TestUnit_sockets reads the unit"},
	{"docs/deployment.md", "[Service]\nAmbientCapabilities=\n", "a drop-in of systemd"},
	{"docs/migrating.md", "upstream api {", "TestImport_doesWhatThePageSays imports it"},
	{"docs/operations.md", `time=… level=INFO msg="configuration reloaded"`, "the log of a terminal"},
	{"docs/logging.md", `{"time":"…","level":"ERROR","msg":"lines of the error log are missing"`,
		"written when nobody reads the log"},
	{"docs/logging.md", "/var/log/edge/*.log {", "a file of logrotate"},
	{"docs/operations.md", "~ listener web: listen", "of two files; TestDiff_files runs the command"},
	{"docs/operations.md", `time=… level=INFO msg="certificate changed"`, "the log of a terminal"},
	{"docs/why.md", `level=WARN msg="a backend fails"`, "the log of a terminal"},
	{"docs/why.md", "$ edge why fcff", "of a request on another machine; TestWhy runs the command"},
	{"examples/configured/edge.toml", "[http]", "a filter of its program, which TestConfigured starts"},
	{"examples/sites/*/edge.toml", "# ", "has files beside it; a test runs its script"},
	{"examples/plugin/edge.toml", "[http]", "a type of its module, which TestBuild starts"},
	{"examples/plugin/fleet/edge.toml", "[http]", "types of its modules, whose tests start it"},
	{"docs/commands.md", "source <(edge completion bash)", "needs shells with their completion"},
	{"docs/quick-start*.md", `time=… level=WARN msg="a backend fails"`, "the log of a terminal"},
	{"docs/tls.md", "openssl ocsp", "asks a server of the authority"},
}

// exception returns the index of b among exceptions, or -1.
func (b *block) exception() int {
	for i, e := range exceptions {
		if page, _ := path.Match(e.page, b.page); page && strings.HasPrefix(b.text(), e.begins) {
			return i
		}
	}
	return -1
}

// embedded matches a configuration in a file of Kubernetes or Helm.
var embedded = regexp.MustCompile(`(?m)^ *(?:config|edge\.toml): \|\n((?:  .*\n|\n)+)`)

// pages returns the blocks of every page. A configuration in examples/ or packaging/ is a page of one block.
func pages(t *testing.T) map[string][]*block {
	t.Helper()
	root := testutil.Root(t)
	var files []string
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md", "docs/*/*/*.md", "*/README.md", "*.md",
		"examples/*.toml", "examples/*/*.toml", "examples/*/*/edge.toml", "packaging/*.toml",
		"packaging/*/*.toml", "packaging/*/*/*.toml",
		"packaging/kubernetes/edge.yaml", "packaging/helm/edge/values.yaml"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		testutil.Must(t, err)
		files = append(files, found...)
	}
	all := map[string][]*block{}
	for _, file := range files {
		text := testutil.ReadFile(t, file)
		page, err := filepath.Rel(root, file)
		testutil.Must(t, err)
		page = filepath.ToSlash(page)
		if all[page] = blocks(page, string(text)); path.Ext(page) != ".md" {
			if within := embedded.FindSubmatch(text); within != nil {
				text = within[1]
			}
			all[page] = []*block{{page: page, line: 1, lang: "toml", lines: strings.Split(string(text), "\n")}}
		}
	}
	return all
}

// A package that a README tells to get is there.
func TestGet(t *testing.T) {
	for page, list := range pages(t) {
		for _, b := range list {
			name, ok := strings.CutPrefix(b.lines[0], "go get github.com/edge-proxy/edge/")
			if !ok {
				continue
			}
			if len(b.lines) > 1 || name != path.Dir(page) {
				t.Errorf("%v: %q is not how to get %s", b, b.lines, path.Dir(page))
			}
		}
	}
}

// blocks returns the code blocks of a page.
func blocks(page, text string) (list []*block) {
	var open *block
	section := ""
	for i, line := range strings.Split(text, "\n") {
		lang, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && open == nil:
			open = &block{page: page, section: section, line: i + 2, lang: lang}
		case fence:
			list, open = append(list, open), nil
		case open != nil:
			open.lines = append(open.lines, line)
		case strings.HasPrefix(line, "## "):
			section = line[3:]
		}
	}
	return list
}

// of returns the blocks of some languages that are no exceptions.
func of(list []*block, languages ...string) (picked []*block) {
	for _, b := range list {
		if slices.Contains(languages, b.lang) && b.exception() < 0 {
			picked = append(picked, b)
		}
	}
	return picked
}

// Every block is tested or an exception, and every exception is there.
func TestBlocks(t *testing.T) {
	used := map[int]bool{}
	for _, list := range pages(t) {
		for _, b := range list {
			if !slices.Contains(languages, b.lang) {
				t.Errorf("%v: ```%s: name one of %s, see doc.go", b, b.lang, strings.Join(languages, ", "))
			}
			i := b.exception()
			used[i] = true
			if slices.Contains([]string{"text", "ini", "dockerfile"}, b.lang) && !b.drawing() && i < 0 {
				t.Errorf("%v: nothing tests this sample: make it console, or an exception", b)
			}
		}
	}
	for i, e := range exceptions {
		if !used[i] {
			t.Errorf("%s has no block that begins with %q", e.page, e.begins)
		}
	}
}

// drawing reports whether b has arrows or lines.
func (b *block) drawing() bool { return strings.ContainsAny(b.text(), "─►▶│") }

func TestBlocks_ofAPage(t *testing.T) {
	list := blocks("a.md", "a\n```sh\ntrue\n\nfalse\n```\n- b\n  ```text\n  c\n  ```\n")
	if len(list) != 2 || list[0].String() != "a.md:3" || list[0].text() != "true\n\nfalse\n" || list[1].lang != "text" {
		t.Fatalf("%+v", list)
	}
}
