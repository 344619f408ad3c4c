package docs

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// weakStart is a first word that is neither a noun nor a verb: the reader of one row cannot tell its subject.
var weakStart = regexp.MustCompile(`^(?i:what|which|whose|whether|who|where|when|how|it|its|they|their|this|that|` +
	`those|these|such|so|one|others?|another|likewise|same|the same|as|see|of|for|with|without|before|instead|no|` +
	"nothing|more|far|in|by|`[a-z0-9]+`:)(?:$|[ ,.:;])")

// namelessWord stands for a noun that the reader has to guess.
var namelessWord = regexp.MustCompile(`(?i)\b(?:what|those|that of|others|so many|fares?|likewise)\b`)

// unclear says why a text of a key cannot be read alone; it is empty for a text that can.
func unclear(doc string) string {
	if n := len(strings.Fields(doc)); n < 4 {
		return fmt.Sprintf("has %d words, want at least 4", n)
	}
	if word := weakStart.FindString(doc); word != "" {
		return fmt.Sprintf("begins with %q: begin with a noun or a verb", strings.TrimSpace(word))
	}
	if word := namelessWord.FindString(doc); word != "" {
		return fmt.Sprintf("says %q: name the thing", word)
	}
	return ""
}

// The text of a key stands alone: in a row of the reference page, in the JSON schema, in "edge explain".
func TestReference_textOfEachKeyStandsAlone(t *testing.T) {
	var b bytes.Buffer
	testutil.Must(t, config.Reference(&b))
	section, keys := "", 0
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "#") {
			section = strings.Trim(line, "# \n")
		}
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if !strings.HasPrefix(line, "| `") || len(cells) < 4 {
			continue // a row of a key has four cells
		}
		keys++
		doc := strings.TrimSuffix(strings.Join(cells[3:], " | "), " |")
		for _, added := range []string{" From ", " Example: ", " Also written ", " *"} {
			doc, _, _ = strings.Cut(doc, added)
		}
		if why := unclear(doc); why != "" {
			t.Errorf("%s %s: %q %s", section, cells[0], doc, why)
		}
	}
	if keys < 300 {
		t.Errorf("%d keys were found", keys)
	}
}

func TestUnclear_textsThatCannotBeReadAlone(t *testing.T) {
	for _, doc := range []string{
		"For how long.", "So many requests at a time.", "The status of the answer to those.",
		"Their requests pass all checks.", "Rate above which a request fares otherwise.",
	} {
		if unclear(doc) == "" {
			t.Errorf("%q passes", doc)
		}
	}
}
