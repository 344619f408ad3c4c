package lang

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func TestState_base64Decode(t *testing.T) {
	s := NewState()
	for text, want := range map[string]string{
		"": "", "aGk=": "hi", "aGk": "hi", "aGk_": "hi?", "aGk/": "hi?",
		"====": "missing", "a": "missing", "aGk==": "missing",
		"aG\nk=": "missing", "aGk*": "missing", "YWJj": "abc", "YWJj=": "missing",
	} {
		got := "missing"
		if b := s.base64Decode([]byte(text)); b != nil {
			got = string(b)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// FuzzFunctions compares functions with those of the standard library.
func FuzzFunctions(f *testing.F) {
	f.Add("aGk=", "%41+%", "(a|b)*", "$1x")
	f.Add("a\xffb", "-_", "^", "$$")
	f.Fuzz(func(t *testing.T, one, two, re, with string) {
		if len(one)+len(two)+len(with) > 1000 {
			return
		}
		s := NewState()
		a, b := []byte(one), []byte(two)
		if got := string(s.base64Decode(s.base64(a))); got != one {
			t.Errorf("base64 of %q: %q", one, got)
		}
		if got := s.base64Decode([]byte(base64.RawURLEncoding.EncodeToString(a))); string(got) != one {
			t.Errorf("base64 of %q: %q", one, got)
		}
		if plain, err := base64.StdEncoding.Strict().DecodeString(one); err == nil &&
			!strings.ContainsAny(one, "\r\n") {
			if got := s.base64Decode(a); got == nil || !bytes.Equal(got, plain) {
				t.Errorf("%q: %q, want %q", one, got, plain)
			}
		}
		if got := string(s.urlDecode(s.urlEncode(a))); got != one {
			t.Errorf("url of %q: %q", one, got)
		}
		if want, err := url.PathUnescape(two); err == nil && string(s.urlDecode(b)) != want {
			t.Errorf("%q: %q, want %q", two, s.urlDecode(b), want)
		}
		if want := strings.ReplaceAll(one, two, with); two != "" && string(s.replace(a, b, []byte(with))) != want {
			t.Errorf("%q for %q in %q: %q", with, two, one, s.replace(a, b, []byte(with)))
		}
		mac := hmac.New(sha256.New, b)
		mac.Write(a)
		if got := newSealer(b).seal(s, a); !bytes.Equal(got, mac.Sum(nil)) {
			t.Errorf("hmac of %q: %x", one, got)
		}
		p, err := newPattern(re)
		if err != nil {
			return
		}
		r, err := newReplacement(with, p.groups())
		if err == nil {
			form := regexp.MustCompile(`\$(\d)`).ReplaceAllString(strings.ReplaceAll(with, "$$", "\x00"), "$${$1}")
			want := regexp.MustCompile(re).ReplaceAllString(one, strings.ReplaceAll(form, "\x00", "$$"))
			if got := string(p.replaceAll(s, a, r)); got != want && !strings.Contains(with, "\x00") {
				t.Errorf("%q by %q in %q: %q, want %q", re, with, one, got, want)
			}
		}
	})
}

func TestParseInt(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "-12": -12, "007": 7, "9223372036854775807": 1<<63 - 1} {
		if n, ok := parseInt([]byte(text)); !ok || n != want {
			t.Errorf("%s: %d, %v", text, n, ok)
		}
	}
	for _, text := range []string{"", "-", "+1", "1 ", "9223372036854775808", "1e3", "--1"} {
		if n, ok := parseInt([]byte(text)); ok {
			t.Errorf("%q: %d", text, n)
		}
	}
}

// FuzzLike compares globs with regular expressions.
func FuzzLike(f *testing.F) {
	f.Add("/api/v1/x", "/api/*/x")
	f.Add("aab", "*a*b")
	f.Fuzz(func(t *testing.T, text, glob string) {
		if strings.ToValidUTF8(text, "") != text || strings.ToValidUTF8(glob, "") != glob || len(glob) > 50 {
			return
		}
		re := "(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(glob), `\*`, ".*") + "$"
		if got, want := like([]byte(text), []byte(glob)), regexp.MustCompile(re).MatchString(text); got != want {
			t.Errorf("%q like %q: %v", text, glob, got)
		}
	})
}

// FuzzAddressSet compares ranges with prefixes.
func FuzzAddressSet(f *testing.F) {
	f.Add([]byte{10, 0, 0, 0, 8, 10, 1, 0, 0, 16, 9, 255, 255, 255, 32, 255, 0, 0, 0, 8, 0, 0, 0, 0, 1},
		[]byte{10, 200, 0, 1})
	f.Fuzz(func(t *testing.T, list, asked []byte) {
		var prefixes []netip.Prefix
		for _, size := range []int{4, 16} {
			for rest := list; len(rest) > size; rest = rest[size+1:] {
				a, _ := netip.AddrFromSlice(rest[:size])
				if p, err := a.Prefix(int(rest[size]) % (8*size + 1)); err == nil {
					prefixes = append(prefixes, p)
				}
			}
		}
		set := newAddressSet(prefixes)
		ask := func(a netip.Addr) {
			want := false
			for _, p := range prefixes {
				want = want || p.Contains(a)
			}
			if a.IsValid() && set.has(a) != want {
				t.Fatalf("%v in %v: %v", a, prefixes, !want)
			}
		}
		for _, size := range []int{4, 16} {
			if len(asked) >= size {
				a, _ := netip.AddrFromSlice(asked[:size])
				ask(a)
			}
		}
		for _, p := range prefixes { // the edges
			ask(p.Addr())
			ask(p.Addr().Prev())
		}
	})
}

// What is computed has room for ComputedMax bytes, whatever a text asks for.
func TestState_computedMax(t *testing.T) {
	names := scope(t)
	long := strings.Repeat("a", 60_000)
	x := browser("X-Long: " + long)
	for _, c := range []struct {
		text string
		want int
	}{
		{`replace(header.x-long, "a", "` + strings.Repeat("b", 60_000) + `")`, ComputedMax},
		{`hex(header.x-long)`, ComputedMax},
		{`header.x-long + header.x-long`, ComputedMax},
		{`len(upper(header.x-long)) + len(upper(header.x-long))`, 5},
		{`re_replace(header.x-long, "a", "$0$0")`, ComputedMax},
		{`header.x-long}{header.x-long`, ComputedMax},
	} {
		compiled := template(t, names, "{"+c.text+"}", Log)
		before := x.State.Cut()
		if got := compiled.Append(nil, x); len(got) != c.want {
			t.Errorf("%.40s: %d bytes, want %d", c.text, len(got), c.want)
		}
		if x.State.Cut() == before {
			t.Errorf("%.40s: not counted", c.text)
		}
		if room := cap(x.State.computed); room > 8*ComputedMax {
			t.Errorf("%.40s: keeps %d bytes", c.text, room)
		}
	}
}

// The room for computed texts is there for each value of the left side again, so that a client fills it by no number of
// values. A function that makes nothing of a value leaves it out.
func TestCondition_roomIsForEachValue(t *testing.T) {
	names := scope(t)
	filling := strings.Repeat("%41", 9_000)
	x := browser("X-Many: "+filling+"1", "X-Many: "+filling+"2", "X-Many: "+filling+"3",
		"X-Many: "+filling+"4", "X-Many: EVIL%3d",
		"X-None: %25", "X-None: .", "X-Sevens: "+strings.Repeat("7", 20_000))
	for text, want := range map[string]bool{
		`lower(url_decode(url_decode(header.x-many))) == "evil="`:                  true,
		`header.x-many.url_decode().re_replace("E(.)I", "$1") like "*VL="`:         true,
		`header.x-many.lower().upper() == header.x-none ?? "EVIL%3D"`:              false,
		`header.x-none.lower().upper() == header.x-none.url_decode().url_encode()`: true,
		`base64_decode(url_decode(header.x-none)) == ""`:                           true,
		`base64_decode(header.x-many.cut_suffix("%3d")) == "x"`:                    false,
		`all(header.x-many.lower() contains "%")`:                                  true,
		`header.x-many.lower() == "y" or header.x-sevens.hex() ends_with "37"`:     true,
	} {
		c := condition(t, names, text, Log)
		if before := x.State.Cut(); c.Holds(x) != want || x.State.Cut() != before {
			t.Errorf("%s: %v, %d texts cut", text, !want, x.State.Cut()-before)
		}
	}
}

// Keep takes what was appended to Room, what outgrew it, and what stands elsewhere.
func TestState_Keep(t *testing.T) {
	s := NewState()
	var texts [][]byte
	for i := range 200 {
		b := s.Room()
		if i%3 == 0 {
			b = []byte{}
		}
		for range i {
			b = append(b, byte(i))
		}
		texts = append(texts, s.Keep(b))
	}
	for i, text := range texts {
		if text == nil || len(text) != i || bytes.Count(text, []byte{byte(i)}) != i {
			t.Fatalf("text %d: %v", i, text)
		}
	}
}

// hash never changes: shares of clients stay what they are.
func TestHashOf(t *testing.T) {
	for text, want := range map[string]int64{"": 8832978290816513101, "a": 99183506424991868} {
		if got := hashOf([]byte(text)); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
	var shares [100]int
	for i := range 10_000 {
		shares[hashOf([]byte{byte(i), byte(i >> 8)})%100]++
	}
	for share, n := range shares {
		if n < 50 || n > 150 {
			t.Errorf("share %d has %d of 10000", share, n)
		}
	}
}

// No number that a client may see says what random draws next: two reactors draw different ones from the start.
func TestRandom_hasNoSeed(t *testing.T) {
	scope, err := NewScope(Names{})
	if err != nil {
		t.Fatal(err)
	}
	text := template(t, scope, "{random(100000000000000000)}", Request)
	seen := map[string]bool{}
	for range 4 {
		x := &X{State: NewState()}
		for range 4 {
			seen[string(text.Append(nil, x))] = true
		}
	}
	if len(seen) != 16 {
		t.Errorf("%d different numbers of 16", len(seen))
	}
}
