package lint

import (
	"fmt"
	"slices"
	"strings"
)

// allowFile lists the exceptions: "rule path[:symbol] reason…", one a line, # for remarks. A path
// that ends with a slash stands for everything below it.
const allowFile = "internal/lint/allow.txt"

// exception lets the findings of one rule at one place pass.
type exception struct {
	line               int
	rule, path, symbol string
}

// parseAllow reads the exceptions. What it cannot read is a finding.
func parseAllow(text []byte) (list []exception, found []finding) {
	seen := map[exception]bool{}
	eachLine(text, func(n int, line string) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			return
		}
		wrong := func(says string) {
			found = append(found, finding{rule: "allow", path: allowFile, line: n, says: says})
		}
		if len(fields) < 4 {
			wrong("want: rule path[:symbol] and a reason of more than a word")
			return
		}
		if _, ok := ruleNamed(fields[0]); !ok {
			wrong(fmt.Sprintf("there is no rule %q", fields[0]))
			return
		}
		e := exception{rule: fields[0]}
		e.path, e.symbol, _ = strings.Cut(fields[1], ":")
		if seen[e] {
			wrong("listed twice")
			return
		}
		seen[e] = true
		e.line = n
		list = append(list, e)
	})
	return list, found
}

func (e exception) covers(f finding) bool {
	if e.rule != f.rule || e.symbol != "" && e.symbol != f.symbol {
		return false
	}
	return e.path == f.path || strings.HasSuffix(e.path, "/") && strings.HasPrefix(f.path, e.path)
}

// remaining returns the findings that no exception covers.
func remaining(found []finding, list []exception) []finding {
	return slices.DeleteFunc(slices.Clone(found), func(f finding) bool {
		return slices.ContainsFunc(list, func(e exception) bool { return e.covers(f) })
	})
}

func unused(found []finding, list []exception) []finding {
	var left []finding
	for _, e := range list {
		if !slices.ContainsFunc(found, e.covers) {
			left = append(left, finding{rule: "allow", path: allowFile, line: e.line,
				says: fmt.Sprintf("nothing needs the exception %s %s %s", e.rule, e.path, e.symbol)})
		}
	}
	return left
}
