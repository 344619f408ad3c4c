package lang

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"golang.org/x/sys/unix"
)

// hostile returns a request with a target and fields.
func hostile(target string, fields ...string) *X {
	lines := append([]string{"GET " + target + " HTTP/1.1", "Host: a"}, fields...)
	x := &X{Request: request(lines...), State: NewState()}
	x.Path = []byte("/private")
	return x
}

// TestCondition_sealsOnce sends many signatures: the code that they are compared with is made once, and does not run
// out of room, where it would be empty as they are.
func TestCondition_sealsOnce(t *testing.T) {
	names := scope(t)
	for text, want := range map[string]bool{
		`query.sig == hex(hmac(secret.links, path))`:                         false,
		`not query.sig != hex(hmac(secret.links, path))`:                     false,
		`any(query.sig == hex(hmac(secret.links, path)))`:                    false,
		`all(query.sig == hex(hmac(secret.links, path)))`:                    false,
		`any(query.sig != hex(hmac(secret.links, path)))`:                    true,
		`hex(hmac(secret.links, path)) == query.sig`:                         false,
		`query.sig == hex(hmac(secret.links, replace(path, "p", header.x)))`: false,
	} {
		c := condition(t, names, text, Request)
		x := hostile("/private?"+strings.Repeat("sig=&", 6000), "X: "+strings.Repeat("x", ComputedMax))
		if c.Holds(x) != want {
			t.Errorf("%s: %v, %d texts cut", text, !want, x.State.Cut())
		}
		checkModel(t, names, x, text)
	}
}

// TestCondition_codeThatIsCut: where there was no room for a code nothing equals what is left of it.
func TestCondition_codeThatIsCut(t *testing.T) {
	names := scope(t)
	for text, want := range map[string]bool{
		`query.sig == replace(header.x, "x", "yy") + hex(hmac(secret.links, path))`:      false,
		`query.sig != replace(header.x, "x", "yy") + hex(hmac(secret.links, path))`:      true,
		`all(query.sig == replace(header.x, "x", "yy") + hex(hmac(secret.links, path)))`: false,
		`any(query.sig != replace(header.x, "x", "yy") + hex(hmac(secret.links, path)))`: true,
	} {
		c := condition(t, names, text, Request)
		x := hostile("/private?sig=", "X: "+strings.Repeat("x", ComputedMax/2))
		if c.Holds(x) != want || x.State.Cut() == 0 {
			t.Errorf("%s: %v, %d texts cut", text, !want, x.State.Cut())
		}
	}
}

// TestCondition_manyByMany compares thousands of values with thousands, none of which are alike: that took 5 s.
func TestCondition_manyByMany(t *testing.T) {
	names := scope(t)
	for _, text := range []string{
		`cookie.a == query.a`,
		`query.a == cookie.a`,
		`cookie.a == query.a ?? "y"`,
		`split(header.a, ",") == split(header.b, ",")`,
	} {
		c := condition(t, names, text, Request)
		x := hostile("/?"+strings.Repeat("a=%78&", 2700), "Cookie: "+strings.Repeat("a;", 8<<10),
			"A: "+strings.Repeat("a,", 8<<10)+"a", "B: "+strings.Repeat("b,", 8<<10)+"b")
		if took := spent(t, func() {
			if c.Holds(x) {
				t.Errorf("%s holds", text)
			}
		}); took > 3*time.Second {
			t.Errorf("%s took %v", text, took)
		}
		x.Request.Add("Cookie", "a=x")
		x.Request.Add("A", "b")
		if !c.Holds(x) {
			t.Errorf("%s does not hold for one of them", text)
		}
	}
}

// TestCondition_partsOfMany looks for thousands of texts in thousands: that took up to 0.3 s, or 20 ms for one of them.
func TestCondition_partsOfMany(t *testing.T) {
	names := scope(t)
	for text, holding := range map[string]string{
		`cookie.a contains query.a`:                       "a=x0xyz1",
		`cookie.a starts_with query.a`:                    "a=xyz1x",
		`cookie.a ends_with query.a`:                      "a=x0xyz1",
		`not cookie.a not contains query.a`:               "a=x0xyz1",
		`any(cookie.a contains lower(query.a))`:           "a=x0xyz1",
		`not all(cookie.a not ends_with query.a)`:         "a=x0xyz1",
		`header.cookie contains query.a`:                  "b=xyz1",
		`lower(cookie.a) starts_with split(query.a, ",")`: "a=xYZ1x",
	} {
		c := condition(t, names, text, Request)
		parameters := strings.Builder{}
		for i := range 2700 {
			fmt.Fprintf(&parameters, "a=xx%d%%78&", i)
		}
		x := hostile("/?"+parameters.String()+"a=xyz1", "Cookie: "+strings.Repeat("a=xxxxxxxx;", 2700)+
			"a="+strings.Repeat("x", 16<<10))
		if took := spent(t, func() {
			for range 10 {
				if c.Holds(x) {
					t.Errorf("%s holds", text)
				}
			}
		}); took > 400*time.Millisecond {
			t.Errorf("%s took %v for ten times", text, took)
		}
		x.Request.Add("Cookie", holding)
		if !c.Holds(x) {
			t.Errorf("%s does not hold for one of them", text)
		}
	}
}

// FuzzNeedles: one of some texts is a part of another as package bytes says.
func FuzzNeedles(f *testing.F) {
	f.Add([]byte("abcab,bc,,caa"), []byte("xbcaa"))
	f.Add([]byte("aab,aaab,ab"), []byte("aaaaaaab"))
	f.Fuzz(func(t *testing.T, list, text []byte) {
		texts := bytes.Split(list, []byte(","))
		for by, has := range map[cmp]func(a, b []byte) bool{
			cmpContains: bytes.Contains, cmpStarts: bytes.HasPrefix, cmpEnds: bytes.HasSuffix,
		} {
			want := slices.ContainsFunc(texts, func(part []byte) bool { return has(text, part) })
			if got := newNeedles(texts, by).in(text); got != want {
				t.Fatalf("%q %s %q: %v", text, cmpNames[by], texts, got)
			}
		}
	})
}

// TestCondition_malformedValues: what one reader refuses another takes, so a rule sees it.
func TestCondition_malformedValues(t *testing.T) {
	names := scope(t)
	for _, c := range []struct{ text, query, cookie string }{
		{`query.cmd contains "rm"`, "cmd=rm;ls", ""},
		{`query.cmd == "rm;ls"`, "cmd=rm;ls", ""},
		{`query.cmd == "rm %zz"`, "cmd=rm+%zz", ""},
		{`query.cmd == "rm%"`, "cmd=rm%", ""},
		{`query.cmd == "rm%2"`, "a=1&c%6Dd=r%6d%2", ""},
		{`has(query.cmd)`, "cmd;=1&cmd=%", ""},
		{`cookie.x == "<script>\""`, "", `x=<script>"`},
		{`cookie.x == "a\b"`, "", `x=a\b`},
		{`cookie.x == "é"`, "", `x=é`},
		{`cookie.x == "<script>"`, "", `x="<script>"`},
		{`cookie.x == "b"`, "", `x="a; x=b`},
	} {
		compiled := condition(t, names, c.text, Request)
		x := hostile("/?"+c.query, "Cookie: "+c.cookie)
		if !compiled.Holds(x) {
			t.Errorf("%s does not hold for %s%s", c.text, c.query, c.cookie)
		}
		checkModel(t, names, x, c.text)
	}
}

// TestCondition_roomForEach: what one comparison has computed takes no room from the next one.
func TestCondition_roomForEach(t *testing.T) {
	names := scope(t)
	clauses, blanks := make([]string, 20), strings.Repeat("+", 8000)
	for i := range clauses {
		clauses[i] = `query.c contains "evil` + string(rune('a'+i)) + `"`
	}
	for text, x := range map[string]*X{
		`lower(header.x) == "b" or lower(header.y) == "evil"`:            hostile("/"),
		strings.Join(clauses, " or "):                                    hostile("/?c=" + blanks + "evilt"),
		`text(len(lower(header.x)) > 0) + lower(header.y) == "trueevil"`: hostile("/"),
		`int(lower(header.x), 0) == 0 and lower(header.y) == "evil"`:     hostile("/"),
		`not percent(lower(header.x), 0) and lower(header.y) == "evil"`:  hostile("/"),
	} {
		c := condition(t, names, text, Request)
		x.Request.Add("X", strings.Repeat("x", ComputedMax))
		x.Request.Add("Y", "Evil")
		if !c.Holds(x) || x.State.Cut() != 0 {
			t.Errorf("%.80s does not hold, %d texts cut", text, x.State.Cut())
		}
		checkModel(t, names, x, text)
	}
	to := template(t, names, `{len(lower(header.x)) > 1 ? "a" : "b"}{lower(header.y)}`, Request)
	x := hostile("/", "X: "+strings.Repeat("x", ComputedMax), "Y: B")
	if got := string(to.Append(nil, x)); got != "ab" {
		t.Errorf("the template is %q", got)
	}
}

// TestState_afterPanic: a function of a program that panics leaves nothing in the state.
func TestState_afterPanic(t *testing.T) {
	given := names()
	given.Functions = append(given.Functions, Function{Name: "fails", Doc: "It panics.", Example: `fails("a") == ""`,
		Text: func(*X, []byte, []byte, []byte) []byte { panic("fails") }})
	scope, err := NewScope(given)
	if err != nil {
		t.Fatal(err)
	}
	fails := condition(t, scope, `split(header.x, ",").fails() == query.a`, Request)
	after, err := scope.Condition(`split(header.x, ",").upper() == query.a and len(split(header.x, ",")) == 3`, Request)
	if err != nil {
		t.Fatal(err)
	}
	x := hostile("/?a=1&a=%43", "X: a,b,c")
	for range 3 {
		func() {
			defer func() { recover() }()
			fails.Holds(x)
		}()
		if !after.Holds(x) {
			t.Error("after a panic the condition does not hold")
		}
		if n := len(x.State.list); n != 0 {
			t.Errorf("the state has %d texts left", n)
		}
	}
}

// TestCondition_twoMatches: the groups of one match stay what they are while another one is made.
func TestCondition_twoMatches(t *testing.T) {
	names := scope(t)
	for _, text := range []string{
		`path ~ "^/(.*)$" and match.1 + (header.x ~ "^(.*)$" ? match.1 : "") == "privatezz"`,
		`path ~ "^/(.*)$" and match.1 == (header.x ~ "^(.*)$" ? "private" : "")`,
		`path ~ "^/(.*)$" and replace(match.1, "v", header.x ~ "^(.*)$" ? "x" : "") == "prixate"`,
	} {
		c := condition(t, names, text, Request)
		x := hostile("/", "X: zz")
		if !c.Holds(x) {
			t.Errorf("%s does not hold", text)
		}
		checkModel(t, names, x, text)
	}
}

// hostileHeads returns requests that use their size in other ways: by one long value of each thing, by many short
// ones, by text that decoders, patterns and readers of JSON have to look at.
func hostileHeads(size int) map[string]*X {
	all := func(s string) string { return strings.Repeat(s, size/len(s)) }
	var parameters, cookies strings.Builder
	for i := 0; parameters.Len() < size; i++ {
		fmt.Fprintf(&parameters, "a=%%78%d&", i)
		fmt.Fprintf(&cookies, "a=y%d; ", i)
	}
	deep := strings.Repeat(`{"a":`, size/6) + "1" + strings.Repeat("}", size/6)
	head := func(query, x, a, b, cookie string) *X {
		return hostile("/?"+query, "X: "+x, "A: "+a, "B: "+b, "Cookie: "+cookie)
	}
	return map[string]*X{
		"long":      head("a="+all("a"), all("a"), all("a"), "b", "a="+all("a")),
		"many":      head(all("a=x&"), all("a,"), all("a,"), all("b,"), all("a=y;")),
		"differing": head(parameters.String(), parameters.String(), "a", "b", cookies.String()),
		"empty":     head(all("a&"), all(","), all(","), all(","), all("a;")),
		"json":      head("a="+all("%7b"), deep, "a", "b", "a=["),
		"wide":      head("a=1", "{"+all(`"a":1,`)+`"b":1}`, all("<"), "b", "a="+all("<")),
		"percent":   head("a="+all("%41"), all("%41"), all("<"), all("ab"), "a="+all("%")),
	}
}

// TestCondition_hostileHeads has no head take a time that grows with its square: replace(query.a, cookie.a, "x") took
// 12 s for 64 KiB of each. The race detector makes all of it slower, some of it 20 times.
func TestCondition_hostileHeads(t *testing.T) {
	if testutil.RaceOn {
		t.Skip("with the race detector")
	}
	names, heads := scope(t), hostileHeads(24<<10)
	for _, text := range []string{
		`query.a == cookie.a`, `all(query.a != cookie.a)`, `any(cookie.a contains query.a)`,
		`cookie.a ends_with query.a`, `header.x like "*a*a*a*a*b*"`, `(query.a ?? cookie.a) == "zz"`,
		`header.x contains header.b`, `percent(query.a, 0)`,
		`replace(query.a, cookie.a, "x") == "b"`, `replace(header.x, header.b, header.a) == "b"`,
		`split(header.x, ",").replace(cookie.a, header.a) == "b"`, `cut_prefix(query.a, cookie.a) == "b"`,
		`sha256(query.a) == "b"`, `hmac(secret.links, query.a) == "b"`, `base64_decode(base64(header.x)) == "b"`,
		`json(header.x, "a.a.a.a") == "b"`, `url_encode(query.a) == "b"`, `split(split(header.x, ","), "a")[3] == "b"`,
		`join(split(header.x, ","), header.b) == "b"`, `header.x + query.a + header.x == "b"`, `map.up[query.a] == "b"`,
		`query.a ~ "(a|b|x|y)*a(a|b){14}\d"`, `re_replace(query.a, "(a*)*b|x", "_$1") == "b"`, `int(query.a, 1) == 3`,
		`re_replace(header.a, "<[^>]*>|<", "_") == "b"`, `query.a ~ "^(.*)(.*)(.*)$" and match.1 == "b"`,
	} {
		c := condition(t, names, text, Request)
		for name, x := range heads {
			if took := spent(t, func() { c.Holds(x) }); took > time.Second {
				t.Errorf("%s on the head %q took %v", text, name, took)
			}
		}
	}
}

// TestLike_time has a glob found again and again but for its last byte.
func TestLike_time(t *testing.T) {
	text := []byte(strings.Repeat("a", 64<<10))
	took := spent(t, func() {
		for _, again := range []string{"a", "a*"} {
			if glob := "*" + strings.Repeat(again, 8<<10) + "b*"; like(text, []byte(glob)) {
				t.Errorf("%.10s… is like it", glob)
			}
		}
	})
	if took > time.Second && !testutil.RaceOn {
		t.Errorf("it took %v", took)
	}
}

// TestReplace_time replaces matches for each of which the rest of the text is looked at. What there is no time for is
// cut off: it is not left as it came.
func TestReplace_time(t *testing.T) {
	names := scope(t)
	to := template(t, names, `{header.x.re_replace("<[^>]*>|<", "_")}`, Request)
	for _, size := range []int{1000, 32 << 10} {
		x := hostile("/", "X: "+strings.Repeat("<", size))
		got := ""
		took := spent(t, func() { got = string(to.Append(nil, x)) })
		cut := x.State.Cut() > 0
		if strings.Trim(got, "_") != "" || cut != (size > 1000) || cut != (len(got) < size) || len(got) < 10 {
			t.Errorf("%d bytes: %d, %d texts cut", size, len(got), x.State.Cut())
		}
		if took > time.Second && !testutil.RaceOn {
			t.Errorf("%d bytes took %v", size, took)
		}
	}
}

// spent returns the processor time that f takes: how busy the machine is does not count.
func spent(t *testing.T, f func()) time.Duration {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	now := func() time.Duration {
		var at unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &at); err != nil {
			t.Fatal(err)
		}
		return time.Duration(at.Nano())
	}
	begin := now()
	f()
	return now() - begin
}

// Each value of a list has no more copied into it than there is room for.
func TestReplace_ofManyByABody(t *testing.T) {
	x := browser()
	x.Body = &Body{Bytes: []byte(strings.Repeat("y,", 64<<10))}
	c := condition(t, scope(t), `split(body, ",").replace("y", body) == "b"`, Content)
	if took := spent(t, func() { c.Holds(x) }); took > time.Second {
		t.Errorf("it took %v", took)
	}
}
