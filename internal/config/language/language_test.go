package language

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/lang"
)

var address = netip.MustParseAddr

// read reads the language of a text; what is wrong with it ends the test.
func read(t *testing.T, text string, o Options) *Language {
	t.Helper()
	l, rep := tryRead(text, o)
	if !rep.OK() {
		t.Fatal(rep.Errors[0].Error())
	}
	return l
}

func tryRead(text string, o Options) (*Language, *syntax.Report) {
	top := &schema.Section{Shape: schema.One, Doc: "top", New: schema.Make[schema.Given, *schema.Given]}
	sections := append([]*schema.Section{top}, Sections()...)
	doc := schema.New(sections, nil, schema.Reserved{}).Parse("f.toml", []byte(text), schema.Options{})
	return Read(doc, o), doc.Report
}

// holds evaluates a condition with a client's address for the variable "ip" and a text for "word".
func holds(t *testing.T, l *Language, ip, word, text string) bool {
	t.Helper()
	names := lang.Names{
		Variables: []lang.Variable{
			{Name: "ip", Kind: lang.IP, Phases: lang.Always, IP: func(*lang.X) netip.Addr { return address(ip) }},
			{Name: "word", Kind: lang.Text, Phases: lang.Always, Text: func(*lang.X) []byte { return []byte(word) }},
		},
		Lists: l.names.Lists, Maps: l.names.Maps, Secrets: l.names.Secrets, Env: l.names.Env,
	}
	scope, err := lang.NewScope(names)
	if err != nil {
		t.Fatal(err)
	}
	c, err := scope.Condition(text, lang.Request)
	if err != nil {
		t.Fatal(err)
	}
	return c.Holds(&lang.X{})
}

func TestRead_tablesAndSecrets(t *testing.T) {
	l := read(t, `
[lists]
office = ["10.0.0.0/8", "2001:db8::1"]
one-net = "192.0.2.0/24"
words = { type = "texts", values = ["a", "b c"] }
[maps.up]
values = { websocket = "yes", "a b" = "" }
[maps.zone]
type = "addresses"
values = { "10.0.0.0/8" = "inner" }
[secrets]
api = "open sesame"
[secrets.other]
value = "x"
`, Options{LookupEnv: func(string) (string, bool) { return "home", true }})
	for _, test := range []struct {
		text string
		want bool
	}{
		{"ip in list.office", true}, {"ip in list.one-net", false}, {"word in list.words", true},
		{`map.up["websocket"] == "yes"`, true}, {`has(map.up["x"])`, false}, {`map.zone[ip] == "inner"`, true},
		{`word == secret.api`, false}, {`word + "y" == secret.other`, false}, {`env.HOME == "home"`, true},
	} {
		if got := holds(t, l, "10.1.2.3", "b c", test.text); got != test.want {
			t.Errorf("%s is %v", test.text, got)
		}
	}
	if len(l.Lists) != 3 || l.Lists[1].Name != "one-net" || l.Lists[1].Pos.Line != 4 {
		t.Errorf("lists: %+v", l.Lists)
	}
}

func TestTables_handlesOutliveConfigurations(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "list.txt")
	write(t, file, "10.0.0.0/8\n")
	tables := NewTables()
	text := "[lists.net]\nfile = '" + file + "'\n"
	first := read(t, text, Options{Open: true, Tables: tables})
	if holds(t, first, "10.0.0.1", "", "ip in list.net") {
		t.Error("it has entries before Commit")
	}
	first.Commit()
	if !holds(t, first, "10.0.0.1", "", "ip in list.net") {
		t.Error("it has none after it")
	}
	write(t, file, "192.0.2.0/24\n")
	checked := read(t, text, Options{Open: true})
	if !holds(t, checked, "192.0.2.1", "", "ip in list.net") || holds(t, first, "192.0.2.1", "", "ip in list.net") {
		t.Error("a check has changed what is in force, or has not what is checked")
	}
	second := read(t, text, Options{Open: true, Tables: tables})
	if holds(t, first, "192.0.2.1", "", "ip in list.net") {
		t.Error("a reload has changed what is in force before Commit")
	}
	second.Commit()
	if !holds(t, first, "192.0.2.1", "", "ip in list.net") {
		t.Error("conditions of the first configuration do not see what the second one has")
	}
	texts := read(t, text+"type = 'texts'\n", Options{Open: true, Tables: tables})
	texts.Commit()
	if !holds(t, first, "192.0.2.1", "", "ip in list.net") ||
		!holds(t, texts, "::", "192.0.2.0/24", "word in list.net") {
		t.Error("a list of another kind is not another one")
	}
}

func TestRead_refusesABrokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list.txt")
	write(t, file, "10.0.0.0/8\nfd00::/8 # ours\n  nonsense\n")
	_, rep := tryRead("[lists.net]\nfile = '"+file+"'\n", Options{Open: true})
	if rep.OK() || !strings.HasPrefix(rep.Errors[0].Error(), file+":3:3: error: ") {
		t.Errorf("%+v", rep.Errors)
	}
	if _, rep := tryRead("[lists.net]\nfile = '"+file+"'\n", Options{}); !rep.OK() {
		t.Errorf("it was opened without Open: %+v", rep.Errors)
	}
}

func TestLanguage_reportsInsideTheString(t *testing.T) {
	l := read(t, "", Options{})
	for text, want := range map[string]string{
		`k = "a\n {heder.x} b"`:        "f.toml:1:11",
		"k = '''\nx {path}\n {3}'''":   "",
		"k = '''\nx {path}\n {x.y}'''": "f.toml:3:3",
	} {
		rep := &syntax.Report{}
		root, _ := syntax.ParseTree(syntax.NewSource("f.toml", []byte(text), 0), rep)
		made := l.Template(rep, root.Child("k"), lang.Request)
		switch {
		case want == "" && (made == nil || !rep.OK()):
			t.Errorf("%s: %+v", text, rep.Errors)
		case want != "" && (made != nil || rep.OK() || rep.Errors[0].Pos.String() != want):
			t.Errorf("%s: %+v, want an error at %s", text, rep.Errors, want)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
