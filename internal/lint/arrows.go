package lint

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// floors is the house from the ground up: an import only points down, to a lower line. A package
// that is not named lives where its parent directory does; "." is the root. Packages on one line know nothing of
// each other; where two need each other, the contract between them is missing.
var floors = [][]string{
	{"internal/invariant", "internal/cgroup", "internal/safeopen", "internal/socketfile", "internal/printable",
		"internal/list", "internal/tally", "internal/build", "internal/yield"},
	{"internal/testutil", "internal/lint"},
	{"message"},
	{"timerwheel", "lang/regex", "lang/table", "plugin/tags"},
	{"pool", "ketama", "tinyufo", "limits", "poller", "certs", "lang", "lang/geo"},
	{"internal/sim"},
	{"h2/hpack"},
	{"h1", "h2"},
	{"engine"},
	{"tlsconn", "engine/netconn"},
	{"session"},
	{"observe", "balance"},
	{"backend"},
	{"backend/admission", "backend/discovery/dns", "backend/discovery/locator", "backend/sticky"},
	{"backend/discovery/remote"},
	{"backend/discovery"},
	{"backend/discovery/register"},
	{"upstream"},
	{"upstream/health"},
	{"route/target"},
	{"route"},
	{"proxy/forwarding", "proxy/grpc", "proxy/meter", "proxy/page", "proxy/recent",
		"proxy/retry", "proxy/slab", "proxy/variables", "proxy/websocket"},
	{"proxy/location"},
	{"proxy"},
	{"proxy/handler", "proxy/dynamic", "plugin"},
	{"config/syntax", "lang/geo/mmdb"},
	{"config/schema"},
	{"config/value", "config/format"},
	{"config/language", "config/plugins"},
	{"config"},
	{"config/changes"},
	{"filter"},
	{"filter/ratelimit"},
	{"filter/rules"},
	{"filter/builtin"},
	{"."},
	{"internal/warm", "internal/filterrig"},
	{"config/import/plan"},
	{"config/import"},
	{"admin"},
	{"server/process/rotate"},
	{"server/metrics", "server/holder", "server/tlsrules"},
	{"server"},
	{"server/process/versions", "server/inspect", "server/process/supervisor",
		"server/process/pidfile", "server/process/lockdown"},
	{"server/process/upgrade"},
	{"server/process/handover"},
	{"server/process", "server/doctor", "server/explain"},
	{"bench", "examples", "internal/battery", "internal/docs", "internal/interop", "internal/outside",
		"packaging"},
	{"cmd"},
}

// ours stands for every package of this module in closed.
const ours = "*"

// closed says which imports a package must not have although they lie below it.
var closed = []struct {
	from   string
	to     []string
	reason string
}{
	{"engine", []string{"message", "h1", "h2", "net/http"}, "the engine knows no HTTP"},
	{"timerwheel", []string{ours}, "a data structure is usable alone"},
	{"pool", []string{ours}, "a data structure is usable alone"},
	{"ketama", []string{ours}, "a data structure is usable alone"},
	{"tinyufo", []string{"message"}, "a data structure is usable alone"},
	{"limits", []string{ours}, "a data structure is usable alone"},
	{"lang/regex", []string{ours}, "a pattern knows no rule"},
	{"route", []string{"engine", "session", "upstream", "poller"}, "rules are pure"},
	{"poller", []string{"message", "net/http"}, "the kernel seam knows no HTTP"},
	{"config/syntax", []string{ours}, "the text of a file is read without knowing what it means"},
	{"config/schema", []string{"message", "certs"}, "a schema knows no section"},
	{"config/value", []string{"certs"}, "a value knows no file"},
	{"backend", []string{"message", "h1", "h2", "session", "net/http"}, "members of a service know no HTTP"},
	{"config", []string{"engine", "session", "upstream", "proxy", "poller"}, "a configuration starts nothing"},
	{"plugin", []string{"config"}, "a program with types of its own reads no file"},
	{".", []string{"config"}, "a program with a proxy of its own reads no file"},
	{"cmd/edge", []string{"bench", "examples"}, "baselines stay out of the binary"},
	{"cmd/edge", []string{"config/import"}, "it is for edge-import"},
}

// testOnly are packages for tests and for bench, never for what is shipped.
var testOnly = []string{"internal/sim", "internal/testutil", "internal/lint", "internal/warm",
	"internal/filterrig"}

// checkArrows: an import only points down.
func checkArrows(s *source) []finding {
	var found []finding
	from, home := floorOf(s.dir)
	if from < 0 {
		found = append(found, finding{path: s.path, line: 1, symbol: s.dir,
			says: fmt.Sprintf("package %s has no floor: give it one in internal/lint/arrows.go", s.dir)})
	}
	for _, spec := range s.ast.Imports {
		if says := arrow(s, from, home, importPath(spec)); says != "" {
			found = append(found, finding{path: s.path, line: s.line(spec.Pos()),
				symbol: strings.TrimPrefix(importPath(spec), module+"/"), says: says})
		}
	}
	return found
}

// arrow says what is wrong with one import, or "".
func arrow(s *source, from int, home, imported string) string {
	to, own := strings.CutPrefix(imported, module+"/")
	if imported == module {
		to, own = ".", true
	}
	if !s.test {
		for _, c := range closed {
			for _, no := range c.to {
				if within(s.dir, c.from) && (within(to, no) || no == ours && own && to != s.dir) {
					return fmt.Sprintf("%s imports %s: %s", s.dir, to, c.reason)
				}
			}
		}
	}
	if !own || to == s.dir {
		return ""
	}
	if isTestOnly(to) {
		if s.test || isTestOnly(s.dir) || s.under("bench") {
			return ""
		}
		return fmt.Sprintf("%s is for tests only", to)
	}
	outside := s.test && strings.HasSuffix(s.ast.Name.Name, "_test")
	if outside && (to == "." || within(to, s.dir)) {
		return "" // a test from outside may put a package under what is built on it
	}
	floor, entry := floorOf(to)
	if from < 0 || floor < 0 || floor < from || entry == home {
		return ""
	}
	return fmt.Sprintf("%s (floor %d) imports %s (floor %d): an import only points down", s.dir, from, to, floor)
}

func isTestOnly(dir string) bool {
	return slices.ContainsFunc(testOnly, func(p string) bool { return within(dir, p) })
}

// floorOf returns the floor of a package and the entry that it has it from, or -1.
func floorOf(dir string) (floor int, entry string) {
	for d := dir; ; d = path.Dir(d) {
		for i, names := range floors {
			for _, name := range names {
				if name == d {
					return i, name
				}
			}
		}
		if path.Dir(d) == "." || path.Dir(d) == "/" {
			return -1, ""
		}
	}
}
