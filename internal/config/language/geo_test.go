package language

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/lang"
)

// copied replaces the file at a path by a database of internal/match/geo/mmdb/testdata.
func copied(t *testing.T, name, to string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "match", "geo", "mmdb", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(to+".new", text, 0o600), os.Rename(to+".new", to)); err != nil {
		t.Fatal(err)
	}
	return to
}

// client is a Subject that has an address alone.
type client struct {
	variables.Subject
	ip netip.Addr
}

func (c client) ClientIP() netip.Addr { return c.ip }

// located returns what a template is for a client.
func located(t *testing.T, l *Language, ip, text string) string {
	t.Helper()
	compiled, err := l.Scope().Template(text, lang.Request)
	if err != nil {
		t.Fatal(err)
	}
	x := lang.X{Subject: client{ip: netip.MustParseAddr(ip)}, State: lang.NewState()}
	return string(compiled.Append(nil, &x))
}

const allOfGeo = "{geo.country}|{geo.continent}|{geo.region}|{geo.city}|{geo.asn}|{geo.asn_org}|{has(geo.country)}"

func TestGeo(t *testing.T) {
	dir := t.TempDir()
	city := copied(t, "city.mmdb", filepath.Join(dir, "city.mmdb"))
	country := copied(t, "country.mmdb", filepath.Join(dir, "country.mmdb"))
	asn := copied(t, "asn.mmdb", filepath.Join(dir, "asn.mmdb"))
	l := read(t, "[geo]\ndatabases = ['"+city+"', '"+country+"', '"+asn+"']\n", Options{Open: true})
	for ip, want := range map[string]string{
		"81.2.69.142":        "GB|EU|ENG|London|20712|Andrews & Arnold Ltd|true",
		"::ffff:81.2.69.142": "GB|EU|ENG|London|20712|Andrews & Arnold Ltd|true",
		"2001:218::5":        "JP|AS|||2914|NTT America, Inc.|true",
		"192.0.2.200":        "CA|NA|||64496|Example Hosting|true",
		"10.0.0.1":           "||||||false",
	} {
		if got := located(t, l, ip, allOfGeo); got != want {
			t.Errorf("%s is at %s, want %s", ip, got, want)
		}
	}
	when, err := l.hello.Condition(`geo.country == "GB" and geo.asn == 20712`, lang.Handshake)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"81.2.69.142:1", "192.0.2.1:1"} {
		x := lang.X{Subject: &variables.Hello{From: netip.MustParseAddrPort(from)}}
		if got := when.Holds(&x); got != (from == "81.2.69.142:1") {
			t.Errorf("in a handshake from %s it is %v", from, got)
		}
	}
	if len(l.Files()) != 3 || len(l.Geo.Databases) != 3 || l.Geo.Refresh == 0 {
		t.Errorf("%v, %+v", l.Files(), l.Geo)
	}
}

func TestGeo_refuses(t *testing.T) {
	dir := t.TempDir()
	country := copied(t, "country.mmdb", filepath.Join(dir, "country.mmdb"))
	list := filepath.Join(dir, "list.txt")
	write(t, list, "10.0.0.0/8 DE\n")
	for text, want := range map[string]string{
		"[geo]\ndatabases = ['" + country + "',\n '" + list + "']\n":     ":3:2: error: cannot use ",
		"[geo]\ndatabases = ['" + country + "', '" + country + "']\n":    "is named twice",
		"[geo]\ndatabases = '" + filepath.Join(dir, "none.mmdb") + "'\n": "no such file",
	} {
		if _, rep := tryRead(text, Options{Open: true}); rep.OK() || !strings.Contains(rep.Errors[0].Error(), want) {
			t.Errorf("%s: %+v, want %q", text, rep.Errors, want)
		}
	}
	for text, want := range map[string]string{
		"": `there is no database for geo.asn; [geo] with databases = ["GeoLite2-ASN.mmdb"]`,
		"[geo]\ndatabases = '" + country + "'\n": "no database has numbers of autonomous systems; " +
			"add GeoLite2-ASN.mmdb to databases of [geo]",
	} {
		l := read(t, text, Options{Open: true})
		_, err := l.Scope().Condition("geo.asn == 1", lang.Request)
		var wrong *lang.Error
		if !errors.As(err, &wrong) || wrong.Message+"; "+wrong.Hint != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
	l := read(t, "[geo]\ndatabases = '"+country+"'\n", Options{})
	if _, err := l.Scope().Condition("geo.asn == 1", lang.Request); err != nil {
		t.Errorf("a database that was not opened has no fields: %v", err)
	}
}

// A new file takes effect by itself; a wrong one, or one that lacks what was there, does not.
func TestGeo_follows(t *testing.T) {
	path := copied(t, "country.mmdb", filepath.Join(t.TempDir(), "x.mmdb"))
	l := read(t, "[geo]\nrefresh = '100ms'\ndatabases = '"+path+"'\n", Options{Open: true, Tables: NewTables()})
	l.Commit()
	told := make(chan Change, 100)
	f := Follow(func(c Change) { told <- c })
	defer f.Stop()
	f.Use(l)
	write(t, path, "nonsense")
	c := next(t, told)
	if c.Err == nil || c.Kind != "database" || !strings.Contains(c.Err.Error(), "MaxMind DB format") {
		t.Fatalf("told %+v", c)
	}
	copied(t, "asn.mmdb", path)
	if c := next(t, told); c.Err == nil || !strings.Contains(c.Err.Error(), "it has no countries") {
		t.Fatalf("told %+v", c)
	}
	if got := located(t, l, "177.8.0.1", "{geo.country}"); got != "BR" {
		t.Errorf("%q", got)
	}
	copied(t, "city.mmdb", path)
	if c := next(t, told); c.Err != nil || c.Entries != 2 {
		t.Fatalf("told %+v", c)
	}
	if got := located(t, l, "81.2.70.1", "{geo.country}"); got != "" {
		t.Errorf("%q of the old file", got)
	}
}
