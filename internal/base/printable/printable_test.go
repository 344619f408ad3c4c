package printable

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestWord(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"host.test/ä/日本 x\\":      "host.test/ä/日本 x\\",
		"\x1b]0;title\x07.test":   `\x1b]0;title\a.test`,
		"\x1b[2Jx":                `\x1b[2Jx`,
		"a\nb\tc\rd\x00e\x7f":     `a\nb\tc\rd\x00e\x7f`,
		"\u009b31m":               `\u009b31m`, // CSI of C1
		"\x9b31m\xff":             `\x9b31m\xff`,
		"user\u202egpj.exe\u2028": `user\u202egpj.exe\u2028`,
		"\ufffd":                  "\ufffd",
		"\U000e0001":              `\U000e0001`,
	} {
		if got := Word(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		if got := Text(text); got != strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(want) {
			t.Errorf("as lines, %q: %q", text, got)
		}
	}
	var b strings.Builder
	type name string
	const want = "a\\x1bb\t3 c\\n 1s d\\t\n"
	_, err := Printf(&b, "%s\t%d %v %v %v\n", "a\x1bb", 3, name("c\n"), time.Second, errors.New("d\t"))
	if err != nil || b.String() != want {
		t.Errorf("%q, %v", b.String(), err)
	}
}

// FuzzPrintable: nothing of any text reaches a terminal but what it shows, and JSON keeps its meaning.
func FuzzPrintable(f *testing.F) {
	f.Add("\x1b[31m\u009b\x9b\x7f\U000e0001\u202e\n\t")
	f.Add(`plain "text" \u001b`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range Word(text) {
			if hides(r) {
				t.Errorf("Word(%q) has %q", text, r)
			}
		}
		if Word(Word(text)) != Word(text) || Word(Text(text)) != Word(text) {
			t.Errorf("%q: another time it is another text", text)
		}
		before, err := json.MarshalIndent(map[string]string{"a" + text: text}, "", " ")
		testutil.Must(t, err)
		after := JSON(before)
		for _, r := range string(after) {
			if hides(r) && r != '\n' || r == utf8.RuneError && !strings.ContainsRune(string(before), r) {
				t.Errorf("JSON of %q has %q", text, r)
			}
		}
		var one, two map[string]string
		if json.Unmarshal(before, &one) != nil || json.Unmarshal(after, &two) != nil || len(one) != 1 || len(two) != 1 {
			t.Fatalf("%q: %s", text, after)
		}
		for k, v := range one {
			if got, ok := two[k]; !ok || got != v {
				t.Errorf("%q: %q became %q", text, v, got)
			}
		}
	})
}
