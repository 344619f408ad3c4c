package config

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestLoad_include(t *testing.T) {
	folders, err := filepath.Glob("testdata/include/*")
	if err != nil || len(folders) == 0 {
		t.Fatal("no test data", err)
	}
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			c, rep := environment.Load(filepath.Join(folder, "edge.toml"))
			golden(t, filepath.Join(folder, "found.txt"), found(t, folder, c, rep))
		})
	}
}

func TestLoad_includesFromTheFolderOfTheFile(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "with [brackets] and *")
	write(t, filepath.Join(odd, "edge.toml"), "include = ['sub/*.toml', '"+filepath.Join(dir, "abs.toml")+"']\n")
	write(t, filepath.Join(odd, "sub", "a.toml"), "include = 'b.toml.part'\n")
	write(t, filepath.Join(odd, "sub", "b.toml.part"), "[http]\nlisten = '127.0.0.1:80'\n")
	write(t, filepath.Join(dir, "abs.toml"), "[[routes]]\npattern = '/*'\ndest = 'status:204'\n")
	c, rep := Options{}.Load(filepath.Join(odd, "edge.toml"))
	if c == nil || !rep.OK() || len(rep.Warnings) > 0 {
		t.Fatal(rendered(t, rep))
	}
	want := Pos{File: filepath.Join(odd, "sub", "b.toml.part"), Line: 1, Column: 1}
	if got := c.Listeners[0].Pos; got != want {
		t.Errorf("the listener is at %v, want %v", got, want)
	}
}

func TestLoad_limitsFiles(t *testing.T) {
	testutil.OnlyPlain(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "edge.toml"), "include = 'd/*'\n")
	for i := range 4096 {
		write(t, filepath.Join(dir, "d", fmt.Sprintf("%04d.toml", i)), "")
	}
	_, rep := Options{}.Load(filepath.Join(dir, "edge.toml"))
	if len(rep.Errors) != 1 || rep.Errors[0].Message != "more than 4096 files" {
		t.Errorf("got %s", rendered(t, rep))
	}
}

func TestLoad_limitsBytesOfAllFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "edge.toml"), "include = ['1.toml', '2.toml']\n")
	for _, name := range []string{"1.toml", "2.toml"} {
		write(t, filepath.Join(dir, name), "#"+strings.Repeat(" ", 8<<20))
	}
	_, rep := Options{}.Load(filepath.Join(dir, "edge.toml"))
	if len(rep.Errors) != 1 || !strings.HasSuffix(rep.Errors[0].Message, "larger than 16 MiB") {
		t.Errorf("got %s", rendered(t, rep))
	}
}

func TestParse_refusesInclude(t *testing.T) {
	_, rep := Parse("f.yaml", []byte("include: other.yaml\n"))
	if len(rep.Errors) != 1 || rep.Errors[0].Pos != (Pos{File: "f.yaml", Line: 1, Column: 1}) {
		t.Errorf("got %s", rendered(t, rep))
	}
}

func TestLoad_expandsFiles(t *testing.T) {
	const expansionBytesMax = 64 << 10
	dir := t.TempDir()
	secret := func(name string) string { return "${file:" + filepath.Join(dir, name) + "}" }
	write(t, filepath.Join(dir, "line"), "/from-file\r\n")
	write(t, filepath.Join(dir, "large"), strings.Repeat("x", expansionBytesMax+1))
	write(t, filepath.Join(dir, "largest"), "/"+strings.Repeat("x", expansionBytesMax-2)+"\n")
	for _, test := range []struct{ pattern, want, message string }{
		{secret("line"), "/from-file", ""},
		{secret("line") + "/and" + secret("line"), "/from-file/and/from-file", ""},
		{secret("largest"), "/" + strings.Repeat("x", expansionBytesMax-2), ""},
		{secret("large"), "", "larger than 64 KiB"},
		{"${file:" + dir + "}", "", "not a regular file"},
		{secret("none"), "", "no such file or directory"},
	} {
		c, rep := Parse("f.toml", []byte("[[routes]]\ndest = 'status:200'\npattern = '"+test.pattern+"'\n"))
		switch {
		case test.message == "" && c == nil:
			t.Errorf("%s is refused:\n%s", test.pattern, rendered(t, rep))
		case test.message == "" && c.Routes[0].Path != test.want:
			t.Errorf("%s is %.80q", test.pattern, c.Routes[0].Path)
		case test.message != "" && (len(rep.Errors) != 1 || !strings.HasSuffix(rep.Errors[0].Message, test.message)):
			t.Errorf("%s: got %s, want an error ending in %q", test.pattern, rendered(t, rep), test.message)
		}
	}
}

// No message may show what a variable stands for, whichever key it is given to, whole or in a part.
func TestParse_hidesSecrets(t *testing.T) {
	testutil.OnlyPlain(t)
	const secret = "Zq7-Hidden.Word9"
	eachKey(t, func(t *testing.T, s *schema.Section, k *schema.Key) {
		for _, form := range []string{`"${S}"`, `"a${S}:b"`, `["${S}", "${S}", 5]`,
			`{ X = "${S}", "x" = "${S}" }`, `":${S}"`, `"http://${S}"`, `"unix:${S}"`, `"status:${S}"`,
			`"~${S}("`, `"${S} "`, `"${S}/*/${S}"`, `"${S}://x"`} {
			o := Options{LookupEnv: func(string) (string, bool) { return secret, true }}
			text := fileWith(s, k, form) + "\n" + fileWith(s, k, form)
			_, rep := o.Parse("f.toml", []byte(text))
			for _, shown := range []string{rendered(t, rep), string(rep.JSON())} {
				if strings.Contains(strings.ToLower(shown), "hidden") {
					t.Errorf("%s\nshows the secret:\n%s", text, shown)
				}
			}
		}
	})
}

func TestOptions_set(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edge.yaml")
	write(t, path, "threads: 2\nlog_level: info\nnetwork:\n  listen: 127.0.0.1:80\n"+
		"upstreams:\n  api:\n    backends: [{address: 10.0.0.1:80}]\nroutes:\n  - {pattern: /*, dest: api}\n")
	o := Options{Set: []string{
		"global.worker_threads=3", "worker_threads = 4", "network.listen=:8081", "http.listen=[':8082', '[::1]:1']",
		"log_level=warn", "upstreams.api.timeouts.connect=2", "log.output=[]", "pid_file=/run/a \"b\" \\c=d",
	}}
	c, rep := o.Load(path)
	if c == nil {
		t.Fatal(rendered(t, rep))
	}
	got := fmt.Sprintln(c.Global.WorkerThreads, c.Global.LogLevel, c.Global.PIDFile, c.Listeners[0].Name,
		len(c.Listeners[1].Addresses), c.Upstreams[0].Timeouts.Connect, len(c.Log.Output), len(c.Upstreams[0].Backends))
	if want := "4 warn /run/a \"b\" \\c=d :8081 2 2s 0 1\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestOptions_setErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edge.toml")
	write(t, path, "[http]\nlisten = ':80'\n[[routes]]\npattern = '/*'\ndest = 'status:204'\n")
	for set, want := range map[string]string{
		"threads":              "--set:1:1: error: write --set key=value",
		"=4":                   "--set:1:1: error: write --set key=value",
		"threds=4":             `--set:1:1: error: unknown key "threds" at the top level`,
		"threads=many":         `--set:1:9: error: "threads" must be a whole number or "auto", this is a string`,
		"http=4":               `--set:1:6: error: "http" must be a table, this is a whole number`,
		"routes.name=x":        "--set:1:1: error: --set cannot reach into the list [[routes]]",
		"include=x":            "--set:1:1: error: --set cannot include files",
		"a b=4":                `--set:1:1: error: "a b=4" is not a key with a value`,
		"threads=4\n[http]":    `--set:1:1: error: "threads=4\n[http]" is not a key with a value`,
		"log_level=${NOT_SET}": `--set:1:11: error: the environment variable "NOT_SET" is not set`,
	} {
		o := Options{Set: []string{set}, LookupEnv: func(string) (string, bool) { return "", false }}
		_, rep := o.Load(path)
		if line, _, _ := strings.Cut(rendered(t, rep), "\n"); line != want {
			t.Errorf("%q: got %s, want %s", set, line, want)
		}
	}
}

// A configuration is the same in each format.
func TestParse_formatsAgree(t *testing.T) {
	var all []string
	for name, text := range map[string]string{
		"f.toml": "threads = 2\n[http]\nlisten = [':80']\n[[routes]]\npattern = '/*'\ndest = 'a'\n[upstreams.a]\n" +
			"backends = [{ address = 'h:1', weight = 2 }]\ntimeouts.connect = 1.5\n",
		"f.yml": "threads: 2\nhttp:\n  listen: [':80']\nroutes:\n- pattern: /*\n  dest: a\nupstreams:\n  a:\n" +
			"    backends:\n    - address: h:1\n      weight: 2\n    timeouts: {connect: 1.5}\n",
		"f.JSON": `{"threads":2,"http":{"listen":[":80"]},"routes":[{"pattern":"/*","dest":"a"}],` +
			`"upstreams":{"a":{"backends":[{"address":"h:1","weight":2}],"timeouts":{"connect":1.5}}}}`,
		"toml.conf": "threads = 2\nhttp.listen = [':80']\nroutes = [{ pattern = '/*', dest = 'a' }]\n" +
			"[upstreams.a]\nbackends = [{ address = 'h:1', weight = 2 }]\ntimeouts = { connect = 1.5 }\n",
		"yaml.conf": "---\nthreads: 2\nhttp: {listen: ':80'}\nroutes: [{pattern: /*, dest: a}]\n" +
			"upstreams: {a: {backends: [{address: 'h:1', weight: 2}], timeouts: {connect: 1.5}}}\n",
	} {
		c, rep := Parse(name, []byte(text))
		if c == nil {
			t.Fatalf("%s is refused:\n%s", name, rendered(t, rep))
		}
		withoutPlaces(c)
		got, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(got))
		if all[0] != string(got) {
			t.Errorf("%s is %s, another format gives %s", name, got, all[0])
		}
	}
}

// withoutPlaces clears where everything stands.
func withoutPlaces(c *Config) {
	for i := range c.Listeners {
		l := &c.Listeners[i]
		l.Pos = Pos{}
		for j := range l.Addresses {
			l.Addresses[j].Pos = Pos{}
		}
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		u.Pos = Pos{}
		for j := range u.Backends {
			u.Backends[j].Pos = Pos{}
		}
	}
	for i := range c.Routes {
		c.Routes[i].Pos = Pos{}
	}
}

// Opening a pipe without a writer waits for ever.
func TestLoad_includesRegularFilesAlone(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "edge.toml"), "include = 'd/*'\n")
	write(t, filepath.Join(dir, "d", "a.toml"), "")
	if err := syscall.Mkfifo(filepath.Join(dir, "d", "b.toml"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, rep := Options{}.Load(filepath.Join(dir, "edge.toml"))
	want := "edge.toml:1:11: error: cannot read \"" + filepath.Join(dir, "d", "b.toml") + "\": not a regular file"
	if got := rendered(t, rep); c != nil || !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}
