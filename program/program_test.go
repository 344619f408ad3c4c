package program

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/process"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
)

// checked returns what Check prints of a program with a text, over a file with the text conf; "": there is no file.
func checked(t *testing.T, text, conf string, o CheckOptions) (out string, err error) {
	t.Helper()
	var opts Options
	if conf != "" {
		opts.Conf = filepath.Join(t.TempDir(), "conf.toml")
		if err := os.WriteFile(opts.Conf, []byte(conf), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := New(opts)
	p.Config(text)
	p.Filter("own", &proxy.Filter{})
	p.Destination("memory", proxy.Answer(200, "", "x"))
	p.Transport("memory")
	if strings.HasPrefix(text, "# users") {
		p.Transport("users")
	}
	var b bytes.Buffer
	o.Out, o.Problems = &b, &b
	err = p.Check(o)
	return b.String(), err
}

// Texts of the program.
const (
	routed   = "http.listen = \":81\"\n[[routes]]\npattern = \"/*\"\n"
	toMemory = routed + "dest = \"memory\"\n"
)

// What is wrong has its place, in the file or in the text of the program, whichever of them has the mistake.
func TestCheck_findings(t *testing.T) {
	for _, c := range []struct {
		name, text, conf, want string
		code                   error
	}{
		{"no file", toMemory + "filters = [\"own\"]\n", "", "configuration OK: 1 listener, 1 route", nil},
		{"both", toMemory, "threads = 1\n", "configuration OK", nil},
		{"the text", "\n\n[htp]\n", "threads = 1\n", `(program):3:2: error: unknown section [htp]`, Code(1)},
		{"the text alone", "a = \n", "", "(program):1:", Code(1)},
		{"the file", toMemory, "thread = 1\n", `conf.toml:1:1: error: unknown key "thread"`, Code(1)},
		{"a transport", "# users\n" + toMemory, "[upstreams.users]\nbackends = [{ address = \"h:1\" }]\n",
			"configuration OK", nil},
		{"a transport to nothing", "# users\n" + toMemory, "threads = 1\n",
			`the program sends requests to "users", which is no upstream and no destination`, Code(1)},
		{"a filter", toMemory + "filters = [\"on\"]\n", "",
			`(program):5:12: error: there is no filter "on"`, Code(1)},
		{"a filter of that name", toMemory, "[filters.own]\ntype = \"cors\"\n",
			`conf.toml:1:1: error: the program has a filter "own" of its own`, Code(1)},
		{"a destination", toMemory, "[destinations.memory]\ntype = \"static\"\nroot = \"/\"\n",
			`conf.toml:1:1: error: the program has a destination "memory" of its own`, Code(1)},
		{"an upstream", toMemory, "[upstreams.memory]\nbackends = [{ address = \"a:1\" }]\n",
			`error: the program has a destination "memory" of its own`, Code(1)},
		{"a name alike", routed + "dest = \"memry\"\n", "", `did you mean "memory" (of the program)?`, Code(1)},
		{"an include", "include = [\"a\"]\n", "",
			"(program):1:1: error: the text of a program cannot include files", Code(1)},
	} {
		out, err := checked(t, c.text, c.conf, CheckOptions{})
		if !errors.Is(err, c.code) || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v, want %q in\n%s", c.name, err, c.want, out)
		}
	}
}

func TestCheck_options(t *testing.T) {
	const warned = toMemory + "[upstreams.unused]\nbackends = [{ address = \"127.0.0.1:1\" }]\n"
	const found = "[[rules]]\nwhen = 'path == \"/x\"'\ndeny = true\ntimeot = 1\n"
	if out, err := checked(t, toMemory, found, CheckOptions{JSON: true}); err != Code(1) ||
		!strings.HasPrefix(out, "{") || !strings.Contains(out, `"line": 4`) {
		t.Errorf("JSON: %v %s", err, out)
	}
	if _, err := checked(t, warned, "allow = []\n", CheckOptions{Strict: true}); err != nil {
		t.Errorf("a filter of the program may choose any upstream, so none is unused: %v", err)
	}
	if out, err := checked(t, "threads = 1\n", "", CheckOptions{Strict: true}); err != Code(2) {
		t.Errorf("strict: %v %s", err, out)
	}
}

// Mistakes of the program itself name both places.
func TestRun_refusesWhatItWasGiven(t *testing.T) {
	for want, give := range map[string]func(p *Program){
		`the filter "a" is given twice, at program_test.go:`: func(p *Program) {
			p.Filter("a", &proxy.Filter{})
			p.Filter("a", &proxy.Filter{})
		},
		`the destination "a" that program_test.go:`: func(p *Program) { p.Destination("a", nil) },
		`the filter "" that program_test.go:`:       func(p *Program) { p.Filter("", &proxy.Filter{}) },
		`the configuration is given twice, at `: func(p *Program) {
			p.Config("threads = 1")
			p.Config("threads = 1")
		},
		`the configuration that program_test.go:`: func(p *Program) { p.Config("") },
		`the service "a" that program_test.go:`:   func(p *Program) { p.Add(Service{Name: "a"}) },
		`the service "a" is given twice`: func(p *Program) {
			p.Listener(Service{Name: "a", Listen: []string{":1"}})
			p.Listener(Service{Name: "a", Listen: []string{":2"}})
		},
		`the background "a" that program_test.go:`: func(p *Program) { p.Background("a", nil) },
	} {
		p := New(Options{})
		give(p)
		if err := p.Run(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	p := New(Options{})
	p.Config("\nthreds = 2\n")
	var wrong *ConfigError
	if err := p.Run(); !errors.As(err, &wrong) || !strings.Contains(err.Error(), `(program):2:1: error: unknown key`) {
		t.Errorf("a configuration: %v", err)
	}
}

// The page has what an operator may say of a service of the program.
func TestAdd_underTheFile(t *testing.T) {
	page, err := os.ReadFile("../docs/framework.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```toml\n[services.lines]")
	text, _, _ = strings.Cut("[services.lines]"+text, "```")
	text = strings.ReplaceAll(text, "/etc/edge/tls/example.pem", "internal")
	accept := func(*engine.Conn) engine.Handler { return nil }
	for _, c := range []struct {
		file, want string
		listen     []string
	}{
		{text, "configuration OK: 0 listeners, 1 service, 0 routes, 0 upstreams, 1 certificate", []string{":1"}},
		{"http.listen = \":1\"\n", `:2:11: error: address ":1" is given twice, first at `, []string{":1"}},
		{"threads = 1\n", `the service "lines" of the program has no address`, nil},
		{"[services.other]\nlisten = \":2\"\n", `the program has none that is called "other"`, []string{":1"}},
		{"[services.lines]\ntype = \"pager\"\n", `unknown type "pager"`, []string{":1"}},
	} {
		conf := filepath.Join(t.TempDir(), "conf.toml")
		if err := os.WriteFile(conf, []byte(c.file), 0o644); err != nil {
			t.Fatal(err)
		}
		p := New(Options{Conf: conf})
		p.Add(Service{Name: "lines", Listen: c.listen, Accept: accept})
		var out bytes.Buffer
		if p.Check(CheckOptions{Out: &out, Problems: &out}); !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: want %q in\n%s", c.file, c.want, out.String())
		}
	}
	p := New(Options{})
	p.Add(Service{Name: "a b", Listen: []string{"nowhere"}, Accept: accept})
	var out bytes.Buffer
	if p.Check(CheckOptions{Out: &out, Problems: &out}); !strings.Contains(out.String(), "(program_test.go:") ||
		!strings.Contains(out.String(), "nowhere") {
		t.Error(out.String())
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args string
		want Options
		err  string
	}{
		{"", Options{}, ""},
		{"-c a.yaml -du", Options{Conf: "a.yaml", Daemon: true, Upgrade: true}, ""},
		{"--conf=a.yaml --daemon --upgrade --test",
			Options{Conf: "a.yaml", Daemon: true, Upgrade: true, Test: true}, ""},
		{"-tc a.yaml -size 3", Options{}, "unknown shorthand flag"},
		{"-tc a.yaml --size 3", Options{Conf: "a.yaml", Test: true}, ""},
		{"a.yaml", Options{}, "a configuration is -c a.yaml"},
		{"-x", Options{}, "unknown shorthand flag: 'x'"},
		{"-h", Options{}, "exit code 0"},
		{"--version", Options{}, "exit code 0"},
	} {
		own := flag.NewFlagSet("own", flag.ContinueOnError)
		size := own.Int("size", 0, "a `number` of the program")
		args := strings.Fields(c.args)
		got, err := parse(args, own)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: %v, want %q", c.args, err, c.err)
			}
			continue
		}
		if err != nil || got.Conf != c.want.Conf || got.Daemon != c.want.Daemon || got.Upgrade != c.want.Upgrade ||
			got.Test != c.want.Test || strings.Join(got.Check, " ") != strings.TrimSpace(c.args+" --test") {
			t.Errorf("%q: %+v, %v", c.args, got, err)
		}
		if strings.Contains(c.args, "size") && *size != 3 {
			t.Errorf("%q: size %d", c.args, *size)
		}
	}
}

func TestConclude(t *testing.T) {
	_, wrong := checked(t, "threds = 1\n", "", CheckOptions{})
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{nil, 0, ""},
		{wrong, 1, ""},
		{Code(5), 5, ""},
		{&process.DaemonError{Code: 7}, 7, ""},
		{errors.New("no \x1b way"), 1, "mine: no \\x1b way\n"},
		{&server.ListenError{Err: errors.New("taken"), Try: []string{"ss", "stop"}}, 1, "      ss\n        stop\n"},
	} {
		var out bytes.Buffer
		if got := Conclude(&out, "mine", c.err); got != c.code || !strings.Contains(out.String(), c.want) ||
			c.want == "" && out.Len() > 0 {
			t.Errorf("%v: %d %q", c.err, got, out.String())
		}
	}
}

// A server of syslog that is not there is an error at its place, by a table and by a URL; TLS is tried too.
func TestCheck_connectSyslog(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // it knows no TLS
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	const table = "log.output = \"a\"\n[log_sinks.a]\ntype = \"syslog\"\nto = \"syslog+%s://%s\"\n"
	gone := testutil.FreeAddr(t)
	for name, c := range map[string]struct{ conf, want string }{
		"table": {fmt.Sprintf(table, "tcp", l.Addr()), ""},
		"url":   {fmt.Sprintf("log.output = \"syslog+tcp://%s\"\n", l.Addr()), ""},
		"table gone": {fmt.Sprintf(table, "tcp", gone),
			"conf.toml:2:1: error: [log_sinks.a] reaches no server: syslog over tcp"},
		"url gone":  {fmt.Sprintf("log.output = \"syslog+tcp://%s\"\n", gone), "reaches no server: syslog over tcp"},
		"error log": {fmt.Sprintf("error_log = \"syslog+tcp://%s\"\n", gone), "reaches no server: syslog over tcp"},
		"no tls":    {fmt.Sprintf(table, "tls", l.Addr()), "[log_sinks.a] reaches no server: syslog over tls"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := checked(t, toMemory, c.conf, CheckOptions{Connect: true})
			if (err == nil) != (c.want == "") || !strings.Contains(out, c.want) {
				t.Errorf("%v %s", err, out)
			}
		})
	}
}

// With Connect a collector gets an empty batch. A collector that is not there is an error at its place.
func TestCheck_connect(t *testing.T) {
	asked := ""
	c := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.URL.Path
	}))
	defer c.Close()
	const section = "[tracing]\nendpoint = \""
	if out, err := checked(t, toMemory, section+c.URL+"\"\n", CheckOptions{}); err != nil || asked != "" {
		t.Fatalf("%v %s, asked %q", err, out, asked)
	}
	out, err := checked(t, toMemory, section+c.URL+"\"\n", CheckOptions{Connect: true})
	if err != nil || asked != "POST /v1/traces" {
		t.Fatalf("%v %s, asked %q", err, out, asked)
	}
	c.Close()
	out, err = checked(t, toMemory, section+c.URL+"\"\n", CheckOptions{Connect: true})
	if err != Code(1) || !strings.Contains(out, "conf.toml:2:1: error: [tracing] reaches no server: ") ||
		!strings.Contains(out, "connection refused") {
		t.Fatalf("%v %s", err, out)
	}
	out, err = checked(t, toMemory, "log.output = \"a\"\n[log_sinks.a]\ntype = \"otlp\"\nendpoint = \""+c.URL+"\"\n",
		CheckOptions{Connect: true})
	if err != Code(1) || !strings.Contains(out, "conf.toml:2:1: error: [log_sinks.a] reaches no server: ") {
		t.Fatalf("%v %s", err, out)
	}
}
