package lang

import (
	"slices"
	"strings"
	"testing"
)

// holding are conditions, and whether they hold for a browser's request.
var holding = []struct {
	text  string
	holds bool
}{
	{`path starts_with "/api/" and method == "GET"`, true},
	{`path starts_with "/api/" && method != "GET"`, false},
	{`method in {"GET" "HEAD"}`, true},
	{`method in {"GET", "PURGE"}`, true},
	{`method not in {"GET" "HEAD"}`, false},
	{`not method == "POST"`, true},
	{`!(method eq "POST") || false`, true},
	{`path == "/api/v2/items/17"`, true},
	{`target contains "q=two%20words"`, true},
	{`host == "shop.example.com" and port == 8443`, true},
	{`header.host == "Shop.Example.COM:8443"`, true},
	{`header["User-Agent"] contains "Chrome"`, true},
	{`header.user-agent ~ "(?i)mozilla"`, true},
	{`header.user-agent !~ "curl|wget"`, true},
	{`header.user-agent matches "^curl"`, false},
	{`path ~ "^/api/v([0-9]+)/" and match.1 == "2"`, true},
	{`path ~ "^/api/v([0-9]+)/" and match.1 == "3"`, false},
	{`path like "/api/*/items/*"`, true},
	{`path not like "*.php"`, true},
	{`query.q == "1"`, true},
	{`query.q == "two words"`, true},
	{`query.q != "two words"`, false},
	{`query.q in {"x" "two words"}`, true},
	{`any(query.q != "1")`, true},
	{`all(query.q == "1")`, false},
	{`all(query.none == "")`, true},
	{`query.none == ""`, true},
	{`has(query.empty) and not has(query.none)`, true},
	{`query.none ?? "x" == "x"`, true},
	{`query.empty ?? "x" == ""`, true},
	{`default(query.empty, "x") == "x"`, true},
	{`cookie.beta == "yes"`, true},
	{`cookie._ga starts_with "GA1"`, true},
	{`client.ip in {10.0.0.0/8}`, true},
	{`client.ip not in {10.0.0.0/8 192.168.0.0/16}`, false},
	{`client.ip in {1.1.1.1, 2.2.2.2 3.3.3.3 4.4.4.4 10.1.2.0/24}`, true},
	{`client.ip in list.office and client.ip != 10.1.2.4`, true},
	{`client.ip == ::ffff:10.1.2.3`, true},
	{`client.ip in {::ffff:10.0.0.0/104 ::1 fe80::/10}`, true},
	{`cidr(client.ip, 16, 48) == 10.1.0.0/16`, true},
	{`map.up[header.x-none] == ""`, true},
	{`map.up["websocket"] == "ws" and not has(map.up["x"]) and has(map.up["h2c"])`, true},
	{`map.site[client.ip] == "hq"`, true},
	{`header.x-role in list.bots`, false},
	{`status == 404 and status >= 400 and status < 500 and status != 200`, true},
	{`length > 5 or length <= 5 or length != 5`, false},
	{`len(path) < 2k and len(path) + 1k > 1024 and len(path) < 1g`, true},
	{`int(header.none) + 1 ?? 7 == 7 and "x" + (header.none ?? "y") == "xy"`, true},
	{`default(header.none, header.none) ?? "d" == "d" and text(header.none) ?? "d" == "d"`, true},
	{`answer.length == 512 and answer.length < 1k and answer.length <= 1m`, true},
	{`duration > 1s and duration < 2s and duration > 500ms and duration < 1m`, true},
	{`duration > 0`, true},
	{`answer.header.set-cookie == "b=2"`, true},
	{`len(query.q) == 12 and len(split(path, "/")) == 5`, true},
	{`split(path, "/")[1] == "api" and path.split("/")[-1] == "17" and not has(path.split("/")[9])`, true},
	{`header.accept.split(",").trim() == "application/xhtml+xml"`, true},
	{`int(path.basename()) + 3 == 20 and int("x", 0 - 1) == -1`, true},
	{`int("x") == 0 or int("x") != 0 or int("x") < 1`, false},
	{`int("9") % 4 == 1 and 7 - 2 - 1 == 4 and 2 + 3 - 1 == 4`, true},
	{`int("5") % 0 == 0`, false},
	{`(1 > 2 ? "a" : "b") == "b" and (tls.resumed ? 1 : 2) == 2`, true},
	{`"a" + "b" + query.none == "ab"`, true},
	{`text(port) + "/" + text(client.ip) == "8443/10.1.2.3"`, true},
	{`upper("aBc") == "ABC" and lower("aBc") == "abc"`, true},
	{`lower(header.x-role) == "guest"`, true},
	{`cut_prefix(path, "/api") == "/v2/items/17" and path.cut_suffix("17") ends_with "/"`, true},
	{`replace("a-b-c", "-", "") == "abc" and re_replace("v12", "v([0-9])", "$1.") == "1.2"`, true},
	{`url_encode("a b/c") == "a%20b%2Fc" and url_decode("a%20b%2") == "a b%2"`, true},
	{`base64("hi?") == "aGk/" and base64_decode("aGk_") == "hi?" and not has(base64_decode("*"))`, true},
	{`hex("az") == "617a" and hex(sha256("")) starts_with "e3b0c442"`, true},
	{`hex(hmac(secret.links, "x")) == "c38edc8815c8489f64738978f44008f8596345545f0baa68ef6fcf5c53e57189"`, true},
	{`header.x-token == secret.token`, false},
	{`"open sesame" == secret.token`, true},
	{`hash("a") == hash("a") and hash("a") != hash("b")`, true},
	{`percent("a", 100) and not percent("a", 0)`, true},
	{`ext("/a/b.tar.gz") == "gz" and not has(ext("/a.b/c"))`, true},
	{`json('{"a":{"b":[1,"two"]}}', "a.b.1") == "two"`, true},
	{`json.valid(header.x-none) or json.valid("{") or not json.valid("[1]")`, false},
	{`json("[{\"a\" : 7.0}]", "0") == '{"a":7}' and int(json("[7e0]", "0")) == 7 and int("70e-1") == 7`, true},
	{`cert.sans ends_with ".y.org" and join(cert.sans, "+") == "a.x.org+b.y.org"`, true},
	{`local.a == "a" and env.REGION == "eu" and env["REGION"] == "eu" and has(env.EMPTY)`, true},
	{`twice("a") == "aa"`, true},
	{`tls.resumed == false`, true},
	{`scheme == "http" and proto == "HTTP/1.1"`, true},
	{`query == "q=1&q=two%20words&empty=&lang=en"`, true},
	{"path contains `/v2/` and path != 'it\\'s'", true},
}

// Applications take the blanks off, and an origin would read another value than the condition.
func TestCondition_cookieWithBlanks(t *testing.T) {
	c := condition(t, scope(t), `cookie.role == "admin"`, Request)
	for _, cookie := range []string{"role=admin", "role= admin", "x=1; role =\t admin ; role=b", `role= "admin" `} {
		if !c.Holds(browser("Cookie: " + cookie)) {
			t.Errorf("not for %q", cookie)
		}
	}
}

func TestCondition_holds(t *testing.T) {
	names := scope(t)
	for _, c := range holding {
		t.Run(c.text, func(t *testing.T) {
			compiled := condition(t, names, c.text, Log)
			x := browser()
			if got := compiled.Holds(x); got != c.holds {
				t.Errorf("%v, explained:", got)
				for _, clause := range compiled.Explain(x) {
					t.Logf("%+v", clause)
				}
			}
			checkModel(t, names, x, c.text)
		})
	}
}

// rendered are templates, and what they are for a browser's request.
var rendered = []struct{ text, want string }{
	{"", ""},
	{"plain", "plain"},
	{"{{}}", "{}"},
	{"https://{host}{target}", "https://shop.example.com/api/v2/items/17?q=1&q=two%20words&empty=&lang=en"},
	{"{query.q}|{query.none}|{query.none ?? '-'}", "1, two words||-"},
	{"{client.ip in {10.0.0.0/8} ? 'in' : 'out'}{status}", "in404"},
	{"{duration} {length} {answer.length} {tls.resumed} {cidr(client.ip, 24, 56)}", "1.500000  512 false 10.1.2.0/24"},
	{"{path.cut_prefix(\"/api\")}", "/v2/items/17"},
	{"{answer.header.set-cookie.join(' + ')} {lower(answer.header.content-type)}", "a=1 + b=2 text/html"},
	{`{path.re_replace("^/api/v([0-9]+)", "/$1$$")}`, "/2$/items/17"},
	{"{date(1800000000)} {date(1800000000, '%Y-%m-%d %H:%M:%S %a %b %%')}",
		"Fri, 15 Jan 2027 08:00:00 GMT 2027-01-15 08:00:00 Fri Jan %"},
	{`{path ~ "^/api/v([0-9]+)" ? match.1 : "none"}`, "2"},
	{"{1 + 2}{0 - 5}{10m}{5s}", "3-5104857605.000000"},
	{"{ms(duration)} {ms(5s)} {ms(1ms)} {ms(1ms - 1500ms)}", "1500.000 5000.000 1.000 -1499.000"},
}

func TestTemplate(t *testing.T) {
	names := scope(t)
	for _, c := range rendered {
		compiled, err := names.Template(c.text, Log)
		if err != nil {
			t.Errorf("%q: %v\n%s", c.text, err, err.(*Error).Caret(c.text))
			continue
		}
		x := browser()
		if got := string(compiled.Append([]byte("> "), x)); got != "> "+c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
		checkModel(t, names, x, c.text)
	}
}

// wrong are conditions that are refused. ^ marks the place of the error and is no part of the text.
var wrong = []struct{ text, says string }{
	{"", "there is no condition"},
	{"pth == 1", "did you mean path"},
	{"path", `has(path)`},
	{"lowr(path) == 'a'", "did you mean lower"},
	{"status == 200 and", "missing at the end"},
	{"path = '/'", "== compares"},
	{"path == '/", "has no end"},
	{"path == /", "stands in quotes"},
	{"client.ip == '10.0.0.1'", "no quotes"},
	{"client.ip == 10.0.0.0/8", "in {10.0.0.0/8}"},
	{"client.ip in {10.0.0.1/8}", "did you mean 10.0.0.0/8"},
	{"client.ip in {10.0/8}", "all four parts"},
	{"client.ip in {10.0.0.300}", "no address"},
	{"client.ip in {'a'}", "no quotes"},
	{"client.ip in 10.0.0.0/8", "in {10.0.0.0/8}"},
	{"client.ip in list.offce", "did you mean office"},
	{"client.ip in list.bots", "has others"},
	{"client.ip in {}", "empty"},
	{"path in {path}", "=="},
	{"path ~ header.x", "written out"},
	{"path ~ '('", "missing closing )"},
	{"path ~ 'x{1000}{1000}'", "invalid"},
	{"path ~ '(abcdefghij){200}'", "instructions"},
	{"path ~ '\\d(a?b?){90}\\d'", "takes too long"},
	{strings.Repeat(`path ~ "\d{900}x" or `, 19) + "true", "more than 16384 instructions"},
	{strings.Repeat(`path ~ "^(a|\d(foo|bar){1,40}\d)" or `, 14) + "true", "take too long"},
	{"path > 'a'", "int(path, 0)"},
	{"status == '200'", "no quotes"},
	{"length > 10x", "k m g are sizes"},
	{"duration > 5", "5s"},
	{"duration > 5k", "a size"},
	{"time.unix + 5m > 0", "a number of seconds is written without a unit, 300; 5120k is a size"},
	{"time.unix > 5m", "stands beside a number"},
	{"len(path) == 1m", "1024k is a size"},
	{"status in {1m}", "60; 1024k is a size"},
	{"1m + 1 == 61", "stands beside a number"},
	{"time.unix + 1h > 0", "without a unit"},
	{"time.unix - 10s > 0", "without a unit"},
	{"duration > 10 + 1s", "has no unit"},
	{"status > 1.5", "no fraction"},
	{"path == '/' == true", "join two comparisons"},
	{"a ? b", "missing after"},
	{"$request_uri == '/'", "called target"},
	{"$http_x_forwarded_for == '/'", "header.x-forwarded-for"},
	{"http.request.uri.path == '/'", "called path"},
	{"http.request.headers['x'][0] == 'a'", "header.NAME"},
	{"{http.request.uri} == '/'", "called target"},
	{"Path(`/`)", "path =="},
	{"hdr(host) == 'a'", "header.NAME"},
	{"path_beg('/a')", "path starts_with"},
	{"req.hdr(host) == 'a'", "header.NAME"},
	{"%[src] == 1", "client.ip"},
	{"req.http.Cookie == 'a'", "header.Cookie"},
	{"starts_with(path, '/')", "x starts_with y"},
	{"path AND host", "write and"},
	{"header == 'a'", "header.NAME"},
	{"header.a.b == 'a'", `header["a.b"]`},
	{"header['a b'] == 'a'", "name of a field"},
	{"time.unix-5 > 0", "spaces around a minus"},
	{"secret.token == 'a' and secret.token contains 'b'", "by == alone"},
	{"hmac(secret.links, path) in {'a'}", "by == alone"},
	{"lower(secret.token) == 'a'", "stands nowhere else"},
	{"'a' == secret.tken", "did you mean token"},
	{"hmac('k', path) == 'a'", "is a secret"},
	{"map.up == 'a'", "map.up[key]"},
	{"map.up[status] == 'a'", "keys of map.up"},
	{"map.xx['a'] == 'a'", "there is no map"},
	{"env.NONE == 'a'", "has no NONE"},
	{"lower(path, path) == 'a'", "1 to 1 arguments"},
	{"lower(status) == 'a'", "text(status)"},
	{"any(path == 'a')", "one value"},
	{"any(has(query.a))", "a comparison"},
	{"path[0] == 'a'", "split(path"},
	{"path.lower == 'a'", "path.lower()"},
	{"percent(path, 101)", "0 to 100"},
	{"cidr(client.ip, 33, 0) == 10.0.0.0/8", "0 to 32"},
	{"re_replace(path, 'a', '$1') == ''", "no group 1"},
	{"date(time.unix, '%Q') == ''", "no %Q"},
	{"ms(status) == ''", "a duration"},
	{"ms(duration) > 5", "is a text"},
	{"'a' ?? 'b' == 'a'", "never missing"},
	{"path + '' ?? 'd' == 'd'", "path + '' is never missing"},
	{"'x' + header.a ?? 'd' == 'd'", "write a + (b ?? c)"},
	{"len(path) ?? 1 == 1", "never missing"},
	{"default(path, 'a') ?? 'd' == 'd'", "never missing"},
	{"int(path, 1) ?? 2 == 2", "never missing"},
	{"(true ? 'a' : path + path) ?? 'd' == 'd'", "never missing"},
	{"header.a ?? ('a' ?? 'b') == 'd'", "'a' is never missing"},
	{"1 + 'a' == 2", "text(x)"},
	{"(path ~ '' ? 0 : '') == ''", "'' is a text, and 0 is a number"},
	{"status + path == '2'", "text(x)"},
	{"path + 'a' - 'b' == ''", "does not take"},
	{"999999999999999999g > 1", "too large"},
	{"path == 'a' # b", "comment"},
	{"path == ´a´", "no meaning outside of quotes"},
	{"fe80::1%eth0 == client.ip", "no zone"},
	{strings.Repeat("(", 100), "levels"},
	{strings.Repeat("not ", 100) + "true", "levels"},
	{"path" + strings.Repeat(" + 'a' - 'b'", 100) + " == ''", "levels"},
	{strings.Repeat("true and ", 5000) + "true", "more than 4096"},
	{strings.Repeat(" ", SourceMax) + "true", "at most 65536"},
	{"true)", "closes nothing"},
	{"has(path", "missing after"},
	{"has(", "has no end"},
	{"path not 'a'", "comparison is missing"},
	{"path in", "in is followed by"},
	{"(path == 'a'", "no end"},
	{"client.ip in {10.0.0.0/8", "no end"},
	{"host == 'Example.com'", `write "example.com"`},
	{"host in {'a' 'B'}", "host is in lower case"},
	{"host not ends_with '.Example.com'", "host is in lower case"},
}

func TestCondition_wrong(t *testing.T) {
	names := scope(t)
	for _, c := range wrong {
		_, err := names.Condition(c.text, Log)
		if err == nil {
			t.Errorf("%.80q is taken", c.text)
		} else if checkError(t, err.(*Error), c.text); !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.80q: %v, want %q in it", c.text, err, c.says)
		}
	}
}

func TestCondition_phases(t *testing.T) {
	names := scope(t)
	for _, c := range []struct {
		text string
		in   Phases
		says string
	}{
		{"status == 200", Request, "status is not known before an answer: use it in log or [answer]"},
		{"answer.header.x == ''", Request, "answer.header.x is not known before an answer"},
		{"path == '/'", Connection, "path is not known before a request"},
		{"duration > 1s", Answer, "duration is known when all is over: use it in log"},
		{"client.ip == ::1", Connection, ""},
		{"status == 200", Answer, ""},
	} {
		_, err := names.Condition(c.text, c.in)
		if got := ""; c.says != "" {
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, c.says) {
				t.Errorf("%s in %v: %q, want %q", c.text, c.in, got, c.says)
			}
		} else if err != nil {
			t.Errorf("%s in %v: %v", c.text, c.in, err)
		}
	}
}

// The printer of the fuzz tests writes each text in its one form.
func TestPrinter(t *testing.T) {
	for text, want := range map[string]string{
		"a eq 1&&(b ne 2||!c)":                  "a == 1 and (b != 2 or not c)",
		"(a and b) and c":                       "(a and b) and c",
		"((a))":                                 "a",
		"a-b-c":                                 "a - b - c",
		"a-(b-c)":                               "a - (b - c)",
		"(a+b)+c+d%2":                           "(a + b) + c + d % 2",
		"x . lower ( ) == 'it\\'s'":             "",
		"x.lower() == 'it\\'s'":                 "x.lower() == 'it\\'s'",
		"x in{1,2  3}":                          "x in {1 2 3}",
		"x not in {::1 10.0.0.0/8}":             "x not in {::1 10.0.0.0/8}",
		"a?b:c?d:e":                             "a ? b : c ? d : e",
		"a?::1:::2":                             "",
		"a ? ::1: ::2":                          "a ? ::1 : ::2",
		"a ? 10.0.0.1:10.0.0.2":                 "a ? 10.0.0.1 : 10.0.0.2",
		"(a ?? b) ?? c":                         "(a ?? b) ?? c",
		"a ?? b ?? c == d":                      "a ?? b ?? c == d",
		"a matches \"\\\\\\\"\" or b ~ `\"`":    "a ~ \"\\\\\\\"\" or b ~ `\"`",
		"f(a,-1)[ -1 ]":                         "f(a, -1)[-1]",
		"(a + b).f(g(c.d-e.h()))":               "(a + b).f(g(c.d-e.h()))",
		"not (a == b) and (not c)":              "not a == b and not c",
		"a starts_with b or a not contains 'x'": "a starts_with b or a not contains 'x'",
	} {
		n, err := parseCondition(text)
		if (err == nil) != (want != "") {
			t.Errorf("%s: %v, want %s", text, err, want)
		} else if err == nil && printed(n) != want {
			t.Errorf("%s: %s, want %s", text, printed(n), want)
		}
	}
}

// Braces of a loose template that begin no value stand for themselves.
func TestScope_looseTemplate(t *testing.T) {
	for text, want := range map[string]string{
		"{method}": "GET", "{{method}}": "{GET}", `{"id": "{method}", "n": {}}`: `{"id": "GET", "n": {}}`,
		"{nothing} {Method} {}": "{nothing} {Method} {}", "}{": "}{", "{": "{", "{ method }": "{ method }",
		`{"a":{"b":1}}`: `{"a":{"b":1}}`, `{lower("A")}`: "a", "{query.q}": "1, two words", `{local.a}{ret}`: "a{ret}",
	} {
		got, err := scope(t).LooseTemplate(text, Request)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if s := string(got.Append(nil, browser())); s != want {
			t.Errorf("%s: %q, want %q", text, s, want)
		}
	}
	for _, text := range []string{"{method", "{method.}", "{status}", "{lower()}", "{local}"} {
		if _, err := scope(t).LooseTemplate(text, Request); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

func TestTemplate_parts(t *testing.T) {
	text := template(t, scope(t), `a{{{lower(path)}/{"x"}{query.q ?? "y"}`, Request)
	parts := []Part{{Plain: "a{"}, {Source: "lower(path)"}, {Plain: "/"}, {Plain: "x"}, {Source: `query.q ?? "y"`}}
	if got := text.Parts(); !slices.Equal(got, parts) {
		t.Errorf("%+v", got)
	}
	var all []byte
	for i := range parts {
		all = text.AppendPart(all, browser(), i)
	}
	if want := string(text.Append(nil, browser())); string(all) != want {
		t.Errorf("%q, want %q", all, want)
	}
}
