package lint

import (
	"fmt"
	"go/ast"
	"strings"
)

// rawFile is the one file of edge that makes system calls of which the scheduler is not told: none of them may block.
const rawFile = "poller/raw_linux.go"

// checkSyscall: raw system calls stand in one file, beside the benchmarks' own relay.
func checkSyscall(s *source) []finding {
	if s.path == rawFile || s.under("bench") {
		return nil
	}
	var found []finding
	s.inFuncs(func(n ast.Node, in string) {
		pkg, name, ok := s.selected(n)
		if !ok || pkg != "syscall" && pkg != "golang.org/x/sys/unix" {
			return
		}
		if strings.HasPrefix(name, "RawSyscall") || strings.HasPrefix(name, "Syscall") {
			found = append(found, finding{path: s.path, line: s.line(n.Pos()), symbol: in,
				says: fmt.Sprintf("%s outside %s", name, rawFile)})
		}
	})
	for _, group := range s.ast.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, "//go:linkname ") && strings.Contains(c.Text, "yscall") {
				found = append(found, finding{path: s.path, line: s.line(c.Pos()), symbol: "linkname",
					says: "a system call by linkname outside " + rawFile})
			}
		}
	}
	return found
}
