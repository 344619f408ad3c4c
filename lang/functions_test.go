package lang

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
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

// member walks a decoded JSON text as json does.
func member(value any, path string) (any, bool) {
	for _, name := range strings.Split(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			var ok bool
			if value, ok = v[name]; !ok {
				return nil, false
			}
		case []any:
			n, ok := parseInt([]byte(name))
			if !ok || n < 0 || n >= int64(len(v)) || name[0] == '-' {
				return nil, false
			}
			value = v[n]
		default:
			return nil, false
		}
	}
	return value, value != nil
}

// FuzzJSON compares json with encoding/json.
func FuzzJSON(f *testing.F) {
	f.Add(`{"a":{"b":[1,"two",{"c":null}]},"a\u0062":"\ud83d\ude00\ud83d\n\/"}`, "a.b.1")
	f.Add(`{"a":1,"a":2,"b":{},"c":[[],{}],"":"x"}`, "a")
	f.Add(` [ { "x" : "}" } , 2 ] `, "0.x")
	f.Add(`{"ab":"\ud83d\ude00"}`, "ab")
	f.Add(`{"a":[-0.5e+1,1E9,0,true,false,null,"é\t"],"b":{"a":"\u00e9"}}`, "a.6")
	f.Add(`"a"`, "")
	f.Fuzz(func(t *testing.T, text, path string) {
		x := &X{State: NewState()}
		got := x.json([]byte(text), []byte(path))
		var root any
		if len(text) >= jsonNumberMax || levels(text) >= jsonLevels {
			return
		}
		if !utf8.ValidString(text) || !json.Valid([]byte(text)) {
			if got != nil {
				t.Fatalf("%q: %q of what is no JSON", text, got)
			}
			return
		}
		if json.Unmarshal([]byte(text), &root) != nil {
			return // a number that no float64 is
		}
		want, ok := root, root != nil
		if path != "" {
			want, ok = member(root, path)
		}
		if ok != (got != nil) {
			t.Fatalf("%s of %s: %q, want %v", path, text, got, want)
		}
		if text, is := want.(string); is && string(got) != text {
			t.Fatalf("%s: %q, want %q", path, got, text)
		}
	})
}

// levels returns how deep the brackets of a text go, also of those in quotes.
func levels(text string) (most int) {
	depth := 0
	for _, c := range text {
		if c == '{' || c == '[' {
			depth++
			most = max(most, depth)
		} else if c == '}' || c == ']' {
			depth--
		}
	}
	return most
}

// FuzzJSON_cut asks the begins of a text in which no name is twice: json finds what the whole text has, or says that it
// may have missed it.
func FuzzJSON_cut(f *testing.F) {
	f.Add(`{"a":{"b":[1,"two",{"c":null}]},"a\u0062":"\ud83d\ude00\ud83d\n\/"}`, "a.b.2.c")
	f.Add(` [ 17 , { "x" : "}é\t" } , true ] `, "1.x")
	f.Add(`{"n":-12.5e3}`, "n")
	f.Add(`{"stream":false,"messages":[{"role":"user","content":"a \"b\""}],"model":"small"}`, "model")
	f.Fuzz(func(t *testing.T, text, path string) {
		text = strings.TrimSpace(text)
		whole := &X{State: NewState()}
		if len(text) > 300 || path == "" || whole.json([]byte(text), nil) == nil || twice(text) {
			return
		}
		want := whole.json([]byte(text), []byte(path))
		found := false
		for n := 1; n <= len(text); n++ {
			x := &X{State: NewState(), Body: &Body{Bytes: []byte(text[:n]), Cut: true}}
			got := x.json(x.Body.Bytes, []byte(path))
			found = found || got != nil
			switch {
			case (got != nil) != found:
				t.Fatalf("%s of %q: missing, though it was found before", path, text[:n])
			case found && (x.Body.Missed || string(got) != string(want)):
				t.Fatalf("%s of %q: %q, want %q; missed %v", path, text[:n], got, want, x.Body.Missed)
			case want != nil && !found && !x.Body.Missed:
				t.Fatalf("%s of %q: missing, and nobody is told", path, text[:n])
			}
		}
		if found != (want != nil) {
			t.Fatalf("%s of %q: found %v, want %q", path, text, found, want)
		}
	})
}

// twice reports whether an object of a valid JSON text may have two members of one name.
func twice(text string) bool {
	names := map[string]bool{}
	d := json.NewDecoder(strings.NewReader(text))
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		if s, is := token.(string); is && names[s] {
			return true
		} else if is {
			names[s] = true
		}
	}
}

// What is no JSON here, though some readers take it, and what is.
func TestJSON_bounds(t *testing.T) {
	long := func(n int) string { return `{"n":` + strings.Repeat("1", n) + `,"model":"m"}` }
	deep := func(n int) string {
		return `{"model":"m","a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + "}"
	}
	for name, c := range map[string]struct{ text, want string }{
		"two of a name":            {`{"model":"a","model":"m"}`, "m"},
		"two, the last of another": {`{"model":"a","model":7}`, "7"},
		"two, the last null":       {`{"model":"a","model":null}`, ""},
		"63 levels":                {deep(63), "m"},
		"64 levels":                {deep(64), ""},
		"a million levels":         {strings.Repeat(`{"a":`, 1<<20), ""},
		"invalid UTF-8":            {"{\"a\":\"\xff\",\"model\":\"m\"}", ""},
		"invalid UTF-8 in it":      {"{\"model\":\"\xc3(\"}", ""},
		"a surrogate in UTF-8":     {"{\"model\":\"\xed\xa0\x80\"}", ""},
		"a number of 1023 bytes":   {long(1023), "m"},
		"a number of 1 KiB":        {long(1024), ""},
		"a number of 1 MiB":        {long(1 << 20), ""},
		"a byte order mark":        {"\ufeff" + `{"model":"m"}`, ""},
		"two texts":                {`{"model":"m"}{"model":"n"}`, ""},
		"a comma too many":         {`{"model":"m",}`, ""},
		"a leading zero":           {`{"a":01,"model":"m"}`, ""},
		"no quotes":                {`{model:"m"}`, ""},
		"a control character":      {"{\"a\":\"\n\",\"model\":\"m\"}", ""},
		"a zero byte":              {"{\"model\":\"m\"}\x00", ""},
		"a name with an escape":    {`{"mod\u0065l":"m"}`, "m"},
		"a value with escapes":     {`{"model":"\u006d\/\""}`, `m/"`},
	} {
		for _, cut := range []bool{false, true} {
			x := &X{State: NewState(), Body: &Body{Bytes: []byte(c.text), Cut: cut}}
			got := x.json(x.Body.Bytes, []byte("model"))
			if string(got) != c.want || x.Body.Missed {
				t.Errorf("%s, cut %v: %q, want %q; missed %v", name, cut, got, c.want, x.Body.Missed)
			}
		}
	}
	x := &X{State: NewState(), Body: &Body{Bytes: []byte(`{"a":"b","mod`), Cut: true}}
	if got := x.json(x.Body.Bytes, []byte("model")); got != nil || !x.Body.Missed {
		t.Errorf("a cut before the member: %q, missed %v", got, x.Body.Missed)
	}
	x.Body.Missed = false
	if got := x.json(bytes.Clone(x.Body.Bytes), []byte("model")); got != nil || x.Body.Missed {
		t.Errorf("a text that is no body: %q, missed %v", got, x.Body.Missed)
	}
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
		compiled, err := names.Template("{"+c.text+"}", Log)
		if err != nil {
			t.Fatal(err)
		}
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
		c, err := names.Condition(text, Log)
		if err != nil {
			t.Fatal(err)
		}
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
	text, err := scope.Template("{random(100000000000000000)}", Request)
	if err != nil {
		t.Fatal(err)
	}
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
