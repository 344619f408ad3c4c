package lang

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/edge-proxy/edge/message"
)

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

// FuzzJSON compares json with encoding/json. A map of Go has the value that json finds. A struct of Go, read by a
// Decoder, which takes names in any case and leaves the rest of the text, has no value where json finds none.
func FuzzJSON(f *testing.F) {
	f.Add(`{"a":{"b":[1,"two",{"c":null}]},"a\u0062":"\ud83d\ude00\ud83d\n\/"}`, "a.b.1")
	f.Add(`{"a":1,"a":2,"b":{},"c":[[],{}],"":"x"}`, "a")
	f.Add(` [ { "x" : "}" } , 2 ] `, "0.x")
	f.Add(`{"ab":"\ud83d\ude00"}`, "ab")
	f.Add(`{"a":[-0.5e+1,1E9,0,true,false,null,"é\t"],"b":{"a":"\u00e9"}}`, "a.6")
	f.Add(`"a"`, "")
	f.Add(`{"Role":1}{`, "role")
	f.Add("{\"\u212aind\":1e400}", "kind")
	f.Add(`{"a":{"B":70e-1,"c":[ 1.50 , "\u0041\"" ]}}`, "a.b")
	f.Add(`{"n":123456789012345678901234567890123456789012}`, "n")
	f.Fuzz(func(t *testing.T, text, path string) {
		x := &X{State: NewState()}
		got := x.json([]byte(text), []byte(path), jsonCall{})
		unread := x.State.Unasked().JSON > 0
		switch {
		case unread && got != nil:
			t.Fatalf("%q: %q of what is not readable", text, got)
		case unread || text == "":
			return
		}
		decode := json.NewDecoder(strings.NewReader(text))
		decode.UseNumber()
		var root any
		if err := decode.Decode(&root); err != nil || decode.More() || !utf8.ValidString(text) {
			t.Fatalf("%q: %q of what is no JSON: %v", text, got, err)
		}
		want, ok := root, root != nil
		if path != "" {
			want, ok = member(root, path)
		}
		if ok != (got != nil) {
			t.Fatalf("%s of %s: %q, want %v", path, text, got, want)
		}
		if ok {
			checkValue(t, got, want)
		} else if v := structMember(text, strings.Split(path, ".")); v != nil {
			t.Fatalf("%s of %s: missing, but a struct has %s", path, text, v)
		}
	})
}

// checkValue fails where got is not the value that encoding/json has decoded.
func checkValue(t *testing.T, got []byte, want any) {
	t.Helper()
	switch want := want.(type) {
	case string:
		if string(got) != want {
			t.Fatalf("%q, want %q", got, want)
		}
	case json.Number:
		a, _ := new(big.Rat).SetString(string(got))
		if b := exactly(want); b != nil && a.IsInt() && a.Cmp(b) == 0 {
			return // an integer, with all its digits
		}
		f, _ := want.Float64()
		if g, err := strconv.ParseFloat(string(got), 64); err != nil || f != g {
			t.Fatalf("%s, want %s", got, want)
		}
		if again, ok := appendJSONNumber(nil, got); !ok || string(again) != string(got) {
			t.Fatalf("%s of %s is %s", got, want, again)
		}
	case bool:
		if string(got) != fmt.Sprint(want) {
			t.Fatalf("%s, want %v", got, want)
		}
	default:
		decode := json.NewDecoder(bytes.NewReader(got))
		decode.UseNumber()
		var again any
		if err := decode.Decode(&again); err != nil || !reflect.DeepEqual(floats(again), floats(want)) {
			t.Fatalf("%s, want %v: %v", got, want, err)
		}
	}
}

// exactly returns the number, nil where it is too long to be computed with.
func exactly(n json.Number) *big.Rat {
	if _, exponent, _ := strings.Cut(strings.ToLower(string(n)), "e"); len(exponent) > 4 {
		return nil
	}
	r, _ := new(big.Rat).SetString(string(n))
	return r
}

// floats makes the numbers in a decoded text numbers.
func floats(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = floats(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = floats(v[name])
		}
	}
	return v
}

// structMember returns what a struct with members of these names, one in the other, reads of a text; nil: nothing.
func structMember(text string, names []string) (found []byte) {
	of := reflect.TypeFor[json.RawMessage]()
	for _, name := range slices.Backward(names) {
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_é") != "" || name == "" {
			return nil
		}
		tag := reflect.StructTag(`json:"` + name + `"`)
		of = reflect.StructOf([]reflect.StructField{{Name: "F", Type: of, Tag: tag}})
	}
	v := reflect.New(of)
	json.NewDecoder(strings.NewReader(text)).Decode(v.Interface()) //nolint:errcheck // it reads what it can
	for v = v.Elem(); v.Kind() == reflect.Struct; {
		v = v.Field(0)
	}
	if found = v.Bytes(); string(found) == "null" {
		return nil
	}
	return found
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
		if len(text) > 300 || path == "" || whole.json([]byte(text), nil, jsonCall{}) == nil || twice(text) {
			return
		}
		want := whole.json([]byte(text), []byte(path), jsonCall{})
		found := false
		for n := 1; n <= len(text); n++ {
			x := &X{State: NewState(), Body: &Body{Bytes: []byte(text[:n]), Cut: true}}
			got := x.json(x.Body.Bytes, []byte(path), jsonCall{ofBody: true})
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

// What one reader takes for JSON and another does not, or reads differently, is not readable, and nobody takes it for
// a text without the member. What json.valid says of it: V; of a body that is longer: the rest.
func TestJSON_readable(t *testing.T) {
	long := func(n int) string { return `{"n":` + strings.Repeat("1", n) + `,"model":"m"}` }
	deep := func(n int) string {
		return `{"model":"m","a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + "}"
	}
	const unread = "not readable"
	utf16 := string([]byte{'{', 0, '"', 0, 'm', 0, '"', 0, ':', 0, '1', 0, '}', 0})
	for name, c := range map[string]struct{ text, want string }{
		"nothing":                  {"", ""},
		"a member":                 {`{"model":"m"}`, "m V"},
		"another":                  {`{"a":"m"}`, " V"},
		"null":                     {`{"model":null}`, " V"},
		"an empty one":             {`{"model":""}`, " V"},
		"a list":                   {`["model","m"]`, " V"},
		"a text":                   {`"model"`, " V"},
		"63 levels":                {deep(63), "m V"},
		"a number of 1023 bytes":   {long(1023), "m V"},
		"a name with an escape":    {`{"mod\u0065l":"m"}`, "m V"},
		"a value with escapes":     {`{"model":"\u006d\/\""}`, `m/" V`},
		"a longer name":            {`{"model":"m","models":"n","mode":"o"}`, "m V"},
		"the name in another one":  {`{"model":"m","a":{"model":"n"},"b":[{"MODEL":1}]}`, "m V"},
		"two of a name":            {`{"model":"a","model":"m"}`, unread + " V"},
		"two, one with an escape":  {`{"model":"a","\u006dodel":"m"}`, unread + " V"},
		"two, the last null":       {`{"model":"a","model":null}`, unread + " V"},
		"in another case":          {`{"Model":"m"}`, unread + " V"},
		"in another case, too":     {`{"model":"m","a":1,"MODEL":"n"}`, unread + " V"},
		"by an escape":             {`{"\u004dodel":"m"}`, unread + " V"},
		"64 levels":                {deep(64), unread},
		"a million levels":         {strings.Repeat(`{"a":`, 1<<20), unread},
		"invalid UTF-8":            {"{\"a\":\"\xff\",\"model\":\"m\"}", unread},
		"invalid UTF-8 in it":      {"{\"model\":\"\xc3(\"}", unread},
		"a surrogate in UTF-8":     {"{\"model\":\"\xed\xa0\x80\"}", unread},
		"a number of 1 KiB":        {long(1024), unread},
		"a number of 1 MiB":        {long(1 << 20), unread},
		"a byte order mark":        {"\ufeff" + `{"model":"m"}`, unread},
		"UTF-16":                   {utf16, unread},
		"UTF-16 with a mark":       {"\xff\xfe" + utf16, unread},
		"UTF-32":                   {"\x00\x00\x00{\x00\x00\x00}", unread},
		"NaN":                      {`{"a":NaN,"model":"m"}`, unread},
		"a number without an end":  {`{"a":-Infinity,"model":"m"}`, unread},
		"two texts":                {`{"model":"m"} {}`, unread},
		"something after it":       {`{"model":"m"}xyz`, unread},
		"a comma too many":         {`{"model":"m",}`, unread},
		"a comment":                {`{"model":"m"/**/}`, unread},
		"a leading zero":           {`{"a":01,"model":"m"}`, unread},
		"other quotes":             {`{'model':'m'}`, unread},
		"no quotes":                {`{model:"m"}`, unread},
		"a control character":      {"{\"a\":\"\n\",\"model\":\"m\"}", unread},
		"a zero byte":              {"{\"model\":\"m\"}\x00", unread},
		"a form":                   {"model=m", unread},
		"blanks":                   {" \n", unread},
		"the prefix of a library":  {`)]}'` + "\n" + `{"model":"m"}`, unread},
		"a number that is too big": {`{"model":1e400}`, unread + " V"},
		"one in a list":            {`{"model":[ 1,-1e400]}`, unread + " V"},
		"one elsewhere":            {`{"model":"m","a":1e400}`, "m V"},
	} {
		for _, cut := range []bool{false, true} {
			x := &X{State: NewState(), Body: &Body{Bytes: []byte(c.text), Cut: cut}}
			for range 2 { // the second answer is remembered
				before := x.State.Unasked()
				got := string(x.json(x.Body.Bytes, []byte("model"), jsonCall{ofBody: true}))
				if x.State.Unasked() != before {
					got += unread
				}
				if x.validJSON(x.Body.Bytes, true) || cut && strings.HasSuffix(c.want, " V") {
					got += " V"
				}
				if want := c.want; got != want && !(cut && name == "blanks") || x.Body.Missed && name != "blanks" {
					t.Errorf("%s, cut %v: %q, want %q; missed %v", name, cut, got, want, x.Body.Missed)
				}
			}
		}
	}
	x := &X{State: NewState(), Body: &Body{Bytes: []byte(`{"a":"b","mod`), Cut: true}}
	if got := x.json(x.Body.Bytes, []byte("model"), jsonCall{}); got != nil || !x.Body.Missed {
		t.Errorf("a cut before the member: %q, missed %v", got, x.Body.Missed)
	}
	x.Body.Missed = false
	if got := x.json(bytes.Clone(x.Body.Bytes), []byte("model"), jsonCall{}); got != nil || x.Body.Missed {
		t.Errorf("a text that is no body: %q, missed %v", got, x.Body.Missed)
	}
}

// Names are one in other letters as they are for encoding/json.
func TestJSON_foldedNames(t *testing.T) {
	for _, c := range []struct{ written, asked string }{
		{"ROLE", "role"}, {"role", "Role"}, {"\u212aind", "kind"}, {`\u212aind`, "kind"}, {"ma\u017fter", "master"},
		{"kind", "\u212aind"}, {"É", "é"}, {`\u00c9`, "é"}, {"\U00010400", "\U00010428"},
	} {
		x := &X{State: NewState()}
		text := `{"` + c.written + `":1}`
		if got := x.json([]byte(text), []byte(c.asked), jsonCall{}); got != nil || x.State.Unasked().JSON != 1 {
			t.Errorf("%s of %s: %q, %+v", c.asked, text, got, x.State.Unasked())
		}
	}
}

// A value has one form, however it is written.
func TestJSON_oneForm(t *testing.T) {
	nines, zeros := strings.Repeat("9", 40), strings.Repeat("0", 40)
	for want, spellings := range map[string][]string{
		"7":                      {"7", "7.0", "7.00", "7e0", "7E+0", "0.7e1", "70e-1", "700e-2", "0.07e+02"},
		"-7":                     {"-7", "-7.0", "-70e-1"},
		"0":                      {"0", "-0", "0.0", "-0.0", "0e7", "0E-99999999999999999999", "1e-400", "-1e-400"},
		"1000":                   {"1e3", "1000", "1000.0", "10e2", "0.001e6"},
		"0.1":                    {"0.1", "0.10", "1e-1", "0.1000000000000000055511151231257827"},
		"1e-7":                   {"0.0000001", "1e-7", "10e-8"},
		"1.5e-10":                {"15e-11", "0.00000000015"},
		"0.00001":                {"1e-5", "0.00001"},
		"123.456":                {"123.456", "123456e-3", "1.23456E2"},
		nines:                    {nines, nines + ".0", nines + "0e-1"},
		"1" + zeros[1:]:          {"1" + zeros[1:], "1e39"},
		"1e+40":                  {"1" + zeros, "1e40", "1" + zeros + ".0", "1" + zeros + "1e-1"},
		"9007199254740993":       {"9007199254740993", "9007199254740993.0"},
		"1000000000000000000000": {"1e21", "1000000000000000000000", "1000000000000000000000.5"},
		"true":                   {"true"},
		`{"b":7,"a":[1,"x y",{}]}`: {
			`{"b":7,"a":[1,"x y",{}]}`, "{ \"b\" :\t70e-1 ,\r\n\"a\":[ 1.0, \"\\u0078 y\" ,{ }]}",
		},
		`["\"\\/\n\u0001é"]`: {`["\"\\/\n\u0001é"]`, `["\u0022\u005c\/\u000A\u0001\u00e9"]`},
	} {
		for _, as := range spellings {
			x := &X{State: NewState()}
			text := []byte(`{"a":` + as + `}`)
			got := x.json(text, []byte("a"), jsonCall{})
			if string(got) != want || x.State.Unasked() != (Unasked{}) {
				t.Errorf("%s: %s, want %s", as, got, want)
			}
			if as == want && len(got) > 0 && &got[0] != &text[5] {
				t.Errorf("%s is copied", as)
			}
			if n, err := strconv.ParseInt(want, 10, 64); err == nil {
				if m, ok := integer([]byte(as)); !ok || m != n {
					t.Errorf("int of %s: %d, %v", as, m, ok)
				}
			}
		}
	}
	for _, text := range []string{"", "7.5", "7.0 ", "7.", ".7", "7e", "+7", "0x7", "1e19", "1e400", "NaN"} {
		if n, ok := integer([]byte(text)); ok {
			t.Errorf("int of %q: %d", text, n)
		}
	}
}

// A large list in another form is left as it is: a condition on it has no need of as much room.
func TestJSON_largeValues(t *testing.T) {
	text := []byte("[" + strings.Repeat(" 1,", ComputedMax) + "1]")
	x := &X{State: NewState()}
	if got := x.json(text, nil, jsonCall{}); len(got) != len(text) || x.State.Unasked() != (Unasked{}) {
		t.Errorf("%d of %d bytes, %+v", len(got), len(text), x.State.Unasked())
	}
}

// A condition that asks json.valid of a text says itself what happens to one that is not; a name that readers read
// differently is not what it has asked about.
func TestCondition_jsonValid(t *testing.T) {
	names := scope(t)
	for _, c := range []struct {
		when, body string
		want       string
	}{
		{`json(body, "role") == "admin"`, `{"role":"admin"}`, "true"},
		{`json(body, "role") == "admin"`, `{"role":"admin"}x`, "false, unread"},
		{`method == "POST" and json(body, "role") == "admin"`, `{"role":"admin"}x`, "false"}, // it is a GET
		{`method == "GET" or json(body, "role") == "admin"`, `{"role":"admin"}x`, "true"},
		{`not json.valid(body) or json(body, "role") == "admin"`, `{"role":"admin"}`, "true"},
		{`not json.valid(body) or json(body, "role") == "admin"`, `{"role":"admin"}x`, "true"},
		{`json(body, "role") == "admin" or not json.valid(body)`, `{"role":"admin"}x`, "true"},
		{`json(body, "role") == "admin" and json.valid(body)`, `{"role":"admin"}x`, "false"},
		{`json.valid(header.x-claims) and json(body, "role") == "admin"`, `x`, "false, unread"},
		{`json(trim(body), "role") == "admin" and json.valid(body)`, `x`, "false, unread"},
		{`not json.valid(body) or json(body, "role") == "admin"`, `{"Role":"admin"}`, "false, unread"},
		{`not json.valid(body) or json(body, "role") == "admin"`, `{"role":1e999}`, "false, unread"},
		{`json(lower(body), "role") == "admin"`, `{"ROLE":"admin"}`, "true"},
		{`json(lower(body), "role") == "admin"`, `{"ROLE":`, "false, unread"},
		{`has(json(body, "role"))`, `role`, "false, unread"},
		{`json(body, "role") in {"a" "b"}`, `role`, "false, unread"},
		{`json(body, "role") ~ "^a"`, `role`, "false, unread"},
		{`int(json(body, "role"), 0) == 0`, `role`, "true, unread"},
		{`json(header.x-claims, "role") == "b"`, ``, "true"},
		{`json(header.x-bad, "role") == "b"`, ``, "false, unread"},
		{`json(header.x-none, "role") == "b" or json.valid(header.x-none)`, ``, "false"},
		{`json.valid(header.x-claims)`, ``, "true"},
		{`json.valid(header.x-bad)`, ``, "false"},
		{`json.valid(body)`, ``, "false"},
		{`json.valid(split("1,2,[]", ",")) and not json.valid(split("1,2,[", ","))`, ``, "true"},
	} {
		when := condition(t, names, c.when, Content)
		x := browser(`X-Claims: {"role":"a"}`, `X-Claims: {"role":"b"}`, `X-Bad: {"role":"a"}`, `X-Bad: {"role:"b"}`)
		x.Body = &Body{Bytes: []byte(c.body)}
		got := fmt.Sprint(when.Holds(x))
		if x.State.Unasked().JSON > 0 {
			got += ", unread"
		}
		if got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.when, c.body, got, c.want)
		}
		checkModel(t, names, x, c.when)
	}
}

// Readers of a body go by what its head says of it: what is coded is another text for them.
func TestJSON_codedBodies(t *testing.T) {
	when := condition(t, scope(t), `json(body, "a") == "1"`, Content)
	for field, readable := range map[string]bool{
		"Content-Encoding: gzip":                              false,
		"Content-Encoding: identity, gzip":                    false,
		"Content-Encoding: Identity":                          true,
		"Content-Encoding:":                                   true,
		"Content-Type: application/json":                      true,
		"Content-Type: application/json; charset=utf-8":       true,
		`Content-Type: application/json;Charset="UTF-8";x=y`:  true,
		"Content-Type: application/json; charset=ISO-8859-1":  true,
		"Content-Type: application/json; charset=utf-7":       false,
		"Content-Type: application/json; charset=utf-80":      false,
		`Content-Type: application/json; charset="utf-7"`:     false,
		`Content-Type: a/b; charset=utf-8; charset=utf-7`:     false,
		"Content-Type: application/json; charset*=''utf-16":   false,
		`Content-Type: application/json; charset="ut\f-8"`:    false,
		"Content-Type: application/json; charset =\tUTF-16LE": false,
		"Content-Type: application/json; charset":             true,
	} {
		x := browser(field)
		x.Body = &Body{Bytes: []byte(`{"a":1}`)}
		if got := when.Holds(x); got != readable || (x.State.Unasked().JSON == 0) != readable {
			t.Errorf("%s: %v, %+v", field, got, x.State.Unasked())
		}
	}
}

// A body that nobody has read is cut: its route reads none.
func TestCondition_bodyThatWasNotRead(t *testing.T) {
	when := condition(t, scope(t), `body.cut`, Log)
	for length, want := range map[int64]bool{0: false, 5: true, message.LengthUnknown: true} {
		x := browser()
		x.Request.Length = length
		if when.Holds(x) != want {
			t.Errorf("a length of %d: %v", length, !want)
		}
	}
}
