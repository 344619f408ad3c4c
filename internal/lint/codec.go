package lint

import "fmt"

// codecs are the packages that do no I/O, hold no descriptor and read no clock.
var codecs = []string{"message", "h1", "h2", "timerwheel", "pool", "ketama", "tinyufo", "limits", "lang"}

// outside are packages by which a codec would reach the world. net/netip is only arithmetic.
var outside = []string{"net", "os", "syscall", "log", "io/fs", "io/ioutil", "crypto/tls", "golang.org/x/sys"}

// checkCodec: bytes in, events out; nothing of the world in between.
func checkCodec(s *source) []finding {
	if s.test || !s.under(codecs...) || s.under("lang/table") { // its files are read where its look-ups are not
		return nil
	}
	var found []finding
	for _, spec := range s.ast.Imports {
		for _, no := range outside {
			if p := importPath(spec); within(p, no) && p != "net/netip" {
				found = append(found, finding{path: s.path, line: s.line(spec.Pos()), symbol: p,
					says: fmt.Sprintf("%s is a codec or a data structure and imports %s", s.dir, p)})
			}
		}
	}
	return found
}
