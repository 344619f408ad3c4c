package language

import (
	"bytes"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
)

// visit is what the conditions are asked about: a request, and a client.
type visit struct {
	head   *message.Head
	path   []byte
	client netip.Addr
}

// browser returns a request as browsers send it.
func browser() *visit {
	h := new(message.Head)
	h.SetMethod("GET")
	h.SetTarget("/api/v2/items/17?q=1&lang=en")
	h.SetAuthority("shop.example.com:8443")
	for _, line := range strings.Split(fields, "\n") {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return &visit{head: h, path: []byte("/api/v2/items/17"), client: netip.MustParseAddr("10.1.2.3")}
}

const fields = `sec-ch-ua: "Chromium";v="126", "Not)A;Brand";v="8"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
Upgrade-Insecure-Requests: 1
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: navigate
Referer: https://shop.example.com/
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9
Cookie: _ga=GA1.2.3; session=eyJhbGciOi; beta=yes`

// row is one condition, or one template, in each language. Where one has no way to say it the text is empty.
type row struct {
	name, lang, cel, expr string
	template              bool
	hand                  func(v *visit, dst []byte) []byte
}

var (
	words = regexp.MustCompile(`(?i)(bot|crawl|spider)`)
	ten   = netip.MustParsePrefix("10.0.0.0/8")
)

// verdict is what a condition written by hand returns.
func verdict(dst []byte, holds bool) []byte {
	if holds {
		return append(dst, "true"...)
	}
	return append(dst, "false"...)
}

var rows = []row{
	{name: "path", lang: `path starts_with "/api/" and method == "GET"`,
		cel:  `path.startsWith("/api/") && method == "GET"`,
		expr: `path startsWith "/api/" and method == "GET"`,
		hand: func(v *visit, dst []byte) []byte {
			return verdict(dst, bytes.HasPrefix(v.path, []byte("/api/")) && v.head.Verb == message.VerbGet)
		}},
	{name: "words", lang: `header.user-agent ~ "(?i)(bot|crawl|spider)"`,
		cel:  `user_agent.matches("(?i)(bot|crawl|spider)")`,
		expr: `user_agent matches "(?i)(bot|crawl|spider)"`,
		hand: func(v *visit, dst []byte) []byte {
			return verdict(dst, words.Match(v.head.Peek(message.UserAgent)))
		}},
	{name: "cookie", lang: `cookie.beta == "yes"`, cel: `cookie_beta == "yes"`, expr: `cookie_beta == "yes"`,
		hand: func(v *visit, dst []byte) []byte {
			return verdict(dst, string(v.head.PeekCookie("beta")) == "yes")
		}},
	{name: "address", lang: `client.ip in {10.0.0.0/8 192.168.0.0/16}`,
		hand: func(v *visit, dst []byte) []byte {
			return verdict(dst, ten.Contains(v.client) || netip.PrefixFrom(local, 16).Contains(v.client))
		}},
	{name: "split", lang: `split(path, "/")[2] == "v2"`, expr: `split(path, "/")[2] == "v2"`,
		hand: func(v *visit, dst []byte) []byte {
			_, rest, _ := bytes.Cut(v.path, []byte("/"))
			_, rest, _ = bytes.Cut(rest, []byte("/"))
			second, _, _ := bytes.Cut(rest, []byte("/"))
			return verdict(dst, string(second) == "v2")
		}},
	{name: "template", template: true, lang: `https://{host}{path}?from={client.ip}&by={method}`,
		cel:  `"https://" + host + path + "?from=" + client + "&by=" + method`,
		expr: `"https://" + host + path + "?from=" + client + "&by=" + method`,
		hand: func(v *visit, dst []byte) []byte {
			var room [256]byte
			dst = append(append(dst, "https://"...), v.head.LowerHost(&room)...)
			dst = append(append(dst, v.path...), "?from="...)
			return append(append(v.client.AppendTo(dst), "&by="...), v.head.MethodBytes()...)
		}},
	{name: "five", lang: `path starts_with "/api/" and method in {"GET" "HEAD"} and host == "shop.example.com" and ` +
		`header.accept contains "html" and header.user-agent not contains "curl"`,
		cel: `path.startsWith("/api/") && method in ["GET", "HEAD"] && host == "shop.example.com" && ` +
			`accept.contains("html") && !user_agent.contains("curl")`,
		expr: `path startsWith "/api/" and method in ["GET", "HEAD"] and host == "shop.example.com" and ` +
			`accept contains "html" and not (user_agent contains "curl")`,
		hand: func(v *visit, dst []byte) []byte {
			var room [256]byte
			return verdict(dst, bytes.HasPrefix(v.path, []byte("/api/")) &&
				(v.head.Verb == message.VerbGet || v.head.Verb == message.VerbHead) &&
				string(v.head.LowerHost(&room)) == "shop.example.com" &&
				bytes.Contains(v.head.Peek(message.Accept), []byte("html")) &&
				!bytes.Contains(v.head.Peek(message.UserAgent), []byte("curl")))
		}},
}

var local = netip.MustParseAddr("192.168.0.0")

// ResolveName looks a variable up for CEL, which wants strings.
func (v *visit) ResolveName(name string) (any, bool) {
	switch name {
	case "path":
		return string(v.path), true
	case "method":
		return string(v.head.MethodBytes()), true
	case "host":
		var room [256]byte
		return string(v.head.LowerHost(&room)), true
	case "user_agent":
		return string(v.head.Peek(message.UserAgent)), true
	case "accept":
		return string(v.head.Peek(message.Accept)), true
	case "cookie_beta":
		return string(v.head.PeekCookie("beta")), true
	case "client":
		return v.client.String(), true
	}
	return nil, false
}

// Parent is what CEL asks for names that are not found.
func (v *visit) Parent() cel.Activation { return nil }

var names = []string{"path", "method", "host", "user_agent", "accept", "cookie_beta", "client"}

// evaluator appends what a compiled text is for a request.
type evaluator func(v *visit, dst []byte) []byte

func newScope(t testing.TB) *lang.Scope {
	t.Helper()
	s, err := lang.NewScope(lang.Names{Variables: []lang.Variable{{
		Name: "client.ip", Kind: lang.IP, Phases: lang.Always, Doc: "The address of the client.",
		IP: func(x *lang.X) netip.Addr { return x.Subject.(*visit).client },
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (r *row) ours(t testing.TB) evaluator {
	t.Helper()
	x := &lang.X{State: lang.NewState()}
	ask := func(v *visit) *lang.X {
		x.Request, x.Path, x.Subject = v.head, v.path, v
		return x
	}
	if r.template {
		compiled, err := newScope(t).Template(r.lang, lang.Request)
		if err != nil {
			t.Fatal(err)
		}
		return func(v *visit, dst []byte) []byte { return compiled.Append(dst, ask(v)) }
	}
	compiled, err := newScope(t).Condition(r.lang, lang.Request)
	if err != nil {
		t.Fatal(err)
	}
	return func(v *visit, dst []byte) []byte { return verdict(dst, compiled.Holds(ask(v))) }
}

func newCEL(t testing.TB) *cel.Env {
	t.Helper()
	var options []cel.EnvOption
	for _, name := range names {
		options = append(options, cel.Variable(name, cel.StringType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func compileCEL(t testing.TB, env *cel.Env, text string) cel.Program {
	t.Helper()
	tree, issues := env.Compile(text)
	if issues.Err() != nil {
		t.Fatal(issues.Err())
	}
	program, err := env.Program(tree, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func (r *row) byCEL(t testing.TB) evaluator {
	t.Helper()
	program := compileCEL(t, newCEL(t), r.cel)
	return func(v *visit, dst []byte) []byte {
		out, _, err := program.Eval(v)
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := out.Value().(string); ok {
			return append(dst, text...)
		}
		return verdict(dst, out.Value() == true)
	}
}

func compileExpr(t testing.TB, text string) *vm.Program {
	t.Helper()
	env := map[string]any{}
	for _, name := range names {
		env[name] = ""
	}
	program, err := expr.Compile(text, expr.Env(env))
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func (r *row) byExpr(t testing.TB) evaluator {
	t.Helper()
	program := compileExpr(t, r.expr)
	var named []string // by this condition: expr wants a map of them
	for _, name := range names {
		if regexp.MustCompile(`\b` + name + `\b`).MatchString(r.expr) {
			named = append(named, name)
		}
	}
	return func(v *visit, dst []byte) []byte {
		env := make(map[string]any, len(named))
		for _, name := range named {
			env[name], _ = v.ResolveName(name)
		}
		out, err := expr.Run(program, env)
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := out.(string); ok {
			return append(dst, text...)
		}
		return verdict(dst, out == true)
	}
}

// evaluators returns what evaluates a row, by name.
func (r *row) evaluators(t testing.TB) (all []string, list map[string]evaluator) {
	all, list = []string{"hand", "lang"}, map[string]evaluator{"hand": r.hand, "lang": r.ours(t)}
	if r.cel != "" {
		all, list["cel"] = append(all, "cel"), r.byCEL(t)
	}
	if r.expr != "" {
		all, list["expr"] = append(all, "expr"), r.byExpr(t)
	}
	return all, list
}

// All languages answer the same.
func TestRows(t *testing.T) {
	for _, r := range rows {
		all, list := r.evaluators(t)
		want := string(r.hand(browser(), nil))
		for _, name := range all {
			if got := string(list[name](browser(), nil)); got != want {
				t.Errorf("%s by %s: %q, want %q", r.name, name, got, want)
			}
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	v := browser()
	for _, r := range rows {
		all, list := r.evaluators(b)
		for _, name := range all {
			b.Run(r.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				var dst []byte
				for b.Loop() {
					dst = list[name](v, dst[:0])
				}
			})
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	r := rows[len(rows)-1]
	scope, env := newScope(b), newCEL(b)
	for _, c := range []struct {
		name string
		load func()
	}{
		{"lang", func() {
			if _, err := scope.Condition(r.lang, lang.Request); err != nil {
				b.Fatal(err)
			}
		}},
		{"cel", func() { compileCEL(b, env, r.cel) }},
		{"expr", func() { compileExpr(b, r.expr) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.load()
			}
		})
	}
}
