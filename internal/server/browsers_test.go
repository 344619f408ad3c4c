package server

import (
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"

	"github.com/edge-proxy/edge/internal/config"
	_ "github.com/edge-proxy/edge/internal/filter/basicauth"
	_ "github.com/edge-proxy/edge/internal/filter/builtin"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

const browsersText = quiet + `
filters.careful = { type = "security_headers", csp = "default-src 'self'" }
filters.same-site = { type = "csrf", trusted_origins = ["https://pay.example"], bypass = 'path == "/hook"' }
filters.share = { type = "cors", origins = ["https://*.example"], max_age = "0s" }
filters.staff = { type = "basic_auth", users.ann = "HASH" }
filters.guests = { type = "basic_auth", file = "FILE", remember = "0s" }
defaults.filters = ["careful", "same-site"]
listeners = [{ name = "web", listen = "127.0.0.1:0" }]
routes = [
	{ pattern = "/*", dest = "status:204" },
	{ pattern = "/api/*", dest = "status:204", filters = ["share", "!same-site"] },
	{ pattern = "/admin/*", dest = "status:204", filters = ["staff"] },
	{ pattern = "/guests/*", dest = "status:204", filters = ["guests"] },
]
`

// Filters of the types that browsers know, from a configuration.
func TestBrowsers(t *testing.T) {
	salt := []byte(rand.Text()) // another one each time, so that no run remembers the password of one before
	b64 := base64.RawStdEncoding
	hash := "$argon2id$v=19$m=8,t=1,p=1$" + b64.EncodeToString(salt) + "$" +
		b64.EncodeToString(argon2.IDKey([]byte("secret"), salt, 1, 8, 1, 32))
	file := filepath.Join(t.TempDir(), "users")
	testutil.Must(t, os.WriteFile(file, []byte("# of guests\nbob:"+hash+"\n"), 0o600))
	text := strings.NewReplacer("HASH", hash, "FILE", file).Replace(browsersText)
	s := serve(t, parse(t, text), Options{})
	for _, c := range []struct {
		ask    string // method, path, fields
		status int
		want   string // a field of the answer
	}{
		{"GET /", 204, "Content-Security-Policy: default-src 'self'"},
		{"GET /", 204, "X-Content-Type-Options: nosniff"},
		{"GET /", 204, "Strict-Transport-Security: "},
		{"POST /|Origin: https://evil.example", 403, "X-Frame-Options: SAMEORIGIN"},
		{"POST /|Origin: https://pay.example", 204, ""},
		{"POST /hook|Origin: https://evil.example", 204, ""},
		{"POST /api/x|Origin: https://evil.example", 204, "Access-Control-Allow-Origin: https://evil.example"},
		{"GET /api/x|Origin: https://evil.test", 204, "Access-Control-Allow-Origin: "},
		{"GET /api/x|Origin: https://evil.test", 204, "Vary: Origin"},
		{"OPTIONS /api/x|Origin: https://a.example|Access-Control-Request-Method: PUT", 204,
			"Access-Control-Max-Age: 0"},
		{"GET /admin/", 401, `Www-Authenticate: Basic realm="restricted", charset="UTF-8"`},
		{"GET /admin/|Authorization: Basic YW5uOnNlY3JldA==", 204, ""},
		{"GET /admin/|Authorization: Basic YW5uOnNlY3JldA==", 204, ""},
		{"GET /admin/|Authorization: Basic Ym9iOnNlY3JldA==", 401, ""},
		{"GET /guests/|Authorization: Basic Ym9iOnNlY3JldA==", 204, ""},
		{"GET /guests/|Authorization: Basic Ym9iOnNlY3JldA==", 204, ""},
		{"GET /guests/|Authorization: Basic %%%", 401, ""},
	} {
		parts := strings.Split(c.ask, "|")
		method, path, _ := strings.Cut(parts[0], " ")
		resp := askFor(t, method, urlOf(t, s, "web")+path, parts[1:]...)
		name, want, _ := strings.Cut(c.want, ": ")
		if got := resp.Header.Get(name); resp.StatusCode != c.status || got != want {
			t.Errorf("%s: %s, %s: %q", c.ask, resp.Status, name, got)
		}
	}
	for labels, want := range map[string]float64{
		"same-site csrf refused": 1, "same-site csrf exempt": 2, "share cors preflight": 1, "share cors foreign": 2,
		"staff basic_auth missing": 1, "staff basic_auth verified": 1, "staff basic_auth remembered": 1,
		"staff basic_auth wrong": 1, "guests basic_auth verified": 2, "guests basic_auth malformed": 1,
		"careful security_headers set": 17,
	} {
		wantCounter(t, s, want, "edge_filter_total", strings.Fields(labels)...)
	}
}

// What is wrong with them is shown where it stands.
func TestBrowsers_mistakes(t *testing.T) {
	for _, c := range []struct{ kind, keys, want string }{
		{"csrf", `trusted_origins = ["https://a.test", "https://b.example/"]`, `3:38: error: "https://b.example/": `},
		{"cors", `origins = ["*"]` + "\ncredentials = true", `3:12: error: "*" with credentials`},
		{"cors", `origins = "https://*example.com"`, `3:11: error: "https://*example.com": `},
		{"basic_auth", `users.ann = "hunter2"`, `3:1: error: user "ann": it is not a hash`},
		{"basic_auth", `realm = "a"`, `1:1: error: neither users nor file`},
		{"security_headers", `frame_options = "ALLOWALL"`, `3:17: error: "ALLOWALL" is none of`},
	} {
		_, rep := config.Parse("t.toml", []byte("[filters.x]\ntype = \""+c.kind+"\"\n"+c.keys))
		var b strings.Builder
		_ = rep.Render(&b)
		wantPart(t, b.String(), "t.toml:"+c.want, "%q", c.keys)
	}
}
