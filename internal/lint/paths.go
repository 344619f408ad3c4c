package lint

import (
	"maps"
	"regexp"
	"slices"
)

// machinePath matches a directory of a developer's machine.
var machinePath = regexp.MustCompile(`(?:^|[\s"'=(:` + "`" + `])(/(?:work|root|Users|home/\w+)/\w[\w./-]*)`)

// checkMachinePath: no file names a directory that exists on one machine only.
func checkMachinePath(t *tree) []finding {
	texts := maps.Clone(t.texts)
	for _, s := range t.sources {
		texts[s.path] = s.text
	}
	var found []finding
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		eachLine(texts[name], func(n int, line string) {
			if m := machinePath.FindStringSubmatch(line); m != nil {
				found = append(found, finding{path: name, line: n, symbol: m[1],
					says: m[1] + " is a path of one machine"})
			}
		})
	}
	return found
}
