package lint

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

// goHomes are packages that may start goroutines as they like. Everywhere else a goroutine is an
// event: allow.txt lists the functions that start one, each with the reason why it ends.
var goHomes = []string{"cmd", "bench", "examples", "internal/test/testutil", "internal/test/sim"}

// checkGo: reactor code has no goroutines; the few places that have are listed.
func checkGo(s *source, report report) {
	if s.test || s.under(goHomes...) {
		return
	}
	s.inFuncs(func(n ast.Node, in string) {
		if _, ok := n.(*ast.GoStmt); ok {
			report(s.line(n.Pos()), in, "%s starts a goroutine and is not in allow.txt", in)
		}
	})
}

// rawFile is the one file of edge that makes system calls of which the scheduler is not told: none of them may block.
const rawFile = "poller/raw_linux.go"

// checkSyscall: raw system calls stand in one file, beside the benchmarks' own relay.
func checkSyscall(s *source, report report) {
	if s.path == rawFile || s.under("bench") {
		return
	}
	s.inFuncs(func(n ast.Node, in string) {
		pkg, name, ok := s.selected(n)
		if !ok || pkg != "syscall" && pkg != "golang.org/x/sys/unix" {
			return
		}
		if strings.HasPrefix(name, "RawSyscall") || strings.HasPrefix(name, "Syscall") {
			report(s.line(n.Pos()), in, "%s outside %s", name, rawFile)
		}
	})
	for _, group := range s.ast.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, "//go:linkname ") && strings.Contains(c.Text, "yscall") {
				report(s.line(c.Pos()), "linkname", "a system call by linkname outside "+rawFile)
			}
		}
	}
}

// clockReads are the members of package time that read the clock or wait by it.
var clockReads = map[string]bool{
	"Now": true, "Since": true, "Until": true, "After": true, "AfterFunc": true,
	"NewTimer": true, "NewTicker": true, "Tick": true, "Sleep": true,
}

// checkClock: codecs are told the time, the simulated kernel makes it up, and the poller reads
// it in functions called Now and nowhere else.
func checkClock(s *source, report report) {
	if s.test || !(s.under(codecs...) || s.under("poller", "internal/test/sim")) || s.under("internal/match/table") {
		return
	}
	s.inFuncs(func(n ast.Node, in string) {
		pkg, name, ok := s.selected(n)
		if !ok || pkg != "time" || !clockReads[name] || s.under("poller") && isNow(in) {
			return
		}
		report(s.line(n.Pos()), in, "time.%s in a package that is told the time", name)
	})
}

func isNow(fn string) bool {
	return fn == "Now" || fn == "now" || len(fn) > 4 && (fn[len(fn)-4:] == ".Now" || fn[len(fn)-4:] == ".now")
}

// checkSleep: a test waits for something, with a deadline, and never for a time to pass. In testutil.Bubble Sleep only
// moves the fake clock. testutil names deadlines, since a busy machine is slow.
func checkSleep(s *source, report report) {
	if !(s.test || s.under("internal/test/testutil")) {
		return
	}
	fake := s.imports["synctest"] == "testing/synctest"
	s.inFuncs(func(n ast.Node, in string) {
		switch pkg, name, _ := s.selected(n); {
		case pkg == module+"/internal/test/testutil" && name == "Bubble":
			fake = true
		case pkg == "testing/synctest" && name == "Test" && s.test:
			report(s.line(n.Pos()), in, "synctest.Test crashes under the race detector: testutil.Bubble does not")
		}
	})
	if fake {
		return
	}
	s.inFuncs(func(n ast.Node, in string) {
		if call, ok := n.(*ast.CallExpr); ok && len(call.Args) > 1 {
			within, _ := call.Args[1].(*ast.BinaryExpr)
			if _, name, _ := s.selected(call.Fun); name == "Eventually" && within != nil {
				if pkg, _, _ := s.selected(within.Y); pkg == "time" {
					report(s.line(n.Pos()), in,
						"a deadline of its own: testutil.Patience, or Minutes where another process is awaited")
				}
			}
		}
		if pkg, name, ok := s.selected(n); ok && pkg == "time" && name == "Sleep" {
			report(s.line(n.Pos()), in,
				"time.Sleep in a test: poll with a deadline (testutil.Eventually) or use testutil.Bubble")
		}
	})
}

// fixedPort is an address of this machine with a port that another process may hold.
var fixedPort = regexp.MustCompile(`^"(localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|\[::1?\])?:([1-9]\d{3,4})"$`)

// checkPort: a test listens on port 0 and dials what it was given. Only arguments of calls named
// Listen… and Dial… count, since tests of a parser may write any address, and the simulated
// kernel has all ports to itself.
func checkPort(s *source, report report) {
	if !s.test || s.imports["sim"] == module+"/internal/test/sim" || s.under("internal/test/sim") {
		return
	}
	s.inFuncs(func(n ast.Node, in string) {
		call, ok := n.(*ast.CallExpr)
		if !ok || !opensSocket(call) {
			return
		}
		for _, arg := range call.Args {
			ast.Inspect(arg, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if ok && lit.Kind == token.STRING && fixedPort.MatchString(lit.Value) {
					report(s.line(lit.Pos()), in, "fixed port %s: listen on port 0", lit.Value)
				}
				_, nested := n.(*ast.CallExpr)
				return !nested || !opensSocket(n.(*ast.CallExpr))
			})
		}
	})
}

func opensSocket(call *ast.CallExpr) bool {
	name := ""
	switch fn := call.Fun.(type) {
	case *ast.Ident:
		name = fn.Name
	case *ast.SelectorExpr:
		name = fn.Sel.Name
	}
	return strings.HasPrefix(name, "Listen") || strings.HasPrefix(name, "Dial")
}

// checkAllocs: under the race detector a pool forgets at random what it was given, so a count of allocations that
// does not allow for that fails one run in many.
func checkAllocs(s *source, report report) {
	if s.under("internal/test/testutil") {
		return
	}
	s.inFuncs(func(n ast.Node, in string) {
		if pkg, name, ok := s.selected(n); ok && pkg == "testing" && name == "AllocsPerRun" {
			report(s.line(n.Pos()), in, "testing.AllocsPerRun: testutil.Allocs allows for the race detector")
		}
	})
}
