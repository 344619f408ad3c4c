package lang

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

var update = flag.Bool("update", false, "write the tables of docs/DSL.md")

// examples are what each example of a variable or a function is for the browser's request of the tests.
var examples = map[string]string{
	`method in {"GET" "HEAD"}`:                       "true",
	`path starts_with "/api/"`:                       "true",
	`target contains "//"`:                           "false",
	`query.q == "1"`:                                 "true",
	`header.user-agent contains "curl"`:              "false",
	`cookie.beta == "yes"`:                           "true",
	`host ends_with ".example.com"`:                  "true",
	`port == 8443`:                                   "true",
	`scheme == "http"`:                               "true",
	`proto != "HTTP/2"`:                              "true",
	`upgrade == "websocket"`:                         "false",
	`length > 10m`:                                   "false",
	`body starts_with "GIF8"`:                        "true",
	`body.cut`:                                       "true",
	`status >= 500`:                                  "false",
	`answer.header.content-type starts_with "text/"`: "true",
	`answer.length > 1m`:                             "false",
	`path ~ "^/api/v([0-9]+)/" and match.1 == "2"`:   "true",
	`time.unix > 1800000000`:                         "false",
	`time.hour >= 8`:                                 "true",
	`time.weekday in {0 6}`:                          "false",
	`lower(path) ends_with ".png"`:                   "false",
	`header.x-role.upper() == "GUEST"`:               "true",
	`header.accept.split(",").trim() == "text/html"`: "true",
	`{path.cut_prefix("/api")}`:                      "/v2/items/17",
	`{path.cut_suffix("/17")}`:                       "/api/v2/items",
	`{path.replace("/", "_")}`:                       "_api_v2_items_17",
	`/login?back={url_encode(path)}`:                 "/login?back=%2Fapi%2Fv2%2Fitems%2F17",
	`url_decode(target) contains ".."`:               "false",
	`{base64(path)}`:                                 "L2FwaS92Mi9pdGVtcy8xNw==",
	`base64_decode(cookie.session) starts_with "{"`:  "true",
	`{hex(sha256("edge"))}`: "a1cb100f57e971cacf269e7c26e4630a" +
		"25a8e9d4bdd35e32df1a80b66b896254",
	`hex(sha256(header.x-key)) starts_with "e3b0"`:       "false",
	`path.basename() == "robots.txt"`:                    "false",
	`path.ext() in {"png" "jpg"}`:                        "false",
	`json(header.x-claims, "user.role") == "admin"`:      "true",
	`not json.valid(header.x-claims)`:                    "false",
	`len(query) > 2000`:                                  "false",
	`int(path.basename(), 0) >= 3`:                       "true",
	`text(port) + path starts_with "8443/api"`:           "true",
	`path.split("/")[1] == "api"`:                        "true",
	`{query.q.join(" > ")}`:                              "1 > two words",
	`{path.re_replace("^/api/v([0-9]+)/", "/v$1/api/")}`: "/v2/api/items/17",
	`hex(hmac(secret.links, path)) == query.sig`:         "false",
	`hash(cookie.session) % 2 == 0`:                      "false",
	`percent(cookie.session, 50)`:                        "true",
	`random(100) < 100`:                                  "true",
	`cidr(10.1.2.3, 8, 56) == 10.0.0.0/8`:                "true",
	`has(query.empty)`:                                   "true",
	`any(header.x-role != "guest")`:                      "false",
	`all(header.x-role == "guest")`:                      "true",
	`{default(query.empty, "public")}`:                   "public",
	`{ms(1500ms)}`:                                       "1500.000",
	`{date(time.unix, "%Y/%m/%d")}`:                      "2027/01/15",
}

// result evaluates a text, as a template where it has braces that no set has.
func result(t *testing.T, names *Scope, text string) string {
	t.Helper()
	x := browser(`X-Claims: {"user":{"role":"admin"}}`)
	x.State.Now = 1_800_000_000 * second
	x.Body = &Body{Bytes: []byte("GIF89a"), Cut: true}
	if condition, err := names.Condition(text, Log); err == nil {
		return fmt.Sprint(condition.Holds(x))
	}
	template, err := names.Template(text, Log)
	if err != nil {
		t.Errorf("%s: %v", text, err)
		return ""
	}
	made := string(template.Append(nil, x))
	if alone, ok := template.Single(x); ok && string(alone) != made {
		t.Errorf("%s: Single is %q, want %q", text, alone, made)
	}
	return made
}

// Every variable and function has an example, which does what the test says.
func TestScope_examples(t *testing.T) {
	names := scope(t)
	asked := map[string]bool{}
	ask := func(name, doc, example string) {
		asked[example] = true
		if want, ok := examples[example]; !ok || doc == "" || !strings.Contains(example, name) {
			t.Errorf("%s: no example of it, or none that is tested: %q", name, example)
		} else if got := result(t, names, example); got != want {
			t.Errorf("%s: %q, want %q", example, got, want)
		}
	}
	for _, v := range builtin {
		ask(v.Name, v.Doc, v.Example)
	}
	for _, f := range functions {
		ask(f.name, f.doc, f.example)
	}
	for example := range examples {
		if !asked[example] {
			t.Errorf("%s is no example any more", example)
		}
	}
}

// tables returns what stands between the marks of the page.
func tables() map[string]string {
	cell := func(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
	code := func(text string) string { return "`" + cell(text) + "`" }
	var variables, calls strings.Builder
	variables.WriteString("| name | kind | known in | what it is | example |\n|---|---|---|---|---|\n")
	for _, v := range builtin {
		fmt.Fprintf(&variables, "| `%s` | %s | %v | %s | %s |\n", v.Name, strings.TrimPrefix(v.Kind.String(), "a "),
			v.Phases, cell(v.Doc), code(v.Example))
	}
	calls.WriteString("| function | what it is | example |\n|---|---|---|\n")
	for _, f := range functions {
		fmt.Fprintf(&calls, "| %s | %s | %s |\n", code(f.usage), cell(f.doc), code(f.example))
	}
	return map[string]string{"variables": variables.String(), "functions": calls.String()}
}

// The page has the variables and functions that there are.
func TestPage(t *testing.T) {
	file := filepath.Join(testutil.Root(t), "docs", "DSL.md")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for name, want := range tables() {
		mark := "<!-- " + name + " -->\n"
		before, rest, found := strings.Cut(page, mark)
		got, after, ended := strings.Cut(rest, "<!-- end -->\n")
		if !found || !ended {
			t.Fatalf("the page has no %s", mark)
		}
		if got != want && !*update {
			t.Errorf("the table of %s is old: go test ./lang -run Page -update", name)
		}
		page = before + mark + want + "<!-- end -->\n" + after
	}
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, limit := range []string{"SourceMax", "NodesMax", "DepthMax", "InstructionsMax", "ComputedMax", "GroupsMax"} {
		if !strings.Contains(page, "| `"+limit+"` |") {
			t.Errorf("the page has no limit %s", limit)
		}
	}
}

// Each rule of another program that the page translates is a condition or a template.
func TestPage_rules(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testutil.Root(t), "docs", "DSL.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rules, _ := strings.Cut(string(b), "| theirs | here |\n|---|---|\n")
	rules, _, _ = strings.Cut(rules, "\n\n")
	names := scope(t)
	lines := strings.Split(rules, "\n")
	if len(lines) < 25 {
		t.Errorf("%d rules", len(lines))
	}
	for _, line := range lines {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), " | ")
		for _, code := range regexp.MustCompile("`[^`]+`").FindAllString(cells[len(cells)-1], -1) {
			text := strings.ReplaceAll(strings.Trim(code, "`"), "\x00", "|")
			_, err := names.Condition(text, Request)
			if err == nil {
				continue
			}
			if _, wrong := names.Template(text, Request); wrong != nil || !strings.Contains(text, "{") {
				t.Errorf("%s: %v, %v", text, err, wrong)
			}
		}
	}
}
