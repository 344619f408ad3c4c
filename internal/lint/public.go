package lint

import (
	"maps"
	"slices"
	"strings"
)

// public are the packages that programs of others import. One more is a promise to keep its names: it needs a decision
// in docs/design/adr, as 0028 is one.
var public = strings.Fields(". backend backend/balance backend/discovery backend/registry engine h1 h2 h2/hpack " +
	"h3 h3/qpack ketama lang limits message poller pool program program/programtest proxy proxy/cache proxy/handler " +
	"quic session timerwheel tinyufo")

// publicNamesMax is how many functions, types, methods, variables and constants these packages may export.
const publicNamesMax = 2000

// isPublic reports whether dir can be imported by programs of others and is meant for that.
func isPublic(dir string) bool {
	return !slices.Contains(strings.Split(dir, "/"), "internal") && !within(dir, "cmd") && !within(dir, "bench") &&
		!within(dir, "examples") && !within(dir, "packaging")
}

// checkPublic: the packages outside of internal are the ones of public, and each has an example in its documentation.
func checkPublic(t *tree) []finding {
	first, examples := map[string]string{}, map[string]bool{}
	for _, s := range t.sources {
		if !isPublic(s.dir) {
			continue
		}
		if first[s.dir] == "" && !s.test {
			first[s.dir] = s.path
		}
		if s.test && strings.Contains(string(s.text), "\nfunc Example") {
			examples[s.dir] = true
		}
	}
	var found []finding
	for _, dir := range slices.Sorted(maps.Keys(first)) {
		switch {
		case !slices.Contains(public, dir):
			found = append(found, finding{path: first[dir], line: 1, symbol: dir,
				says: dir + " can be imported by others and is not in public of internal/lint/public.go"})
		case !examples[dir]:
			found = append(found, finding{path: first[dir], line: 1, symbol: dir, says: dir + " has no Example"})
		}
	}
	return found
}

// checkOutsideView: a reader of documentation can do what an example does, so it imports what he can import.
func checkOutsideView(s *source, report report) {
	if !isPublic(s.dir) || !strings.HasSuffix(s.path, "example_test.go") {
		return
	}
	for _, spec := range s.ast.Imports {
		if p := importPath(spec); within(p, module+"/internal") {
			report(s.line(spec.Pos()), p, "an example imports %s, which readers cannot", p)
		}
	}
}
