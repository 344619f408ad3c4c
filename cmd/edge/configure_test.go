package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// sender sends configurations to an address of the admin surface.
type sender struct {
	t                *testing.T
	network, address string
	token            string
	tags             map[string]string // by the version in quotation marks
}

// send sends text in place of version match, "" for none. It returns the answer, and the status. With the query "?tag"
// it notes the tag of the version in force.
func (s *sender) send(query, match, text string) (done admin.Reloaded, status int) {
	s.t.Helper()
	if query != "?tag" {
		s.send("?tag", "", "")
		match = cmp.Or(s.tags[match], match)
	}
	method, fields := "PUT", []string{"Content-Type", "application/toml", "Authorization", "Bearer " + s.token}
	if query == "?tag" {
		method = "GET"
	}
	if match != "" {
		fields = append(fields, "If-Match", match)
	}
	c := dialing(s.network, s.address)
	resp, answer := send(s.t, c, method, "http://localhost/v1/config"+query, text, fields...)
	_ = json.Unmarshal([]byte(answer), &done) // an error has another form, and a status of its own
	if resp.StatusCode == 200 || resp.StatusCode == 422 {
		version, tag := fmt.Sprintf("%q", fmt.Sprint(done.Version)), resp.Header.Get("ETag")
		begin := strings.TrimSuffix(version, `"`) + "-"
		if was := cmp.Or(s.tags[version], tag); was != tag || !strings.HasPrefix(tag, begin) {
			s.t.Errorf("the tag %s of version %d, before %s", tag, done.Version, was)
		}
		s.tags[version] = tag
	}
	return done, resp.StatusCode
}

// sentFile is a configuration with a surface at a socket and an address; more stands at its end.
const sentFile = `admin = { listen = ["unix:%s", "%s"], token = "0123456789abcdef0123456789abcdef", writable = true }
http.listen = "%s"
[[routes]]
name = "r"
pattern = "/*"
%s
`

// refused has a client over TCP send what it may not, while version 2 is in force. folder is that of the file.
func refused(t *testing.T, stranger *sender, folder, page string, text func(more string) string) {
	t.Helper()
	for name, c := range map[string][2]string{
		"a page": {fmt.Sprintf("dest = \"status:503\"\nerror_pages = { 503 = %q }", page),
			"7:23: error"},
		"a file": {fmt.Sprintf("dest = \"status:503\"\nheaders.response = { X = \"${file:%s}\" }", page),
			"7:26: error"},
		"a variable": {`dest = "${HOME}:80"`, "6:8: error"},
		"a mistake":  {"dest = \"status:204\"\nhtp = 1", "7:1: error"},
	} {
		done, status := stranger.send("", `"2"`, text(c[0]))
		if status != 422 || done.Applied || len(done.Findings) == 0 ||
			!strings.Contains(done.Findings[0].Error(), folder+"/(body).toml:"+c[1]) {
			t.Errorf("%s: %d %+v", name, status, done)
		}
		if dry, status := stranger.send("?dry_run=1", "", text(c[0])); status != 422 || dry.DryRun {
			t.Errorf("a dry run of %s: %d %+v", name, status, dry)
		}
	}
}

// A configuration that a client sends is served, kept, taken back and told apart from that of the file. A client over
// TCP reaches no file by it.
func TestConfigure_process(t *testing.T) {
	t.Parallel()
	socket, tcp, addr := testutil.SocketPath(t), testutil.FreeAddr(t), testutil.FreeAddr(t)
	text := func(more string) string { return fmt.Sprintf(sentFile, socket, tcp, addr, more) }
	e := start(t, "%s", text(`dest = "status:201"`))
	e.WaitLine(`"section":"admin"`)
	c := client(t)
	answers := func(want int) {
		t.Helper()
		if resp, _ := testutil.Get(t, c, "http://"+addr+"/"); resp.StatusCode != want {
			t.Errorf("status %d, want %d", resp.StatusCode, want)
		}
	}
	owner := sender{t, "unix", socket, "", make(map[string]string)}
	stranger := sender{t, "tcp", tcp, "0123456789abcdef0123456789abcdef", owner.tags}

	next := text(`dest = "status:202"`)
	if done, status := owner.send("?dry_run=1", "", next); status != 200 || done.Applied || !done.DryRun ||
		strings.Join(done.Changed, " ") != "route r" || done.Version != 1 {
		t.Errorf("dry run: %d %+v", status, done)
	}
	answers(201)
	if _, status := owner.send("", "", next); status != 428 {
		t.Errorf("without a version: %d", status)
	}
	done, status := owner.send("", `"1"`, next)
	if status != 200 || !done.Applied || done.Version != 2 || !done.Differs {
		t.Errorf("sent: %d %+v", status, done)
	}
	answers(202)
	e.WaitLine(`the files differ, and the next reload or start applies those`)
	if _, status := stranger.send("", `"1"`, next); status != 412 {
		t.Errorf("a version of before: %d", status)
	}
	e.commands(t, command{"status", 0, "the files say otherwise"}, command{"diff", 3, "~ route r"},
		command{"rollback --list", 0, "2 *"})
	page := filepath.Join(t.TempDir(), "secret.html")
	putFile(t, page, "secret")
	refused(t, &stranger, filepath.Dir(e.file), page, text)
	answers(202)
	if done, status := stranger.send("", `"2"`, text(`dest = "status:203"`)); status != 200 || done.Version != 3 {
		t.Errorf("over TCP: %d %+v", status, done)
	}
	answers(203)
	withPage := text(fmt.Sprintf("dest = \"status:503\"\nerror_pages = { 503 = %q }", page))
	if done, status := owner.send("", `"3"`, withPage); status != 200 {
		t.Errorf("a page over the socket: %d %+v", status, done)
	}
	if _, status := stranger.send("", `*`, withPage); status != 200 {
		t.Errorf("a page that is in force already: %d", status)
	}
	e.commands(t, command{"rollback", 0, "version 5"})
	answers(203)
	e.commands(t, command{"reload", 0, "was applied, version 6"}, command{"status", 0, "!otherwise"})
	answers(201)
	if done, status := owner.send("", `"6"`, text(`dest = "status:201"`)); status != 200 || done.Differs {
		t.Errorf("what the file has: %d %+v", status, done)
	}
	c.CloseIdleConnections() // a drain keeps them for two thirds of its grace
	restarted(t, e, owner, text)
}

// restarted has a client send to the next process what it had begun while the first version of e was in force.
func restarted(t *testing.T, e *running, owner sender, text func(more string) string) {
	t.Helper()
	first := owner.tags[`"1"`]
	e.Stop()
	e = start(t, "%s", text(`dest = "status:201"`))
	e.WaitLine(`"section":"admin"`)
	owner.tags = make(map[string]string)
	if done, status := owner.send("", first, text(`dest = "status:204"`)); status != 412 {
		t.Errorf("the tag %s of another process: %d %+v", first, status, done)
	}
	if done, status := owner.send("", `"1"`, text(`dest = "status:204"`)); status != 200 {
		t.Errorf("the tag of this one: %d %+v", status, done)
	}
}
