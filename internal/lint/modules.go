package lint

import (
	"fmt"
	"regexp"
	"strings"
)

// moduleHomes says which packages may import a module of others. What is not here may be
// imported by no package: a dependency is a decision (docs/dependencies.md). Tests are free.
var moduleHomes = map[string][]string{
	"golang.org/x/sys": {"backend/discovery", "backend/registry", "bench", "cmd/edge", "cmd/edge-bench", "engine",
		"internal/base", "internal/cache/disk", "internal/process", "internal/server", "internal/test",
		"internal/tls/certs/issue", "poller"},
	"golang.org/x/crypto":                     {"examples/ssh", "internal/filter/basicauth", "packaging/dist", "quic"},
	"golang.org/x/net":                        {"bench", "internal/discovery/dns", "internal/test"},
	"golang.org/x/time":                       {"bench"},
	"github.com/pelletier/go-toml/v2":         {"internal/config/syntax"},
	"go.yaml.in/yaml/v3":                      {"internal/config/syntax"},
	"github.com/getsentry/sentry-go":          {"cmd/edge/report"},
	"github.com/smallstep/truststore":         {"cmd/edge/trust"},
	"github.com/mholt/acmez/v3":               {"internal/tls/certs/issue/acme"},
	"github.com/libdns/libdns":                {"examples/plugin"},
	"github.com/miekg/dns":                    {"examples/plugin"},
	"github.com/klauspost/compress":           {"internal/filter/encode", "internal/process/rotate", "internal/test"},
	"github.com/oschwald/maxminddb-golang/v2": {"internal/match/geo/mmdb"},
	"github.com/spf13/cobra":                  {"cmd"},
	"github.com/spf13/pflag":                  {"cmd", "program"},
	"github.com/valyala/fasthttp":             {"bench"},
	"github.com/quic-go/quic-go":              {"bench"},
	"github.com/cloudwego/netpoll":            {"bench"},
	"github.com/jackc/puddle/v2":              {"bench"},
	"github.com/vbauerster/mpb/v8":            {"cmd/edge-bench"},
	"github.com/goreleaser/nfpm/v2":           {"packaging/deb"},
	"aead.dev/minisign":                       {"cmd/edge", "packaging/dist"},
	"github.com/google/go-containerregistry":  {"packaging/dist"},
	"github.com/spdx/tools-golang":            {"packaging/dist"},
	"golang.org/x/exp":                        {"packaging/dist"},
	"golang.org/x/tools":                      {"packaging/dist"},
	"github.com/HdrHistogram/hdrhistogram-go": {"bench"},
	"golang.org/x/perf":                       {"bench"},
	"github.com/cespare/xxhash/v2":            {"bench", "proxy/cache"},
	"github.com/dgryski/go-jump":              {"bench"},
	"github.com/dgryski/go-rendezvous":        {"bench"},
	"github.com/golang/groupcache":            {"bench"},
	"github.com/kkdai/maglev":                 {"bench"},
	"github.com/serialx/hashring":             {"bench"},
	"github.com/maypok86/otter/v2":            {"bench"},
	"github.com/Yiling-J/theine-go":           {"bench"},
	"github.com/dgraph-io/ristretto/v2":       {"bench"},
	"github.com/hashicorp/golang-lru/v2":      {"bench"},
	"github.com/hashicorp/golang-lru/arc/v2":  {"bench"},
	"github.com/phuslu/lru":                   {"bench"},
	"github.com/elastic/go-freelru":           {"bench"},
	"github.com/puzpuzpuz/xsync/v4":           {"bench"},
	"github.com/VictoriaMetrics/fastcache":    {"bench"},
	"github.com/coocood/freecache":            {"bench"},
}

// checkModules: a module of others is imported only where it is at home.
func checkModules(s *source, report report) {
	for _, spec := range s.ast.Imports {
		p := importPath(spec)
		if s.test || within(p, module) || !strings.Contains(strings.Split(p, "/")[0], ".") {
			continue
		}
		if mod := moduleOf(p); mod == "" || !s.under(moduleHomes[mod]...) {
			report(s.line(spec.Pos()), p,
				"%s does not import %s: see moduleHomes in internal/lint/modules.go", s.dir, p)
		}
	}
}

func moduleOf(p string) string {
	for mod := range moduleHomes {
		if within(p, mod) {
			return mod
		}
	}
	return ""
}

// required matches a direct requirement of go.mod.
var required = regexp.MustCompile(`^\s*(?:require\s+)?([\w.-]+\.[\w.-]+/\S+)\s+v\S+\s*$`)

// checkListed: docs/dependencies.md says of every module that a go.mod requires directly why it is there.
func checkListed(t *tree) []finding {
	const list = "docs/dependencies.md"
	var found []finding
	for _, name := range t.names(".mod") {
		eachLine(t.texts[name], func(n int, line string) {
			m := required.FindStringSubmatch(line)
			if m != nil && !within(m[1], module) && !strings.Contains(string(t.texts[list]), "`"+m[1]+"`") {
				found = append(found, finding{path: name, line: n, symbol: m[1],
					says: fmt.Sprintf("%s is not in %s", m[1], list)})
			}
		})
	}
	return found
}
