package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// trusted runs edge with an internal certificate, and returns its process, the folder of its state and the URL's port.
func trusted(t *testing.T) (e *running, state, port string) {
	t.Helper()
	state = t.TempDir()
	t.Setenv("STATE_DIRECTORY", state)
	e = start(t, "[https]\nlisten = \"127.0.0.1:0\"\ncert = \"internal\"\n%s", everything)
	_, port, _ = strings.Cut(e.addr, ":")
	return e, state, port
}

// trustCommand runs edge trust.
func trustCommand(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	text, err := exec.Command(testutil.Binary(t, "./cmd/edge"), append([]string{"trust"}, args...)...).CombinedOutput()
	return string(text), err
}

// curl trusts the internal authority about each name that it may vouch for, and about an address; about no other.
func TestRun_internalNames(t *testing.T) {
	e, state, port := trusted(t)
	ca := filepath.Join(state, "internal", "ca.pem")
	for host, want := range map[string]string{
		"app.test": "200 0", "a.b.localhost": "200 0", "nas.home.arpa": "200 0", "shop.internal": "200 0",
		"127.0.0.1": "200 0", "example.org": "000 60",
	} {
		out, _ := exec.Command("curl", "-sS", "--max-time", "30", "--noproxy", "*", "--cacert", ca,
			"--connect-to", "::"+e.addr, "-o", os.DevNull, "-w", "\n%{http_code} %{exitcode}",
			"https://"+host+":"+port+"/").CombinedOutput()
		if !strings.HasSuffix(string(out), "\n"+want) {
			t.Errorf("%s: %s, want %s", host, out, want)
		}
	}
}

// A host beyond the names of an authority that is there is an error that says what to do, and what runs goes on. A new
// authority is made when the files of the old one are gone.
func TestRun_internalHostsComeLater(t *testing.T) {
	e, state, _ := trusted(t)
	ca := filepath.Join(state, "internal", "ca.pem")
	get := func(host string) error {
		return exec.Command("curl", "-sS", "--max-time", "30", "--noproxy", "*", "--cacert", ca,
			"--connect-to", "::"+e.addr, "-o", os.DevNull, "https://"+host+"/").Run()
	}
	e.change(t, "[https]\nlisten = \"127.0.0.1:0\"\ncert = \"internal\"\n[[certificates]]\ncert = \"internal\"\n"+
		"hosts = [\"shop.example.org\"]\n%s", everything)
	e.WaitLine(`"msg":"reload failed.*made before .*shop.example.org.*remove the files in ` + filepath.Dir(ca))
	if err := get("app.test"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"ca.pem", "authority.pem"} {
		testutil.Must(t, os.Remove(filepath.Join(filepath.Dir(ca), name)))
	}
	e.Signal(syscall.SIGHUP)
	e.WaitLine(`internal authority made`)
	testutil.Eventually(t, testutil.Patience, func() bool { return get("shop.example.org") == nil })
	if get("x.shop.example.org") != nil || get("example.org") == nil {
		t.Error("the names are others than those of the configuration")
	}
}

// A client with a certificate of edge trust issue is let in.
func TestTrust_issue(t *testing.T) {
	e, state, port := trusted(t)
	ca, pair := filepath.Join(state, "internal", "ca.pem"), filepath.Join(t.TempDir(), "web1.pem")
	if out, err := trustCommand(t, "issue", "web1.internal", "--client", "-o", pair); err != nil || out != "" {
		t.Fatal(err, out)
	}
	if at, err := os.Stat(pair); err != nil || at.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", at, err)
	}
	e.change(t, "[https]\nlisten = \"127.0.0.1:0\"\ncert = \"internal\"\nclient_ca = %q\n%s", ca, everything)
	e.WaitLine(`"msg":"configuration reloaded"`)
	out := curlWith(t, "--cacert", ca, "--cert", pair, "-i", "https://127.0.0.1:"+port+"/")
	if !strings.Contains(strings.ToLower(out), "x-client: cn=web1.internal") {
		t.Error(out)
	}
	for _, c := range []struct{ args, want string }{
		{"issue example.org", `may not vouch for "example.org"`}, {"issue", "requires at least 1 arg"},
		{"issue a.test -o " + pair, "file exists"}, {"--stores java", `there is no store "java"`},
		{"--state /nowhere", "there is no internal authority in /nowhere/internal"},
		{"issue a.test --for 0s", "--for is 0s"}, {"issue a.test --for -1h", "--for is -1h"},
	} {
		if out, err := trustCommand(t, strings.Fields(c.args)...); err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v %s", c.args, err, out)
		}
	}
	out, err := trustCommand(t, "issue", "A.test", "10.1.1.1")
	if err != nil || !strings.Contains(out, "PRIVATE KEY") || strings.Count(out, "BEGIN CERTIFICATE") != 2 {
		t.Error(err, out)
	}
}

// The root gets into the store of a browser, where certutil trusts it, and out of it.
func TestTrust_browsers(t *testing.T) {
	certutil, err := exec.LookPath("certutil")
	if err != nil {
		t.Fatal("make deps installs it: ", err)
	}
	trusted(t)
	home := t.TempDir()
	t.Setenv("HOME", home)
	out, err := trustCommand(t, "--stores", "browsers")
	if err != nil || !strings.Contains(out, "left alone") {
		t.Errorf("without a store: %v %s", err, out)
	}
	store := filepath.Join(home, ".pki", "nssdb")
	list := func() string {
		text, err := exec.Command(certutil, "-L", "-d", "sql:"+store).CombinedOutput()
		if err != nil {
			t.Fatal(err, string(text))
		}
		return string(text)
	}
	testutil.Must(t, os.MkdirAll(store, 0o700))
	if text, err := exec.Command(certutil, "-N", "--empty-password", "-d", "sql:"+store).CombinedOutput(); err != nil {
		t.Fatal(err, string(text))
	}
	for range 2 { // a second time is as good
		if out, err = trustCommand(t, "--stores", "browsers"); err != nil || !strings.Contains(out, "trusted by") {
			t.Errorf("%v %s", err, out)
		}
	}
	if got := list(); !strings.Contains(got, "edge internal authority") || !strings.Contains(got, "C,,") {
		t.Error(got)
	}
	if out, err = trustCommand(t, "--stores", "browsers", "--remove"); err != nil {
		t.Errorf("%v %s", err, out)
	}
	if got := list(); strings.Contains(got, "edge internal authority") {
		t.Error(got)
	}
}

// Where the authority is gone the commands make no other: it would not be for the hosts of the configuration.
func TestTrust_makesNone(t *testing.T) {
	state := t.TempDir()
	dir := filepath.Join(state, "internal")
	testutil.Must(t, os.Mkdir(dir, 0o700))
	t.Setenv("HOME", state)
	for _, args := range []string{"--stores browsers", "--stores browsers --remove", "issue a.test"} {
		out, err := trustCommand(t, append(strings.Fields(args), "--state", state)...)
		if err == nil || !strings.Contains(out, "there is no internal authority in "+dir) {
			t.Errorf("%s: %v %s", args, err, out)
		}
	}
	if got, err := os.ReadDir(dir); err != nil || len(got) != 0 {
		t.Errorf("%v %v", got, err)
	}
}
