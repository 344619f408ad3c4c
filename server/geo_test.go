package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/language"
	"github.com/edge-proxy/edge/internal/testutil"
)

// putDatabase puts a database of lang/geo/mmdb/testdata in the place of a file.
func putDatabase(t *testing.T, name, path string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testutil.Root(t), "lang/geo/mmdb/testdata", name))
	try(t, err)
	rename(t, path, string(text))
}

// Conditions of routes, rules, fields and the log know where a client is, whatever form its address has. A new file
// takes effect by itself, and a broken one does not.
func TestGeo_sockets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	country, asn, lines := filepath.Join(dir, "c.mmdb"), filepath.Join(dir, "a.mmdb"), filepath.Join(dir, "access.log")
	putDatabase(t, "country.mmdb", country)
	putDatabase(t, "asn.mmdb", asn)
	text := fmt.Sprintf(`
global.worker_threads = 2
log.output = "%s"
log.line = "{path} {geo.country}"
geo = { databases = ["%s", "%s"], refresh = "100ms" }
listeners = [{ name = "web", listen = "127.0.0.1:0", trusted_proxies = ["127.0.0.1"] }]
routes = [
	{ pattern = "/*", dest = "status:204" },
	{ when = 'geo.country == "BR"', dest = "status:403" },
]
rules = [
	{ when = 'geo.asn in {64496}', deny = 451 },
	{ when = 'geo.continent == "EU"', headers.response = { X-Place = "{geo.country} {geo.asn} {geo.asn_org}" } },
]
`, lines, country, asn)
	cfg := parseBy(t, config.Options{Tables: language.NewTables()}, text)
	s := serve(t, cfg, Options{})
	from := func(client, path string) (status int, place string) {
		resp := askFor(t, "GET", urlOf(t, s, "web")+path, "X-Forwarded-For: "+client)
		return resp.StatusCode, resp.Header.Get("X-Place")
	}
	for _, c := range []struct {
		client, path string
		status       int
		place        string
	}{
		{"81.2.69.142", "/a", 204, "GB 20712 Andrews & Arnold Ltd"},
		{"::ffff:81.2.69.142", "/b", 204, "GB 20712 Andrews & Arnold Ltd"},
		{"177.8.0.1", "/c", 403, ""},
		{"192.0.2.1", "/d", 451, ""},
		{"2001:218::1", "/e", 204, ""},
		{"10.0.0.1", "/f", 204, ""},
	} {
		if status, place := from(c.client, c.path); status != c.status || place != c.place {
			t.Errorf("%s: %d %q, want %d %q", c.client, status, place, c.status, c.place)
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		got, _ := os.ReadFile(lines)
		return strings.Contains(string(got), "/a GB\n") && strings.Contains(string(got), "/c BR\n") &&
			strings.Contains(string(got), "/f \n")
	}, "the log has the countries")

	rename(t, country, "broken")
	if status, _ := from("177.8.0.1", "/"); status != 403 {
		t.Errorf("with a broken file: %d", status)
	}
	putDatabase(t, "ipinfo.mmdb", country) // Brazil is not in it
	testutil.Eventually(t, testutil.Patience, func() bool {
		status, _ := from("177.8.0.1", "/")
		return status == 204
	}, "the new file takes effect")
}
