package config

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/config/syntax"
)

// documentOf writes the key with a value into a file in which everything else is right.
func documentOf(k *key, value string) string {
	s := k.section
	fields := []string{dottedKey(k.path) + " = " + value}
	need := func(path, text string) {
		if k.path != path {
			fields = append(fields, path+" = "+text)
		}
	}
	before := ""
	switch s.path {
	case "listeners":
		need("listen", `":80"`)
		for _, secured := range slices.Concat(tlsKeys(), pairKeys(), []*key{{path: "tls"}}) {
			if k.path == secured.path {
				need("cert", `"a.pem"`)
				need("client_ca", `"ca.pem"`)
				need("hsts.max_age", `"1d"`)
			}
		}
	case "certificates":
		need("cert", `"a.pem"`)
	case "upstreams":
		need("backends", `[{ address = "h:1" }]`)
		if k.path == "tls.key" {
			need("tls.cert", `"a.pem"`)
		}
	case "upstream_defaults":
		if k.path == "tls.key" {
			need("tls.cert", `"a.pem"`)
		}
	case "upstreams.NAME.backends", "load_balancing.backends":
		need("address", `"h:1"`)
	case "routes":
		before = "[upstreams.api]\nbackends = [{ address = \"h:1\" }]\n"
		if k.path == "listener" {
			before += "[[listeners]]\nname = \"internal\"\nlisten = \":80\"\n"
		}
		if strings.HasPrefix(k.path, "redirect.") {
			need("redirect.to", `"/new"`)
		} else {
			need("dest", `"api"`)
		}
		if k.path != "host" && k.path != "path" {
			need("pattern", `"/"`)
		}
	}
	header := strings.ReplaceAll(s.title(), "NAME", "x") + "\n"
	if s.path == "" {
		header = ""
	}
	return before + header + strings.Join(fields, "\n") + "\n"
}

func dottedKey(path string) string { return syntax.DottedKey(strings.Split(path, ".")...) }

func eachKey(t *testing.T, f func(t *testing.T, k *key)) {
	schema()
	for _, s := range sections() {
		for _, k := range s.keys {
			t.Run(s.title()+" "+k.path, func(t *testing.T) { f(t, k) })
		}
	}
}

func TestSchema_rowsAreWhole(t *testing.T) {
	eachKey(t, func(t *testing.T, k *key) {
		if k.doc == "" || k.into == nil || k.typ.parse == nil {
			t.Errorf("no doc, field or type")
		}
		if k.def == "" && k.example == "" {
			t.Errorf("neither a default nor an example")
		}
		if (k.min == "") != (k.max == "") || k.lo > k.hi {
			t.Errorf("range from %q to %q", k.min, k.max)
		}
		if strings.Contains(k.doc, "|") {
			t.Errorf("a bar in the doc breaks the table of the reference")
		}
	})
}

func TestSchema_defaultsAndExamplesLoad(t *testing.T) {
	eachKey(t, func(t *testing.T, k *key) {
		for _, value := range []string{k.def, k.example} {
			if value == "" {
				continue
			}
			text := documentOf(k, value)
			path := filepath.Join(t.TempDir(), "edge.toml")
			write(t, path, text)
			if c, rep := (Options{TextOnly: true}).Load(path); c == nil {
				t.Errorf("%s\nis refused:\n%s", text, rendered(t, rep))
			}
		}
	})
}

func TestSchema_rangesHold(t *testing.T) {
	eachKey(t, func(t *testing.T, k *key) {
		for _, value := range []string{k.min, k.max} {
			if value == "" {
				continue
			}
			if k.typ.name != typeInt.name {
				value = syntax.Quote(value)
			}
			if c, rep := Parse("f", []byte(documentOf(k, value))); c == nil {
				t.Errorf("%s is refused:\n%s", value, rendered(t, rep))
			}
		}
	})
}

func TestSchema_everyKeyRefusesOtherTypes(t *testing.T) {
	eachKey(t, func(t *testing.T, k *key) {
		text := documentOf(k, "1979-05-27")
		c, rep := Parse("f", []byte(text))
		if c != nil || len(rep.Errors) != 1 {
			t.Errorf("%s\ngives not one error:\n%s", text, rendered(t, rep))
		}
	})
}

// An alias says what its key says, wherever it stands.
func TestSchema_aliasesReachTheirKey(t *testing.T) {
	eachKey(t, func(t *testing.T, k *key) {
		value := k.example
		if value == "" {
			value = k.def
		}
		for _, a := range k.aliases {
			text := a + " = " + value + "\n"
			if name, sameLevel := strings.CutPrefix(a, "."); sameLevel {
				text = strings.Replace(documentOf(k, value), k.path+" =", levelOf(k.path)+name+" =", 1)
			}
			rep := &Report{}
			root, _ := syntax.ParseTOML(syntax.NewSource("f", []byte(text), 0), rep)
			doc := decode(root, rep)
			if !rep.OK() {
				t.Errorf("%s is refused:\n%s", text, rendered(t, rep))
				continue
			}
			targets := []target{&doc.top, &doc.global, &doc.defaults}
			for _, r := range doc.routes {
				targets = append(targets, r)
			}
			for _, l := range doc.listeners {
				targets = append(targets, l)
			}
			for _, c := range doc.certificates {
				targets = append(targets, c)
			}
			if !slices.ContainsFunc(targets, func(e target) bool { return e.base().has(k.path) }) {
				t.Errorf("%s does not reach %s", text, k.path)
			}
		}
	})
}

func TestSchema_laterKeysAreUnknown(t *testing.T) {
	for table, names := range laterKeys {
		at := schema().walk(table)
		for _, name := range names {
			if at.children[name] != nil {
				t.Errorf("%s in [%s] has a meaning and none", name, table)
			}
		}
	}
}

func TestSchema_everyCodeIsKnownToAllow(t *testing.T) {
	for _, c := range codes {
		if _, rep := Parse("f", []byte("allow = ["+syntax.Quote(c.code)+"]\n")); !rep.OK() {
			t.Errorf("allow does not take %s:\n%s", c.code, rendered(t, rep))
		}
	}
}
