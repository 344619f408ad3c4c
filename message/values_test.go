package message

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func asked(target string, cookies ...string) *Head {
	h := &Head{}
	h.SetTarget(target)
	for _, c := range cookies {
		h.Add("Cookie", c)
	}
	return h
}

func TestHead_Parameter(t *testing.T) {
	h := asked("/x?a=1&b=two%20words+more&a=3&%61b=c%2Fd&empty=&bare&bad=%zz&bad=ok&s=1;2&s=3&=nameless&+=blank")
	for name, want := range map[string]string{
		"a": "1", "b": "two words more", "ab": "c/d", "empty": "", "bare": "", "bad": "ok", "s": "3", "": "nameless",
		" ": "blank", "none": "", "a%62": "",
	} {
		if got := h.Parameter(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	if got := asked("/x").Parameter("a"); got != "" {
		t.Error(got)
	}
}

// What url.ParseQuery reads is the model.
func FuzzHead_Parameter(f *testing.F) {
	f.Add("a=1&a=2", "a")
	f.Add("%61=%2B+&;a=1&a", "a")
	f.Add("&&=%&=1", "")
	f.Fuzz(func(t *testing.T, query, name string) {
		values, _ := url.ParseQuery(query) // what it can read, it returns
		if got, want := asked("/?"+query).Parameter(name), values.Get(name); got != want {
			t.Fatalf("%q of %q: %q, want %q", name, query, got, want)
		}
	})
}

func TestHead_Cookie(t *testing.T) {
	h := asked("/", "a=1; b=\"two\"; c=", "a=3; d=x=y;e = z ;bad=a\\b; bad=ok; =n; f; g2=\t \"two\" ")
	h.Add("X-Cookie", "g=1")
	for name, want := range map[string]string{
		"a": "1", "b": "two", "c": "", "d": "x=y", "e": "z", "g2": "two", "bad": "ok",
		"": "", "f": "", "g": "", "A": "",
	} {
		if got := h.Cookie(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	h.DelID(Cookie)
	if got := h.Cookie("a"); got != "" {
		t.Errorf("a cookie was found in a field that was deleted: %q", got)
	}
}

// What net/http reads is the model, but for blanks before a value, which it keeps.
func FuzzHead_Cookie(f *testing.F) {
	f.Add("a=1; a=2", "a")
	f.Add(" a = \"1\" ;\tb", "a")
	f.Add("=;a", "")
	f.Fuzz(func(t *testing.T, line, name string) {
		if !ValidValue(line) {
			return
		}
		want, parts := "", strings.Split(line, ";")
		for i, part := range parts {
			if name, value, ok := strings.Cut(part, "="); ok {
				parts[i] = name + "=" + strings.TrimLeft(value, " \t")
			}
		}
		r := http.Request{Header: http.Header{"Cookie": {strings.Join(parts, ";")}}}
		if c, err := r.Cookie(name); err == nil {
			want = c.Value
		}
		if got := asked("/", line).Cookie(name); got != want {
			t.Fatalf("%q of %q: %q, want %q", name, line, got, want)
		}
	})
}

func TestHead_valuesAllocateNothingWhereThereAreNone(t *testing.T) {
	h := asked("/x?a=1&b=%41", "a=1; b=2")
	allocs := testutil.Allocs(100, func() {
		if h.Parameter("c") != "" || h.Cookie("c") != "" {
			t.Fatal("a value came from nowhere")
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestHead_All(t *testing.T) {
	h := &Head{}
	h.Add("A", "1")
	h.Add("b", "2")
	h.Add("C", "")
	h.Del("B")
	got := ""
	for name, value := range h.All() {
		got += string(name) + "=" + string(value) + ";"
	}
	if got != "A=1;C=;" {
		t.Error(got)
	}
	for name := range h.All() {
		if string(name) != "A" {
			t.Fatalf("%s comes although the loop ended", name)
		}
		break
	}
}

// FuzzCutCookie holds CutCookie against one that cuts at each sign.
func FuzzCutCookie(f *testing.F) {
	for _, list := range []string{
		"", "a", "a;a=1", " a = \"b\" ;a;a=", "ab=1; a=2", "a\t=\" ;; =a;a a=1", "x; a ", "aa=1;a", "=;=",
	} {
		f.Add([]byte(list), "a")
	}
	f.Fuzz(func(t *testing.T, list []byte, name string) {
		if !ValidName(name) {
			return
		}
		for more := true; more; {
			value, rest, ok := CutCookie(list, name)
			var want, after []byte
			found := false
			for after = list; len(after) > 0 && !found; {
				var pair []byte
				pair, after, _ = bytes.Cut(after, []byte{';'})
				key, content, _ := bytes.Cut(bytes.Trim(pair, " \t"), []byte{'='})
				if found = string(bytes.Trim(key, " \t")) == name; found {
					if want = bytes.Trim(content, " \t"); len(want) > 1 && want[0] == '"' && want[len(want)-1] == '"' {
						want = want[1 : len(want)-1]
					}
				}
			}
			if ok != found || !bytes.Equal(value, want) || ok && !bytes.Equal(rest, after) {
				t.Fatalf("%q in %q: %q %q %v, want %q %q %v", name, list, value, rest, ok, want, after, found)
			}
			list, more = rest, ok
		}
	})
}
