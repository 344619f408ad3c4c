package lint

import (
	"fmt"
	"sync"
)

// rule is one thing that is checked. A rule sees either one Go file at a time or the whole tree.
type rule struct {
	name   string
	source func(s *source, report report)
	tree   func(t *tree) []finding
}

// rules lists every rule. Exceptions in allow.txt name them by name.
var rules = []rule{
	{name: "syntax", tree: func(t *tree) []finding { return t.broken }},
	{name: "arrows", source: checkArrows},
	{name: "alone", source: checkAlone},
	{name: "modules", source: checkModules},
	{name: "codec", source: checkCodec},
	{name: "clock", source: checkClock},
	{name: "sleep", source: checkSleep},
	{name: "allocs", source: checkAllocs},
	{name: "port", source: checkPort},
	{name: "go", source: checkGo},
	{name: "syscall", source: checkSyscall},
	{name: "unsafe", source: checkUnsafe},
	{name: "random", source: checkRandom},
	{name: "func-length", source: checkFuncLength},
	{name: "file-length", source: checkFileLength},
	{name: "line-length", source: checkLineLength},
	{name: "operations", tree: checkOperations},
	{name: "fields", tree: checkFields},
	{name: "walkers", tree: checkWalkers},
	{name: "word", source: checkWord},
	{name: "note", tree: checkNote},
	{name: "nameless", source: checkNameless},
	{name: "phrase", tree: checkPhrase},
	{name: "doc", source: checkDoc},
	{name: "package-doc", tree: checkPackageDoc},
	{name: "public", tree: checkPublic},
	{name: "outside-view", source: checkOutsideView},
	{name: "machine-path", tree: checkMachinePath},
	{name: "link", tree: checkLink},
	{name: "listed", tree: checkListed},
}

func ruleNamed(name string) (rule, bool) {
	for _, r := range rules {
		if r.name == name {
			return r, true
		}
	}
	return rule{}, false
}

// find returns what r finds in t, exceptions not yet taken out.
func (r rule) find(t *tree) []finding {
	var found []finding
	if r.tree != nil {
		found = r.tree(t)
	}
	for _, s := range t.sources {
		if r.source != nil {
			r.source(s, func(line int, symbol, format string, args ...any) {
				found = append(found, finding{path: s.path, line: line, symbol: symbol,
					says: fmt.Sprintf(format, args...)})
			})
		}
	}
	for i := range found {
		found[i].rule = r.name
	}
	return found
}

// findings runs every rule over the module once.
var findings = sync.OnceValues(func() (map[string][]finding, error) {
	t, err := loadTree()
	if err != nil {
		return nil, err
	}
	found := map[string][]finding{}
	for _, r := range rules {
		found[r.name] = r.find(t)
	}
	return found, nil
})
