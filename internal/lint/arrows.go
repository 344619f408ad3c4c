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
	{"programs", "cmd examples bench packaging internal/battery internal/docs internal/interop internal/outside " +
		"internal/warm internal/filterrig program"},
	{"process", "server/doctor server/process server/inspect server/explain"},
	{"server", "server admin"},
	{"filters", "filter static cache l4"},
	{"configuration", "config"},
	{"library", ". plugin"},
	{"proxy", "proxy"},
	{"routes", "route"},
	{"backends", "upstream backend balance"},
	{"sessions", "session/http3 session session/shared session/stream quicconn tlsconn"},
	{"engine", "engine internal/quicpeer internal/sim poller"},
	{"codecs", "h3 h1 h2 quic proxyproto"},
	{"tools", "certs/issue/acme certs/issue certs lang cache/policy message observe/otlp observe limits tinyufo " +
		"timerwheel pool ketama"},
	{"ground", "internal/lint internal/testutil internal/private internal/safeopen internal/socketfile " +
		"internal/cgroup internal/build internal/printable internal/list internal/tally internal/yield " +
		"internal/huffman internal/budget internal/invariant internal/fdpass"},
}

// ours stands for every package of this module in closed.
const ours = "*"

// public stands for every package of this module outside of internal.
const public = "!internal/*"

// closed says which imports a package must not have although they lie below it.
var closed = []struct {
	from   string
	to     []string
	reason string
}{
	{"engine", []string{"message", "h1", "h2", "net/http"}, "the engine knows no HTTP"},
	{"quic", []string{public}, "a codec of datagrams knows no HTTP and no part of the proxy"},
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
	{"cache", []string{"config", "plugin", "filter"}, "a cache knows no file"},
	{"cache/policy", []string{"lang", "observe"}, "a policy knows heads alone"},
	{"proxy", []string{"observe/otlp"}, "what a proxy says of a request, others send"},
	{"proxy", []string{"lang/geo/mmdb"}, "a proxy reads no file of a database"},
	{"cmd/edge", []string{"bench", "examples"}, "baselines stay out of the binary"},
	{"cmd/edge", []string{"config/import"}, "it is for edge-import"},
}

// testOnly are packages for tests and for bench, never for what is shipped.
var testOnly = []string{"internal/sim", "internal/quicpeer", "internal/testutil", "internal/lint", "internal/warm",
	"internal/filterrig"}

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
				foreign := own && to != s.dir && (no == ours || no == public && !within(to, "internal"))
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
// import nothing else but the standard library, on each system, in each build: docs/adr/0011.
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
var codecs = []string{"message", "h1", "h2", "h3", "quic", "internal/huffman", "internal/budget", "timerwheel", "pool",
	"ketama", "tinyufo", "limits", "lang", "cache/policy"}

// outside are packages by which a codec would reach the world. net/netip is only arithmetic.
var outside = []string{"net", "os", "syscall", "log", "io/fs", "io/ioutil", "crypto/tls", "golang.org/x/sys"}

// checkCodec: bytes in, events out; nothing of the world in between.
func checkCodec(s *source, report report) {
	if s.test || !s.under(codecs...) || s.under("lang/table") { // its files are read where its look-ups are not
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
