package lockdown

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
	_ "github.com/edge-proxy/edge/internal/filter/basicauth"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/server"
)

// tree makes files, and folders of the names that end with a slash.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir := realPath(t.TempDir())
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// needsOf returns what a configuration needs whose text has DIR for dir. The files it names are not opened.
func needsOf(t *testing.T, dir, text string) *Needs {
	t.Helper()
	text = strings.ReplaceAll(text, "DIR", dir)
	main := filepath.Join(dir, "conf", "edge.toml")
	c, report := config.Options{TextOnly: true}.Parse(main, []byte(text))
	if !report.OK() {
		t.Fatal(report.Errors[0].Error())
	}
	return Of(Options{Config: c, Program: filepath.Join(dir, "bin", "edge"), StateDir: filepath.Join(dir, "state"),
		Files: &config.Files{Main: main, Texts: []schema.Text{{Path: main, Real: main}}}})
}

// own returns what of paths is below dir, without it.
func own(dir string, paths []string) (names []string) {
	for _, path := range paths {
		if name, found := strings.CutPrefix(path, dir+"/"); found {
			names = append(names, name)
		}
	}
	return names
}

const everything = `
error_log = "DIR/log/error.log"
pid_file = "DIR/run/edge.pid"
ca_file = "DIR/ca/all.pem"
log.output = ["stdout", "DIR/access/access.log"]
error_pages = { 404 = "DIR/pages/404.html" }
admin = { listen = ["unix:DIR/admin/admin.sock", "127.0.0.1:9000"], token = "0123456789012345678901234567" }
metrics.listen = "127.0.0.1:9145"
certificates = [{ cert = "DIR/certs/a.pem", key = "DIR/keys/a.key" }]
listeners = [
	{ name = "web", listen = ["127.0.0.1:8080", "unix:DIR/web/web.sock"] },
	{ name = "secure", listen = ":8443", tls = true },
]
upstreams.u = { discover = "file://DIR/found/list", tls = { ca = "DIR/uca/ca.pem" } }
register = [{ to = "file://DIR/told/list", listener = "web" }]
filters.staff = { type = "basic_auth", file = "DIR/users/all" }
lists.office.file = "DIR/lists/office.txt"
routes = [{ pattern = "/*", dest = "u", access_log = "DIR/route/a.log" }]
`

func TestNeeds_Rules(t *testing.T) {
	dir := tree(t, "conf/edge.toml", "log/", "run/", "ca/", "access/", "pages/404.html", "admin/", "certs/", "keys/",
		"users/", "web/", "lists/", "found/", "uca/", "told/", "route/", "bin/edge", "bin/edge-1.2", "state/internal/",
		"other/x")
	n := needsOf(t, dir, everything)
	r := n.Rules()
	for _, c := range []struct {
		what      string
		got, want []string
	}{
		{"read", own(dir, r.Read), strings.Fields("bin ca certs conf found keys lists pages told uca users")},
		{"write", own(dir, r.Write), strings.Fields("access admin log route run told web")},
		{"execute", own(dir, r.Execute), []string{"bin"}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}
	if want := []int{8080, 8443, 9000, 9145}; !slices.Equal(r.Ports, want) {
		t.Errorf("ports: %d, want %d", r.Ports, want)
	}
	for _, path := range []string{"/etc/hosts", "/proc"} {
		if exists(path) && !slices.Contains(r.Read, realPath(path)) {
			t.Errorf("%s is not read", path)
		}
	}
	if slices.Contains(r.Read, "/etc") || slices.Contains(r.Read, "/") {
		t.Errorf("a folder that much else is in: %q", r.Read)
	}
	lines := strings.Join(r.Lines(), "\n")
	for _, want := range []string{"bind TCP ports: 8080, 8443, 9000, 9145", "execute: " + dir + "/bin", "write: "} {
		if !strings.Contains(lines, want) {
			t.Errorf("no %q in %s", want, lines)
		}
	}
}

// Programs of other names in its folder keep it from being opened.
func TestRules_program(t *testing.T) {
	dir := tree(t, "bin/edge", "bin/sh", "alone/edge", "alone/README/x")
	if err := os.Symlink(filepath.Join(dir, "alone", "edge"), filepath.Join(dir, "bin", "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"bin/edge": "bin/edge", "alone/edge": "alone/edge"} {
		r := &Rules{}
		r.program(filepath.Join(dir, path))
		if got := own(dir, outermost(r.Execute)); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q", path, got)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "alone", "README")); err != nil {
		t.Fatal(err)
	}
	r := &Rules{}
	r.program(filepath.Join(dir, "alone", "edge"))
	if got := own(dir, outermost(r.Execute)); !slices.Equal(got, []string{"alone"}) {
		t.Errorf("alone: %q", got)
	}
	r = &Rules{Write: []string{dir}}
	r.program(filepath.Join(dir, "alone", "edge"))
	if got := own(dir, outermost(r.Execute)); !slices.Equal(got, []string{"alone/edge"}) {
		t.Errorf("where the process may write: %q", got)
	}
}

func TestLock_Judge(t *testing.T) {
	dir := tree(t, "conf/edge.toml", "log/", "run/", "certs/", "new/", "bin/edge")
	const before = `
error_log = "DIR/log/error.log"
pid_file = "DIR/run/edge.pid"
[[certificates]]
cert = "DIR/certs/a.pem"
[[listeners]]
listen = "127.0.0.1:8443"
tls = true
[[routes]]
pattern = "/*"
dest = "status:204"
`
	all := &Lock{Rules: needsOf(t, dir, before).Rules(), ABI: abiPorts, Calls: true}
	for _, c := range []struct {
		name, from, to string
		lock           *Lock
		upgrade        bool
		want           string // "": nothing is wrong
	}{
		{"the same", "", "", all, true, ""},
		{"a file beside one", "a.pem", "b.pem", all, true, ""},
		{"a certificate", "certs/a.pem", "new/a.pem", all, false,
			"edge.toml:4:1: error: cert: lockdown does not let the process read " + dir + "/new/a.pem"},
		{"a port", "8443", "8444", all, false,
			"edge.toml:7:10: error: listener 127.0.0.1:8444: lockdown does not let the process bind port 8444"},
		{"a log", "log/error.log", "new/error.log", all, false,
			"edge.toml: error: error_log: lockdown does not let the process write " + dir + "/new/error.log"},
		{"a key that waits", "run/edge.pid", "new/edge.pid", all, false, ""},
		{"the same in an upgrade", "run/edge.pid", "new/edge.pid", all, true,
			"pid_file: lockdown does not let the process write"},
		{"a port of an older kernel", "8443", "8444", &Lock{Rules: all.Rules, ABI: 1, Calls: true}, true, ""},
		{"no Landlock", "certs/a.pem", "new/a.pem", &Lock{Rules: all.Rules, Calls: true}, true, ""},
	} {
		report := &config.Report{}
		c.lock.Judge(report, needsOf(t, dir, strings.Replace(before, c.from, c.to, 1)), c.upgrade)
		switch {
		case c.want == "" && !report.OK():
			t.Errorf("%s: %v", c.name, report.Errors)
		case c.want != "" && (len(report.Errors) != 1 || !strings.Contains(report.Errors[0].Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, report.Errors, c.want)
		case c.want != "" && report.Errors[0].Hint != Hint:
			t.Errorf("%s: hint %q", c.name, report.Errors[0].Hint)
		}
	}
	denied := &config.Report{Errors: []config.Problem{{Message: "cannot read \"x\": permission denied"}}}
	if all.Judge(denied, nil, false); !strings.Contains(denied.Errors[0].Hint, Hint) {
		t.Errorf("%+v", denied.Errors)
	}
}

// Of a file its folder is opened, and that of the file to which a link leads, but no folder that much else is in.
func TestNeed_opened(t *testing.T) {
	dir := tree(t, "live/", "archive/cert1.pem", "log/")
	if err := os.Symlink("/dev/full", filepath.Join(dir, "log", "full.log")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../archive/cert1.pem", filepath.Join(dir, "live", "cert.pem")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		need Need
		want []string
	}{
		{Need{Path: dir + "/live/cert.pem"}, []string{dir + "/live", dir + "/archive"}},
		{Need{Path: dir + "/live/later.pem"}, []string{dir + "/live"}},
		{Need{Path: dir + "/log/a.log", Access: Write}, []string{dir + "/log"}},
		{Need{Path: dir + "/log/full.log", Access: Write}, []string{dir + "/log", "/dev/full"}},
		{Need{Path: dir + "/missing/a.log", Access: Write}, nil},
		{Need{Path: "/missing.pem"}, nil},
		{Need{Path: "/missing.log", Access: Write}, nil},
		{Need{Path: "/", Folder: true}, nil},
		{Need{Path: os.DevNull, Access: Write}, []string{os.DevNull}},
		{Need{Path: "/etc/passwd"}, []string{"/etc/passwd"}},
	} {
		if got := c.need.opened(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.need.Path, got, c.want)
		}
	}
	stdout := Need{Path: "/dev/stdout", Access: Write}
	if got := stdout.opened(); slices.Contains(got, "/dev") {
		t.Errorf("%q", got)
	}
}

// A relative path begins at working_directory, or where the process is already.
func TestOf_relative(t *testing.T) {
	dir := tree(t, "place/log/")
	c, report := config.Options{TextOnly: true}.Parse("edge.toml",
		fmt.Appendf(nil, "working_directory = %q\nerror_log = \"log/error.log\"\n", dir+"/place"))
	if !report.OK() {
		t.Fatal(report.Errors[0].Error())
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for inPlace, want := range map[bool]string{false: dir + "/place/log/error.log", true: here + "/log/error.log"} {
		n := Of(Options{Config: c, InPlace: inPlace})
		if !slices.ContainsFunc(n.list, func(need Need) bool { return need.Path == want }) {
			t.Errorf("in place %t: %+v", inPlace, n.list)
		}
	}
}

// "internal" stands for a certificate of edge where a key is for one. Elsewhere it is the name of a file.
func TestOf_fileNamedInternal(t *testing.T) {
	dir := t.TempDir()
	n := needsOf(t, dir, "working_directory = \"DIR\"\nca_file = \"internal\"\n[https]\nlisten = \"127.0.0.1:443\"\n"+
		"cert = \"internal\"\n[admin]\nlisten = \"127.0.0.1:9000\"\ncert = \"internal\"\nclient_ca = \"ca.pem\"\n")
	for _, want := range []Need{
		{Key: "admin.cert", Path: filepath.Join(dir, "internal"), Port: -1},
		{Key: "admin.client_ca", Path: filepath.Join(dir, "ca.pem"), Port: -1},
		{Key: "ca_file", Path: filepath.Join(dir, "internal"), Port: -1},
		{Key: "cert = \"internal\"", Path: filepath.Join(dir, "state", server.AuthorityFolder), Access: Write, Port: -1,
			Folder: true},
	} {
		if !slices.Contains(n.list, want) {
			t.Errorf("%+v is not among them", want)
		}
	}
}

// A module may write the file of its own that its key logs to, and no other one.
func TestOf_filesOfModules(t *testing.T) {
	dir := t.TempDir()
	n := needsOf(t, dir, "working_directory = \"DIR\"\n[log]\noutput = \"kept\"\n[log_sinks.kept]\n"+
		"type = \"test_keep\"\nto = \"own.log\"\nstate = \"own.db\"\nwords = \"words.txt\"\n")
	for name, access := range map[string]Access{"own.log": Write, "own.db": Write, "words.txt": Read} {
		path := filepath.Join(dir, name)
		if !slices.ContainsFunc(n.list, func(n Need) bool { return n.Path == path && n.Access == access }) {
			t.Errorf("no need to %v %s in %+v", access, name, n.list)
		}
	}
}

type keep struct {
	To    string `edge:"to" doc:"File." file:"log"`
	State string `edge:"state" doc:"File." file:"write"`
	Words string `edge:"words" doc:"File." file:"read"`
}

func init() {
	plugin.Register(plugin.LogSinks, "test_keep", "Keeps lines.",
		func(*keep, *plugin.Build) (io.Writer, error) { return io.Discard, nil })
}
