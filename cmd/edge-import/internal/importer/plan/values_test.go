package plan_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

func TestParseTime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90": 90 * time.Second, "1h30m": 90 * time.Minute, "1d 2h": 26 * time.Hour, "0": 0,
		"1.5s":  1500 * time.Millisecond,
		"250ms": 250 * time.Millisecond, "": -1, "1x": -1, "-1s": -1, "999999999999y": -1, "s": -1,
		"1M": 30 * 24 * time.Hour,
	} {
		got, ok := plan.ParseTime(text, time.Second)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %v %v, want %v", text, got, ok, want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"512": 512, "8k": 8000, "10MB": 1e7, "1GiB": 1 << 30, "2 mi": 2 << 20, "0": 0,
		"": -1, "k": -1, "1t": -1, "999999999g": -1, "9999999999": -1,
	} {
		got, ok := plan.ParseSize(text, 1000)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %d %v, want %d", text, got, ok, want)
		}
	}
}

// A name is free, the first one of thousands too.
func TestUnused_isFree(t *testing.T) {
	used := map[string]bool{"b": true}
	for i := range 3000 {
		want := "a"
		if i > 0 {
			want = fmt.Sprint("a-", i+1)
		}
		if got := plan.Unused("a", used); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

func TestWords(t *testing.T) {
	words := plan.ParseWords("# names\na b.c\n  d   note nothing  to write\nx.*  lost no x\n" +
		"x.y  key limits.x seconds\nb.c lost second")
	for name, want := range map[string]string{
		"a": "{note   nothing to write}", "b.c": "{note   nothing to write}", "d": "{note   nothing to write}",
		"x.z": "{lost   no x}", "x.y": "{key limits.x seconds }", "x.y.z": "{   }", "names": "{   }",
	} {
		if w, found := words.Find(name); fmt.Sprint(w) != want || found != (w.Says != "") {
			t.Errorf("%s: %v, want %s", name, w, want)
		}
	}
}

func TestRaw_escapes(t *testing.T) {
	for text, want := range map[string]string{
		"": `""`, "a\"\\\n\x01\x7f": `"a\"\\\n\u0001\u007F"`, "é\xff${A}": `"é?${A}"`,
	} {
		if got := plan.Raw(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	for name, want := range map[string]string{"": `""`, "a-b_C9": "a-b_C9", "a.b": `"a.b"`, "é": `"é"`} {
		if got := plan.Key(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
	for text, want := range map[string]string{"a.b": "a-b", "-.a.-b..c-.": "a--b-c", "é_1": "_1", "": ""} {
		if got := plan.Name(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestUsersWrong(t *testing.T) {
	const hash = ":$2y$04$abcdefghijklmnopqrstuudMegMbPN37MbpdEfAtP66w1z0RBCtLG\r\n"
	const argon = ":$argon2id$v=19$m=19456,t=2,p=1$5Ps5DDTRzDjyJaCwlAEo9g$oX8EAPIOKBjqfXOYRQ2sV2+p7ZCQuBR8gZOjhs1LbgA\n"
	for text, want := range map[string]string{
		"a" + argon + "b" + hash: "", "a" + strings.Replace(argon, "v=19", "v=16", 1): "Argon2id",
		"# users\n\na" + hash + "b" + hash: "", "": "no user", "# a" + hash: "no user",
		"a" + hash + "a" + hash: "two of",
		"a:{SHA}x":              "bcrypt", "a": "bcrypt",
	} {
		if got := plan.UsersWrong(text); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
