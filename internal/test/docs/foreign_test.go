package docs

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// unknownElsewhere are what no word of another program leads to, with the reason.
var unknownElsewhere = map[string]string{
	"load_balancing.backends": "another way to write [[upstreams.NAME.backends]]",
	"balance_methods":         "its types come from modules",
	"discoverers":             "its types come from modules",
	"connection_filters":      "its types come from modules",
	"tag":                     "other programs have no words for a request in their logs",
	"sentry":                  "other proxies have no keys for it",
}

// deniedNames are words of other programs that edge has nothing for, although it has a key of that name for something
// else.
var deniedNames = map[string]string{
	"protocol": "a service relays TCP alone",
}

var (
	sectionLine = regexp.MustCompile("(?m)^## `\\[+([^]`]+)\\]+`$")
	typeLine    = regexp.MustCompile("(?m)^### `type = \"(\\w+)\"`$")
	keyLine     = regexp.MustCompile("(?m)^\\| `(\\w+)[.`]")
)

// referencePage returns the reference of all keys, and what stands in it below the header of [[rules]].
func referencePage(t *testing.T) (page, rules string) {
	t.Helper()
	var b bytes.Buffer
	testutil.Must(t, config.Reference(&b))
	_, rules, _ = strings.Cut(b.String(), "\n## `[[rules]]`\n")
	rules, _, _ = strings.Cut(rules, "\n## ")
	return b.String(), rules
}

// firsts returns the first group of each match.
func firsts(e *regexp.Regexp, text string) (all []string) {
	for _, m := range e.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// What edge has is found by at least one word of another program: each type of filters, each thing that a rule does,
// and each section.
func TestForeign_wordsLeadToAllThatEdgeHas(t *testing.T) {
	page, rules := referencePage(t)
	hints := config.ForeignHints()
	leads := func(name string, by func(hint string) bool) {
		found := false
		for _, hint := range hints {
			found = found || by(hint)
		}
		if reason := unknownElsewhere[name]; !found && reason == "" {
			t.Errorf("no word of another program leads to %s", name)
		} else if found && reason != "" {
			t.Errorf("a word of another program leads to %s, of which %q is said", name, reason)
		}
	}
	types, sections, actions := firsts(typeLine, page), firsts(sectionLine, page), firsts(keyLine, rules)
	if len(types) < 9 || len(sections) < 25 || len(actions) < 15 {
		t.Fatalf("the reference has %d types, %d sections, %d keys of rules", len(types), len(sections), len(actions))
	}
	for _, name := range types {
		leads(name, func(hint string) bool { return strings.Contains(hint, `type = "`+name+`"`) })
	}
	for _, name := range slices.Compact(actions) {
		if name == "name" || name == "when" {
			continue // they do nothing with a request
		}
		word := regexp.MustCompile(`\b` + name + `\b`)
		leads(name, func(hint string) bool { return strings.Contains(hint, "[[rules]]") && word.MatchString(hint) })
	}
	for _, name := range sections {
		name = strings.TrimSuffix(name, ".NAME")
		around, last := "\x00", name // a hint may show a table inside another one as a key of that
		if dot := strings.LastIndexByte(name, '.'); dot > 0 {
			around, last = "["+name[:dot]+"]", name[dot+1:]
		}
		word := regexp.MustCompile(`\b` + last + `\b`)
		leads(name, func(hint string) bool {
			return strings.Contains(hint, "["+name+"]") || strings.Contains(hint, "["+name+".NAME]") ||
				strings.Contains(hint, around) && word.MatchString(hint)
		})
	}
}

// No hint denies a thing that edge has.
func TestForeign_nothingIsDeniedThatEdgeHas(t *testing.T) {
	page, _ := referencePage(t)
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }
	has := make(map[string]bool)
	for _, name := range slices.Concat(firsts(typeLine, page), firsts(sectionLine, page),
		firsts(regexp.MustCompile("(?m)^\\| `([\\w.]+)`"), page)) {
		for part := range strings.SplitSeq(strings.TrimSuffix(name, ".NAME"), ".") {
			has[plain(part)] = true
		}
	}
	denial := regexp.MustCompile(`has no|there (is|are) no|cannot|can not`)
	used := make(map[string]bool)
	for word, hint := range config.ForeignHints() {
		name := word[strings.LastIndexByte(word, '.')+1:]
		if !denial.MatchString(hint) || !has[plain(name)] {
			continue
		}
		used[name] = true
		if deniedNames[name] == "" {
			t.Errorf("edge has %s, and the hint for the word says: %s", name, hint)
		}
	}
	for name := range deniedNames {
		if !used[name] {
			t.Errorf("no hint for %s denies it", name)
		}
	}
}
