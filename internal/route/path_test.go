package route

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestResolvePath(t *testing.T) {
	for in, want := range map[string]string{
		"/":                      "/",
		"/a/b":                   "/a/b",
		"/a/./b":                 "/a/b",
		"/a/../b":                "/b",
		"/a/b/..":                "/a/",
		"/a/b/.":                 "/a/b/",
		"/..":                    "/",
		"/../..//x":              "//x",
		"/a/%2e%2E/b":            "/b",
		"/a/.%2e/b":              "/b",
		"/%7euser/%41%2d%5f":     "/~user/A-_",
		"/a%2fb%3A%c3%a4":        "/a%2Fb%3A%C3%A4",
		"/a//b/":                 "/a//b/",
		"/a//../b":               "/a/b",
		"/a/...":                 "/a/...",
		"/a/..b/.c":              "/a/..b/.c",
		"/%zz%":                  "/%25zz%25",
		"/a/%2%65%2%65/b":        "/a/%252e%252e/b",
		"/%252e%252e/x":          "/%252e%252e/x",
		"/a/..;x/b":              "/a/..;x/b",
		"/public/%2e%2e/admin/x": "/admin/x",
	} {
		if got := string(resolvePath(nil, []byte(in), 0)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestResolvePath_lenient(t *testing.T) {
	for in, want := range map[string]string{
		"/":             "/",
		"//":            "/",
		"//a///b//":     "/a/b/",
		"/a%2Fb":        "/a/b",
		"/a%5cb":        "/a/b",
		`/a\b\`:         "/a/b/",
		"/a//../b":      "/b",
		"/a/..%2f..%2f": "/",
		"/a/b;c":        "/a/b;c",
		"/%2fadmin":     "/admin",
	} {
		if got := string(resolvePath(nil, []byte(in), encodedSlash|backslash|mergedFirst)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// What Go makes of a path by RFC 3986 and by path.Clean is the model.
func FuzzResolvePath(f *testing.F) {
	for _, s := range []string{"/a/../b", "/./%2e/..//%2F", "/..", "/a%2f..%5c../;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if in == "" || in[0] != '/' || strings.ContainsAny(in, "?#") {
			return
		}
		got := string(resolvePath(nil, []byte(in), 0))
		if len(got) > 3*len(in) || got[0] != '/' {
			t.Fatalf("%q: %q", in, got)
		}
		if again := string(resolvePath(nil, []byte(got), 0)); again != got {
			t.Fatalf("%q: %q, then %q", in, got, again)
		}
		loose := string(resolvePath(nil, []byte(in), encodedSlash|backslash|mergedFirst))
		if strings.ContainsAny(in, `%\;`) {
			return
		}
		if clean := path.Clean(in); strings.TrimSuffix(loose, "/") != strings.TrimSuffix(clean, "/") {
			t.Fatalf("%q: %q, want %q", in, loose, clean)
		}
		base, err := url.Parse("http://h/")
		if err != nil || strings.Contains(in, "//") {
			return
		}
		if want := base.ResolveReference(&url.URL{Path: in}).Path; got != want {
			t.Fatalf("%q: %q, want %q", in, got, want)
		}
	})
}

func TestResolvePath_withoutParameters(t *testing.T) {
	for in, want := range map[string][2]string{ // as the RFC has it, and lenient
		"/a;b":             {"/a", "/a"},
		"/a;b/c;d;e/":      {"/a/c/", "/a/c/"},
		"/a;b=/../c":       {"/c", "/c"},
		"/a%3Bb/c":         {"/a%3Bb/c", "/a/c"},
		"/a;%2Fb/c":        {"/a/c", "/a/b/c"},
		"/a;b%5C..%5Cc/d;": {"/a/d", "/c/d"},
		"/;":               {"/", "/"},
		"/a%7e;%zz":        {"/a~", "/a~"},
	} {
		for i, how := range []reading{withoutParameters, withoutParameters | encodedSlash | backslash | mergedFirst} {
			if got := string(resolvePath(nil, []byte(in), how)); got != want[i] {
				t.Errorf("%s: %s, want %s", in, got, want[i])
			}
		}
	}
}

func TestParametersOf(t *testing.T) {
	for in, want := range map[string]string{
		"/": "", "/a": "", "/a/../b": "", "//a": "",
		"/a;": "some", "/a;b/c": "some", "/a%3bb": "some", "/;": "some",
		"/a/;x": "some", "/...;/x": "some", "/a.;/x": "some", "/.a;/x": "some", "/a;../x": "some", "/a;/../x": "some",
		"/;/a": "odd", "/a/;x/b": "odd", "/..;": "odd", "/a/.;x": "odd", "/%2e%2E;x/a": "odd", "/..%3b": "odd",
		"/%3B/a": "odd", `/a\;\b`: "odd", "/a%2f;%2Fb": "odd", "/a;b/;/c;d": "odd",
	} {
		some, odd := parametersOf([]byte(in))
		if got := map[bool]string{true: "some"}[some]; odd && want != "odd" || !odd && got != want {
			t.Errorf("%s: %v, %v", in, some, odd)
		}
	}
}

func TestHidesDots(t *testing.T) {
	for in, want := range map[string]bool{
		"/a": false, "/a%2Fb": false, "/a..%2Fb": false, "/.well-known/x": false, "/a/...": false, "/;..": false,
		"/..%2Fb": true, "/a%2F..": true, `/a\..\b`: true, "/a%5C.": true,
	} {
		if hidesDots([]byte(in)) != want {
			t.Errorf("%s: %v", in, !want)
		}
	}
}

// Words of eight bytes and single ones see the same.
func TestPathOf(t *testing.T) {
	for _, piece := range []string{
		"", "/.", "//", "/a.b/", "%41", `\`, ";", "/../", "?", "?/../%", "?;", ";?", "?a=;", "/.well", "./", "..",
	} {
		for n := range 40 {
			in := "/" + strings.Repeat("a", n) + piece + strings.Repeat("b/c.d/", n%5)
			path, _, _ := strings.Cut(in, "?")
			want := !strings.ContainsAny(path, `%\;`) && !strings.Contains(path, "//") && !strings.Contains(path, "/.")
			h := ask("GET", "h", in)
			if got, plain := pathOf(h.Bytes(h.Target)); string(got) != path || plain != want {
				t.Errorf("%s: %s %v, want %v", in, got, plain, want)
			}
		}
	}
}

func TestReadings(t *testing.T) {
	for target, want := range map[string]string{
		"/a/b?c=//d": "", "/%61/./b": "/a/b", "*": "", "a.example:443": "",
		"//a":                   "//a /a",
		"/a%2fb":                "/a%2Fb /a/b",
		"/a/x%5c..%5Cb":         "/a/x%5C..%5Cb /a/b",
		`/a\b`:                  `/a\b /a/b`,
		"/a//../b":              "/a/b /b",
		"/%61%3ab%40":           "/a%3Ab%40 /a:b@",
		"/a%3Bb%2F%5B%25%20":    "/a%3Bb%2F%5B%25%20 /a;b%2F[%25%20 /a;b/[%25%20",
		"/a//b/../c":            "/a//c /a/c",
		"/api//admin//../s":     "/api//admin/s /api/s /api/admin/s",
		`/api/x\y/../admin\s`:   `/api/admin\s /api/x/admin/s /api/admin/s`,
		`/api/admin\y%2fz/../s`: `/api/s /api/admin\y/s /api/admin/s /api/admin/y/s`,
	} {
		var r Readings
		var got []string
		for i := range r.Of([]byte(target), Reading{}) {
			got = append(got, string(r.At(i)))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %s, want %s", target, s, want)
		}
		if r.Of([]byte(target), Reading{Paths: PathsRaw}) > 0 {
			t.Errorf("%s has readings where routes see it as it came", target)
		}
	}
}

// A hundred conditions about one path have its readings made once.
func TestReadings_areKeptForTheNextCondition(t *testing.T) {
	var r Readings
	ask := func(target string, how Reading) string {
		r.Of([]byte(target), how)
		return string(r.At(0))
	}
	ask("/a//b;c?x", Reading{})
	r.text[1] = 'z' // what is made anew does not have it
	if got := ask("/a//b;c?y", Reading{}); got != "/z//b;c" {
		t.Errorf("%s: the readings were made again", got)
	}
	if got := ask("/a//b;c", Reading{Parameters: ParametersStripped}); got != "/a//b" {
		t.Errorf("%s of another way to read parameters", got)
	}
	if got := ask("/a//c", Reading{Parameters: ParametersStripped}); got != "/a//c" {
		t.Errorf("%s of another path", got)
	}
}

// A request whose path has too many readings is refused where all of them lead to one route, too.
func TestTable_boundsReadings(t *testing.T) {
	table := tableOf(t, named{Rule{}, "all"})
	for target, want := range map[string]error{
		`/a//b%2Fc\d%3A`: nil, // one odd slash of each kind
		`/a\b//\../..//%2fa%2f%2f\\//../a/..%5cb/x`: ErrPath,
	} {
		var r Readings
		n := r.Of([]byte(target), Reading{})
		if (n > ReadingsMax) != (want != nil) || n > ReadingsMax+3 {
			t.Errorf("%s has %d readings", target, n)
		}
		if _, err := table.Find(ask("GET", "h", target), here, Reading{}, &Local{}); err != want {
			t.Errorf("%s: %v, want %v", target, err, want)
		}
	}
}
