package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config/schema"
)

// sentText reads text as one that a client has sent.
func sentText(t *testing.T, text string, sent *Sent) (*Config, *Report) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "body.toml")
	o := Options{Sent: sent, Record: &Files{}, LookupEnv: func(string) (string, bool) { return "10.0.0.9", true },
		Kept: &Files{Main: name, Texts: []schema.Text{{Path: name, Real: name, Text: []byte(text)}}}}
	return o.Load(name)
}

// A client that may not read the files of the process gets to none of them by a configuration that it sends. It may
// name what the one in force names, at the same key.
func TestLoad_sent(t *testing.T) {
	dir := t.TempDir()
	page, other := filepath.Join(dir, "down.html"), filepath.Join(dir, "secret.html")
	for _, path := range []string{page, other} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const base = "http.listen = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\n"
	known, report := sentText(t, base+"dest = \"unix:/run/app.sock\"\nerror_pages = { 503 = \""+page+"\" }\n"+
		"access_log = \"/var/log/a.log\"\n", nil)
	if !report.OK() || len(known.Namings) != 3 {
		t.Fatalf("%v %v", report.Errors, known)
	}
	owner, stranger := &Sent{}, &Sent{Known: known.Namings}
	for _, c := range []struct{ name, text, want, wantOwner string }{
		{"harmless", base + "dest = \"10.0.0.1:80\"\n", "", ""},
		{"known", base + "dest = \"unix:/run/app.sock\"\nerror_pages = { 5xx = \"" + page + "\" }\n", "", ""},
		{"a page", base + "dest = \"status:503\"\nerror_pages = { 503 = \"" + other + "\" }\n",
			"body.toml:5:23: error: this client may not name", ""},
		{"a page in full", base + "dest = \"status:503\"\n" +
			"error_pages = { 503 = { body = \"x\", type = \"text/plain\" } }\n", "", ""},
		{"a page of a type", base + "dest = \"status:503\"\nerror_pages = { 503 = { file = \"" + other +
			"\", type = \"text/plain\" } }\n", "may not name", ""},
		{"pages of a list", base + "dest = \"status:503\"\nerror_pages = { 503 = [\"" + page + "\", \"" + other +
			"\"] }\n", "may not name \"" + other, ""},
		{"a known file at another key", base + "dest = \"status:503\"\naccess_log = \"" + page + "\"\n",
			"body.toml:5:14: error: this client may not name", ""},
		{"a socket", base + "dest = \"unix:/run/docker.sock\"\n",
			"may not name \"unix:/run/docker.sock\" at \"routes.dest\"", ""},
		{"a certificate", base + "dest = \"status:204\"\n[[certificates]]\ncert = \"" + other + "\"\n", "may not name",
			"certificate"},
		{"a source", base + "dest = \"a\"\n[upstreams.a]\ndiscover = \"k8s://x/y:80\"\n", "may not name", ""},
		{"a variable", base + "dest = \"${HOME}:80\"\n", "quote neither ${NAME} nor ${file:…}", ""},
		{"a default", base + "dest = \"${HOME:-10.0.0.1}:80\"\n", "quote neither", ""},
		{"a file", base + "dest = \"${file:" + page + "}:80\"\n", "quote neither", ""},
		{"a list", base + "dest = \"status:204\"\n[lists.a]\nfile = \"" + other + "\"\n", "may not name",
			"is no address"},
		{"a variable of a condition", base + "dest = \"status:204\"\nwhen = 'env.HOME == \"x\"'\n",
			"body.toml:5:9: error: there is no environment here", ""},
		{"no reference", base + "dest = \"status:204\"\nname = \"$${a\"\n", "", ""},
		{"an include", "include = \"" + other + "\"\n" + base + "dest = \"status:204\"\n",
			"a configuration that is not a file cannot include others", "cannot include others"},
		{"a hidden secret", base + "dest = \"status:204\"\nheaders.response = { X = \"(hidden)\" }\n",
			"stands for a secret that was hidden", "stands for a secret that was hidden"},
		{"a hidden password", base + "dest = \"redirect:https://u:(hidden)@h/\"\n", "was hidden", "was hidden"},
	} {
		for by, of := range map[string]struct {
			sent *Sent
			want string
		}{"a stranger": {stranger, c.want}, "the owner": {owner, c.wantOwner}} {
			_, report := sentText(t, c.text, of.sent)
			text := ""
			for i := range report.Errors {
				text += report.Errors[i].Error() + "\n"
			}
			if (of.want == "") != report.OK() || !strings.Contains(text, of.want) {
				t.Errorf("%s by %s: %q, want %q", c.name, by, text, of.want)
			}
			if of.sent == stranger && len(report.Errors) > 1 {
				t.Errorf("%s: the file was looked at: %s", c.name, text)
			}
		}
	}
}

// harmless are keys whose texts look like those of files, and are none.
var harmless = map[string]bool{
	"client_cert": true, // what a certificate of a client says
	"include":     true, // the loader takes it out, and refuses it in a text that was sent
}

// Each key whose row looks as if it took the path of a file says that it does.
func TestSchema_localKeysAreMarked(t *testing.T) {
	looks := regexp.MustCompile(`"/(?:run|etc|var)/|\.(?:pem|key|crt|log|html|sock|ocsp)"|://`)
	marked := 0
	for _, s := range edge().Sections {
		for _, k := range s.Keys {
			if k.Local {
				marked++
			}
			url := strings.Contains(k.Example, `"http`) || strings.Contains(k.Example, "unix:/")
			if looks.MatchString(k.Example+k.Default) && !k.Local && !url && !harmless[k.Path] {
				t.Errorf("%s %s = %s: Local is missing, or the key is harmless", s.Title(), k.Path, k.Example)
			}
		}
	}
	if marked < 20 {
		t.Errorf("%d keys are marked", marked)
	}
}
