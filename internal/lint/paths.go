package lint

import (
	"regexp"
	"sort"
)

// machinePath matches a directory of somebody's machine.
var machinePath = regexp.MustCompile(`(?:^|[\s"'=(:` + "`" + `])(/(?:work|root|Users|home/\w+)/\w[\w./-]*)`)

// checkMachinePath: no file names a directory that exists on one machine only.
func checkMachinePath(t *tree) []finding {
	texts := map[string][]byte{}
	for name, text := range t.texts {
		texts[name] = text
	}
	for _, s := range t.sources {
		texts[s.path] = s.text
	}
	names := make([]string, 0, len(texts))
	for name := range texts {
		names = append(names, name)
	}
	sort.Strings(names)
	var found []finding
	for _, name := range names {
		eachLine(texts[name], func(n int, line string) {
			if m := machinePath.FindStringSubmatch(line); m != nil {
				found = append(found, finding{path: name, line: n, symbol: m[1],
					says: m[1] + " is a path of one machine"})
			}
		})
	}
	return found
}
