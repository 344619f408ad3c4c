package docs

import (
	"slices"
	"strings"
	"testing"
)

const recipes = "docs/recipes.md"

// Each recipe works in a shell of its own, without what the recipes before it have left.
func TestRecipes(t *testing.T) {
	sections := map[string][]*block{}
	for _, b := range of(pages(t)[recipes], "sh", "console", "toml") {
		sections[b.section] = append(sections[b.section], b)
	}
	for section, list := range sections {
		t.Run(section, func(t *testing.T) {
			t.Parallel()
			if !slices.ContainsFunc(list, (*block).proves) {
				t.Fatal("no command shows that it works, with its output")
			}
			if err := runPage(t, list); err != nil {
				t.Error(err)
			}
		})
	}
}

// proves reports whether b has a command with some output that is not left out.
func (b *block) proves() bool {
	if b.lang != "console" {
		return false
	}
	_, samples := console(b)
	return strings.Trim(samples, " …\n") != ""
}
