package config

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What the keys of the process name has to be on this machine.
func TestLoad_looksUpTheProcess(t *testing.T) {
	if _, err := user.Lookup("root"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	const unknown = "no-such-account-here"
	for _, c := range []struct{ text, want string }{
		{`working_directory = "` + dir + `/none"`, `edge.toml:1:21: error: cannot use "` + dir +
			`/none": no such file or directory`},
		{`working_directory = "` + dir + `/edge.toml"`, `error: "` + dir + `/edge.toml" is no folder`},
		{"[global]\nuser = \"" + unknown + `"`, `edge.toml:2:8: error: there is no user "` + unknown + `"`},
		{`group = "` + unknown + `"`, `edge.toml:1:9: error: there is no group "` + unknown + `"`},
		{"user = 4123456789", "edge.toml:1:8: error: the user database does not know the number"},
		{"user = \"rooot\"", `did you mean "root"?`},
	} {
		conf, rep := loaded(t, dir, c.text)
		if got := rendered(t, rep); conf != nil || !strings.Contains(got, c.want) {
			t.Errorf("%s\ngives\n%swant %s", c.text, got, c.want)
		}
	}
}

// The groups of a user are all that the database has, the first one unless another is named.
func TestGlobal_identity(t *testing.T) {
	if _, err := user.Lookup("root"); err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		user, group string
		uid, gid    int
	}{
		{"root", "", 0, 0}, {"0", "", 0, 0}, {"root", "4123456789", 0, 4123456789},
		{"4123456789", "4123456788", 4123456789, 4123456788}, {"", "7", -1, 7},
	} {
		id, err := (&Global{User: c.user, Group: c.group}).Identity()
		if err != nil || id.UID != c.uid || id.GID != c.gid || c.user != "" && !slices.Contains(id.Groups, c.gid) {
			t.Errorf("user %q, group %q: %+v %v", c.user, c.group, id, err)
		}
	}
	if id, err := (&Global{}).Identity(); id != nil || err != nil {
		t.Errorf("nobody: %v %v", id, err)
	}
}

// Relative paths of certificates begin at the working directory that the file names, or else beside that file: found
// now, they are found after the process went there.
func TestLoad_filesInTheWorkingDirectory(t *testing.T) {
	dir, _ := pairs(t)
	if err := os.Mkdir(filepath.Join(dir, "conf"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"conf", "."} {
		write(t, filepath.Join(dir, from, "edge.toml"), `working_directory = "`+dir+`"
https = { listen = ":443", cert = "good.pem", key = "good.key" }
`)
		c, rep := Options{}.Load(filepath.Join(dir, from, "edge.toml"))
		if c == nil {
			t.Fatal(rendered(t, rep))
		}
		if got := c.Listeners[0].Certificate.Cert; got != filepath.Join(dir, "good.pem") {
			t.Errorf("the certificate is %s", got)
		}
	}
	t.Chdir(t.TempDir())
	write(t, "edge.toml", `working_directory = "`+dir+`"
ca_file = "beside.pem"
`)
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, "beside.pem", string(ca))
	c, rep := Options{}.Load("edge.toml")
	if c == nil {
		t.Fatal(rendered(t, rep))
	}
	if !filepath.IsAbs(c.Global.CAFile) {
		t.Errorf("the authorities are in %s, which is another place after a change of folder", c.Global.CAFile)
	}
}

func TestOptions_dirOfQuotedFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "level"), "warn\n")
	c, rep := Options{Dir: dir}.Parse("edge.toml", []byte(`log_level = "${file:level}"`))
	if c == nil || c.Global.LogLevel != "warn" {
		t.Errorf("%v %s", c, rendered(t, rep))
	}
}

// A folder that is missing keeps every user from writing a log. What this user may not write, another one may.
func TestLoad_checksLogs(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "")
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0o555); err != nil {
		t.Fatal(err)
	}
	const route = "[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"
	const http = "[http]\nlisten = \":80\"\n"
	for _, c := range []struct{ text, want string }{
		{`error_log = "` + dir + `/none/edge.log"`, `edge.toml:1:13: error: the folder of "` + dir +
			`/none/edge.log" is missing`},
		{"log.output = [\"stdout\", \"" + dir + "/none/a.log\"]", `edge.toml:1:25: error: the folder of`},
		{"log.output = \"" + dir + "/none/a.log\"", `edge.toml:1:14: error: the folder of`},
		{http + "access_log = \"" + dir + "/file/a.log\"", `edge.toml:3:14: error: "` + dir +
			`/file/a.log" is in a file, not in a folder`},
		{route + "access_log = \"" + dir + "\"", `edge.toml:4:14: error: "` + dir + `" is a folder`},
		{"working_directory = \"" + dir + "\"\nerror_log = \"none/edge.log\"", `edge.toml:2:13: error: the folder of`},
		{"error_log = \"$DIR/edge.log\"", `did you mean "${DIR}/edge.log"?`},
		{http + route + "access_log = false", ""},
		{"error_log = \"stderr\"\nlog.output = [\"stdout\"]\n" + http + route, ""},
		{"error_log = \"" + dir + "/edge.log\"\n" + http + route, ""},
		{"error_log = \"/dev/null\"\n" + http + route, ""},
	} {
		if _, rep := loaded(t, dir, c.text); !strings.Contains(rendered(t, rep), c.want) ||
			c.want == "" && rendered(t, rep) != "" {
			t.Errorf("%s\ngives\n%swant %s", c.text, rendered(t, rep), c.want)
		}
	}
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	text := "error_log = \"" + locked + "/edge.log\"\n" + http + route
	_, rep := loaded(t, dir, text)
	if !rep.OK() || !strings.Contains(rendered(t, rep), "edge.toml:1:13: warning: this user may not write") {
		t.Errorf("a folder of others gives\n%s", rendered(t, rep))
	}
	if _, rep := loaded(t, dir, "user = \"root\"\n"+text); rendered(t, rep) != "" {
		t.Errorf("with another user to run edge, a folder of others gives\n%s", rendered(t, rep))
	}
}

// What a start would not find, or could not make, is an error before.
func TestLoad_checksSocketsAndThePIDFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "")
	const route = "[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"
	const http = "http.listen = \":80\"\n"
	for name, c := range map[string]struct{ text, want string }{
		"pid file in no folder": {http + `global.pid_file = "` + dir + `/none/e.pid"`,
			`edge.toml:2:19: error: the folder of "` + dir + `/none/e.pid" is missing`},
		"pid file is a folder":    {http + `global.pid_file = "` + dir + `"`, `error: "` + dir + `" is a folder`},
		"pid file":                {http + `global.pid_file = "` + dir + `/file"`, ""},
		"upgrade_sock is a file":  {http + `global.upgrade_sock = "` + dir + `/file"`, `/file" is no socket`},
		"upgrade_sock, no folder": {http + `global.upgrade_sock = "` + dir + `/none/u"`, `the folder of "`},
		"listener, no folder": {`http.listen = [":80", "unix:` + dir + `/none/s"]`,
			`edge.toml:1:23: error: the folder`},
		"listener is a file": {`http.listen = "unix:` + dir + `/file"`,
			`edge.toml:1:15: error: "` + dir + `/file" is no`},
		"listener": {`http.listen = "unix:` + dir + `/s"`, ""},
		"folder that systemd makes": {http + `global.pid_file = "/run/no-such-edge/e.pid"`,
			`edge.toml:2:19: warning: the folder of "/run/no-such-edge/e.pid" is missing`},
		"below the working directory": {http + "global.working_directory = \"" + dir +
			"\"\nglobal.upgrade_sock = \"none/u\"", `edge.toml:3:23: error: the folder of "` + dir + `/none/u"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, rep := loaded(t, dir, c.text+"\n"+route)
			if got := rendered(t, rep); !strings.Contains(got, c.want) || c.want == "" && got != "" {
				t.Errorf("%s\ngives\n%swant %s", c.text, got, c.want)
			}
		})
	}
}
