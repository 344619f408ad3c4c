package lint

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// baselineFile says what is above a limit today: "rule name number reason…", one a line, # for remarks. A number may
// only fall: a commit that raises one says why on that line.
const baselineFile = "internal/lint/baseline.txt"

// measure is a limit on a count, of which a baseline may allow more.
type measure struct {
	rule  string
	most  int // what needs no line in the baseline
	slack int // how far a count may be below its line before that has to be lowered
	what  string
	count func(t *tree) map[string]int // by the name of what is counted
}

// measures are the limits with a baseline: a rule each.
var measures = []measure{
	{rule: "lines", most: -1, slack: 200, what: "lines of Go", count: countLines},
	{rule: "operations", most: typeOperationsMax, what: "operations", count: countOperations},
	{rule: "fields", most: typeFieldsMax, what: "fields", count: countFields},
	{rule: "grain", what: "pairs of files against the grain", count: countAgainst},
	{rule: "nameless", slack: 3, what: "comments that leave out a noun", count: countNameless},
}

// check compares what is counted with the baseline. A finding's symbol is name=count.
func (m measure) check(t *tree) []finding {
	var found []finding
	is := m.count(t)
	says := func(line int, name, format string, args ...any) {
		found = append(found, finding{path: baselineFile, line: line, symbol: fmt.Sprintf("%s=%d", name, is[name]),
			says: fmt.Sprintf("%s has %d %s: ", name, is[name], m.what) + fmt.Sprintf(format, args...)})
	}
	seen := map[string]bool{}
	eachLine(t.texts[baselineFile], func(n int, line string) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != m.rule {
			return
		}
		name, most := "", -1
		if len(fields) > 2 {
			name = fields[1]
			most, _ = strconv.Atoi(fields[2])
		}
		switch {
		case most < 1 || len(fields) < 4 || seen[name]:
			says(n, name, "want a line for it, with a rule, a name, a number and a reason")
		case is[name] > most:
			says(n, name, "%d are allowed; make it smaller, or raise the number and say why", most)
		case is[name] < most-m.slack || is[name] <= m.most:
			says(n, name, "lower its %d", most)
		}
		seen[name] = true
	})
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if is[name] > m.most && !seen[name] {
			says(1, name, "%d are allowed", max(m.most, 0))
		}
	}
	return found
}

// countLines counts the lines of the Go files of each top folder, without tests; "." is the root's own.
func countLines(t *tree) map[string]int {
	lines := map[string]int{}
	for _, s := range t.sources {
		if !s.test {
			lines[s.topFolder()] += bytes.Count(s.text, []byte("\n"))
		}
	}
	return lines
}
