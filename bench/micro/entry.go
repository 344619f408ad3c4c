package micro

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"testing"
)

// Entry is one benchmark. Immutable.
type Entry struct {
	Name  string // group/case/who: the first one of a case is ours, the others are its baselines
	Group string // a heading
	What  string // what an operation does, and which part of it is counted
	Bench func(b *testing.B)
}

// family is one of ours with its baselines, in the order of a round.
type family []Entry

// Entries returns all benchmarks, each of ours followed by its baselines.
func Entries() []Entry {
	return slices.Concat(
		parseEntries, timerEntries, poolEntries, warmEntries, echoEntries, hpackEntries, turnEntries, roundTripEntries,
		ketamaEntries, limitsEntries, bytesEntries, cacheEntries,
	)
}

func families(entries []Entry) (all []family) {
	for i, e := range entries {
		if i == 0 || path.Dir(e.Name) != path.Dir(entries[i-1].Name) {
			all = append(all, nil)
		}
		last := &all[len(all)-1]
		*last = append(*last, e)
	}
	return all
}

// choose returns the families of the entries that match: a baseline brings the one it is compared
// with, one of ours brings all its baselines. A nil pattern matches everything.
func choose(entries []Entry, pattern *regexp.Regexp) (chosen []family, err error) {
	for _, f := range families(entries) {
		if pattern != nil && !pattern.MatchString(f[0].Name) {
			f = append(f[:1:1], slices.DeleteFunc(f[1:], func(e Entry) bool { return !pattern.MatchString(e.Name) })...)
			if len(f) == 1 {
				continue
			}
		}
		chosen = append(chosen, f)
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no benchmark matches %q", pattern)
	}
	return chosen, nil
}
