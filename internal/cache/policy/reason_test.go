package policy

import (
	"strings"
	"testing"
)

func TestReason_hasWordAndSentence(t *testing.T) {
	words := map[string]Reason{}
	for r := ReasonNone + 1; r < ReasonCount; r++ {
		word := r.String()
		if word == "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz-") != "" {
			t.Errorf("%d: the word is %q", r, word)
		}
		if other, ok := words[word]; ok {
			t.Errorf("%d and %d have the word %q", r, other, word)
		}
		words[word] = r
		if text, try := r.Explain(); len(strings.Fields(text)) < 4 || strings.HasSuffix(text, ".") ||
			strings.HasSuffix(try, ".") {
			t.Errorf("%s: the sentence is %q, the hint %q", word, text, try)
		}
	}
	for _, r := range []Reason{ReasonNone, ReasonCount, 255} {
		if text, try := r.Explain(); r.String()+text+try != "" || r.Marks() != Nobody {
			t.Errorf("%d: %q %q %q", r, r, text, try)
		}
	}
}

// A reason of one request marks nobody, that of a visitor visitors, that of the answer everybody.
func TestReason_marks(t *testing.T) {
	for r := range ReasonCount {
		want := Everybody
		switch {
		case r < ReasonStatus, r >= ReasonPurged, r == ReasonRequestNoStore, r == ReasonUnknownField:
			want = Nobody
		case r == ReasonAuthorization, r == ReasonCookie, r == ReasonType:
			want = Visitors
		}
		if got := r.Marks(); got != want {
			t.Errorf("%s: marks %d, want %d", r, got, want)
		}
	}
}

// Which reasons send a stored answer.
func TestReason_uses(t *testing.T) {
	var used []string
	for r := range ReasonCount {
		if r.Uses() {
			used = append(used, r.String())
		}
	}
	if got := strings.Join(used, " "); got != "fresh max-stale retry-later stale-while-revalidate" {
		t.Error(got)
	}
}
