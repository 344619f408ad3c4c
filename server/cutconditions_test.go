package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// cutConditions has a path for the log and a condition.
const cutConditions = `
log.output = ["%s"]
http = { name = "web", listen = "127.0.0.1:0" }
filters.closed = { type = "maintenance", on = true, when = '%[2]s' }
rules = [
	{ when = 'host == "rule.test" and %[2]s', deny = 403 },
	{ when = 'host == "allowed.test" and %[2]s', tag = "seen" },
	{ when = 'host == "answer.test" and %[2]s', deny = 403 },
	{ when = 'host == "answer.test"', respond = { status = 200, body = "hidden" } },
	{ when = 'host == "set.test"', set = { encoded = "{url_encode(url_encode(header.x))}" } },
	{ when = 'local.encoded contains "%%253Cscript"', deny = 403 },
]
routes = [
	{ pattern = "route.test/*", when = '%[2]s', dest = "status:403" },
	{ pattern = "filter.test/*", filters = ["closed"], dest = "status:204" },
	{ pattern = "own.test/*", dest = "status:204", rules = [{ when = '%[2]s', deny = 403 }] },
	{ pattern = "log.test/*", access_log = { path = "%[1]s", when = 'not (%[2]s)' }, dest = "status:204" },
	{ pattern = "/*", dest = "status:204" },
]
`

// A condition that has no room for what it computes is not taken for one that does not hold: a client could make it so.
func TestConditions_refuseWhatTheyCannotAskWhole(t *testing.T) {
	testutil.CheckLeaks(t)
	log := filepath.Join(t.TempDir(), "access.log")
	s := start(t, Options{}, cutConditions, log, `url_encode(url_encode(header.x)) contains "%253Cscript"`)
	addr := strings.TrimPrefix(urlOf(t, s, "web"), "http://")
	ask := func(host string, fields ...string) string {
		w := testutil.Dial(t, addr)
		defer w.Close()
		w.Send("GET / HTTP/1.1\r\nHost: " + host + "\r\nX: " + strings.Join(fields, "\r\nX: ") + "\r\n\r\n")
		return strings.Fields(w.ReadHead())[1]
	}
	const evil = "<script"
	room, beyond := strings.Repeat("<", 4000), strings.Repeat("<", 10_000)
	for _, c := range []struct{ host, plain, held, cut string }{
		{"rule.test", "204", "403", "400"},
		{"allowed.test", "204", "204", "400"},
		{"answer.test", "200", "403", "400"},
		{"set.test", "204", "403", "400"},
		{"route.test", "204", "403", "400"},
		{"filter.test", "204", "503", "400"},
		{"own.test", "204", "403", "400"},
		{"log.test", "204", "204", "204"},
	} {
		for _, r := range []struct{ how, want, got string }{
			{"plain", c.plain, ask(c.host, "x")},
			{"what it looks for", c.held, ask(c.host, evil)},
			{"what it looks for, after two values", c.held, ask(c.host, room, room, evil)},
			{"beyond the room", c.cut, ask(c.host, beyond+evil)},
			{"beyond the room, in one of two", c.cut, ask(c.host, beyond, "x")},
		} {
			if c.host == "set.test" && strings.Contains(r.how, "two values") {
				continue // texts of several values are one text
			}
			if r.got != r.want {
				t.Errorf("%s, %s: %s, want %s", c.host, r.how, r.got, r.want)
			}
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		b, err := os.ReadFile(log)
		return err == nil && strings.Count(string(b), `"client:cut"`) == 14
	}, fmt.Sprintf("the log has the reason in %s", log))
}
