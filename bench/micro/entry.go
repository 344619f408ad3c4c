package micro

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
)

// Entry is one benchmark. Immutable.
type Entry struct {
	Name       string // group/case/who
	Group      string // a heading
	What       string // what an operation is, and what of it is counted
	BaselineOf string // the name of the entry it is to be compared with; empty for one of ours

	Bench func(b *testing.B)
}

// family is one of ours with its baselines, in the order of a round.
type family []Entry

// Entries returns all benchmarks, each of ours followed by its baselines.
func Entries() []Entry {
	return slices.Concat(
		parseEntries, writeEntries, chunkedEntries, timerEntries, poolEntries, seamEntries, mailboxEntries,
		logEntries, warmEntries, echoEntries, hpackEntries, turnEntries, turnSocketEntries,
		ketamaEntries, balanceEntries, limitsEntries, bytesEntries, cacheEntries,
	)
}

// choose returns the families of the entries that match: a baseline brings the one it is compared
// with, one of ours brings all its baselines. A nil pattern matches everything.
func choose(entries []Entry, pattern *regexp.Regexp) ([]family, error) {
	matches := func(e Entry) bool { return pattern == nil || pattern.MatchString(e.Name) }
	var chosen []family
	for _, ours := range entries {
		if ours.BaselineOf != "" {
			continue
		}
		f, all := family{ours}, matches(ours)
		for _, e := range entries {
			if e.BaselineOf == ours.Name && (all || matches(e)) {
				f = append(f, e)
			}
		}
		if all || len(f) > 1 {
			chosen = append(chosen, f)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no benchmark matches %q", pattern)
	}
	return chosen, nil
}
