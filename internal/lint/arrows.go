package lint

import (
	"fmt"
	"slices"
	"strings"
)

// layers are listed from the top down. An import points to a lower layer, or within a layer to a folder that is listed
// later, so that folders import each other in no circle. A package that is not named belongs to the folder that it lies
// in; "." is the root.
var layers = []struct{ name, folders string }{
	{"programs", "cmd examples bench packaging internal/test program"},
	{"process", "internal/server/doctor internal/process internal/server/inspect internal/server/explain"},
	{"server", "internal/server internal/server/admin"},
	{"filters", "internal/filter internal/filter/static proxy/cache internal/cache internal/l4"},
	{"configuration", "internal/config"},
	{"library", ". internal/plugin"},
	{"proxy", "proxy/handler internal/filter/encode internal/server/dynamic proxy internal/exchange/content " +
		"internal/forward internal/exchange"},
	{"routes", "internal/route"},
	{"backends", "internal/upstream backend/discovery backend/registry internal/discovery internal/forward/admission " +
		"internal/forward/sticky backend internal/forward/ejection backend/balance"},
	{"sessions", "internal/http3 session internal/stream/shared internal/stream internal/http3/quicconn internal/tls"},
	{"engine", "internal/l4/netconn engine internal/test/quicpeer internal/test/sim poller"},
	{"codecs", "h3 h1 h2 quic internal/l4/proxyproto"},
	{"tools", "internal/tls/certs lang internal/match internal/cache/policy internal/stream/section message " +
		"internal/observe/otlp internal/observe limits tinyufo timerwheel pool ketama"},
	{"base", "internal/lint internal/test/testutil internal/base"},
}

// ours stands for every package of this module in closed.
const ours = "*"

// notBase stands for every package of this module outside of internal/base.
const notBase = "!internal/base/*"

// closed says which imports a package must not have although they lie below it.
var closed = []struct {
	from   string
	to     []string
	reason string
}{
	{"engine", []string{"message", "h1", "h2", "net/http"}, "the engine knows no HTTP"},
	{"quic", []string{notBase}, "a codec of datagrams knows no HTTP and no part of the proxy"},
	{"timerwheel", []string{ours}, "a data structure is usable alone"},
	{"pool", []string{ours}, "a data structure is usable alone"},
	{"ketama", []string{ours}, "a data structure is usable alone"},
	{"tinyufo", []string{"message"}, "a data structure is usable alone"},
	{"limits", []string{ours}, "a data structure is usable alone"},
	{"internal/match/regex", []string{ours}, "a pattern knows no rule"},
	{"internal/route", []string{"engine", "session", "internal/upstream", "poller"}, "rules are pure"},
	{"poller", []string{"message", "net/http"}, "the kernel seam knows no HTTP"},
	{"internal/config/syntax", []string{ours}, "the text of a file is read without knowing what it means"},
	{"internal/config/schema", []string{"message", "internal/tls/certs"}, "a schema knows no section"},
	{"internal/config/value", []string{"internal/tls/certs"}, "a value knows no file"},
	{"backend", []string{"message", "h1", "h2", "session", "net/http"}, "members of a service know no HTTP"},
	{"internal/config", []string{"engine", "session", "internal/upstream", "proxy", "poller"},
		"a configuration starts nothing"},
	{"proxy/cache", []string{"internal/config", "internal/plugin", "internal/filter"}, "a cache knows no file"},
	{"internal/cache/policy", []string{"lang", "observe"}, "a policy knows heads alone"},
	{"proxy", []string{"internal/observe/otlp"}, "what a proxy says of a request, others send"},
	{"proxy", []string{"internal/match/geo/mmdb"}, "a proxy reads no file of a database"},
	{"cmd/edge", []string{"bench", "examples"}, "baselines stay out of the binary"},
	{"cmd/edge", []string{"cmd/edge-import/internal/importer"}, "it is for edge-import"},
}

// testOnly are packages for tests and for bench, never for what is shipped.
var testOnly = []string{"internal/lint", "internal/test"}

// checkArrows: an import only points down.
func checkArrows(s *source, report report) {
	if _, layer := layerOf(s.dir); layer == "" {
		report(1, s.dir, "package %s has no layer: give it one in internal/lint/arrows.go", s.dir)
	}
	for _, spec := range s.ast.Imports {
		if says := arrow(s, importPath(spec)); says != "" {
			report(s.line(spec.Pos()), strings.TrimPrefix(importPath(spec), module+"/"), "%s", says)
		}
	}
}

// arrow says what is wrong with one import, or "".
func arrow(s *source, imported string) string {
	to, own := strings.CutPrefix(imported, module+"/")
	if imported == module {
		to, own = ".", true
	}
	if !s.test {
		for _, c := range closed {
			for _, no := range c.to {
				foreign := own && to != s.dir && (no == ours || no == notBase && !within(to, "internal/base"))
				if within(s.dir, c.from) && (foreign || within(to, no)) {
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
	from, above := layerOf(s.dir)
	if at, layer := layerOf(to); layer != "" && at < from {
		return fmt.Sprintf("%s (%s) imports %s (%s): an import only points down", s.dir, above, to, layer)
	}
	return ""
}

func isTestOnly(dir string) bool {
	return slices.ContainsFunc(testOnly, func(p string) bool { return within(dir, p) })
}

// layerOf returns the place of a package's folder among all folders of layers, 0 at the top, and its layer; "": it has
// none.
func layerOf(dir string) (at int, layer string) {
	length := -1
	n := 0
	for _, l := range layers {
		for folder := range strings.FieldsSeq(l.folders) {
			if within(dir, folder) && len(folder) > length {
				at, layer, length = n, l.name, len(folder)
			}
			n++
		}
	}
	return at, layer
}

// alone are the packages that programs import without the rest, with our packages that each may import. All of them
// import nothing else but the standard library, on each system, in each build: docs/design/adr/0011.
var alone = map[string][]string{
	"timerwheel": nil,
	"pool":       nil,
	"limits":     nil,
	"ketama":     nil,
	"tinyufo":    {"timerwheel"},
}

// checkAlone: a package that is used alone brings nothing along. Its tests are free: an importer has none of them.
func checkAlone(s *source, report report) {
	name, _, _ := strings.Cut(s.dir, "/")
	ours, listed := alone[name]
	if !listed || s.test {
		return
	}
	for _, spec := range s.ast.Imports {
		p := importPath(spec)
		to, own := strings.CutPrefix(p, module+"/")
		root, _, _ := strings.Cut(to, "/")
		if own && (within(to, name) || slices.Contains(ours, root)) || inStandardLibrary(p) {
			continue
		}
		report(s.line(spec.Pos()), to, "%s imports %s: it is used alone, with the standard library only", s.dir, to)
	}
}

// inStandardLibrary reports whether an import path begins with no domain. Cgo would ask for a C compiler.
func inStandardLibrary(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !strings.Contains(first, ".") && p != "C"
}

// codecs are the packages that do no I/O, hold no descriptor and read no clock.
var codecs = []string{"message", "h1", "h2", "h3", "quic", "internal/base/huffman", "internal/base/budget",
	"timerwheel", "pool", "ketama", "tinyufo", "limits", "lang", "internal/match", "internal/cache/policy",
	"internal/stream/section"}

// outside are packages by which a codec would reach the world. net/netip is only arithmetic.
var outside = []string{"net", "os", "syscall", "log", "io/fs", "io/ioutil", "crypto/tls", "golang.org/x/sys"}

// checkCodec: bytes in, events out; nothing of the world in between.
func checkCodec(s *source, report report) {
	if s.test || !s.under(codecs...) || s.under("internal/match/table") { // of files
		return
	}
	for _, spec := range s.ast.Imports {
		for _, no := range outside {
			if p := importPath(spec); within(p, no) && p != "net/netip" {
				report(s.line(spec.Pos()), p, "%s is a codec or a data structure and imports %s", s.dir, p)
			}
		}
	}
}
