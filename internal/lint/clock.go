package lint

import (
	"fmt"
	"go/ast"
)

// clockReads are the members of package time that read the clock or wait by it.
var clockReads = map[string]bool{
	"Now": true, "Since": true, "Until": true, "After": true, "AfterFunc": true,
	"NewTimer": true, "NewTicker": true, "Tick": true, "Sleep": true,
}

// checkClock: codecs are told the time, the simulated kernel makes it up, and the poller reads
// it in functions called Now and nowhere else.
func checkClock(s *source) []finding {
	if s.test || !(s.under(codecs...) || s.under("poller", "internal/sim")) || s.under("lang/table") {
		return nil
	}
	var found []finding
	s.inFuncs(func(n ast.Node, in string) {
		pkg, name, ok := s.selected(n)
		if !ok || pkg != "time" || !clockReads[name] || s.under("poller") && isNow(in) {
			return
		}
		found = append(found, finding{path: s.path, line: s.line(n.Pos()), symbol: in,
			says: fmt.Sprintf("time.%s in a package that is told the time", name)})
	})
	return found
}

func isNow(fn string) bool {
	return fn == "Now" || fn == "now" || len(fn) > 4 && (fn[len(fn)-4:] == ".Now" || fn[len(fn)-4:] == ".now")
}
