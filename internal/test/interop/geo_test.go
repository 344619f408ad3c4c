package interop

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/match/geo"
	"github.com/edge-proxy/edge/internal/match/geo/mmdb"
	"github.com/edge-proxy/edge/internal/match/table"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/oschwald/maxminddb-golang/v2"
)

var updateGeo = flag.Bool("update", false, "write the databases of internal/match/geo/mmdb/testdata")

type (
	object = mmdbtype.Map
	str    = mmdbtype.String
)

// geoFiles are the databases of internal/match/geo/mmdb/testdata: networks and what is said of them.
var geoFiles = map[string]map[string]object{
	"country.mmdb": {
		"81.2.69.0/24":   country("GB", "EU"),
		"2.125.160.0/20": country("GB", "EU"),
		"177.0.0.0/8":    country("BR", "SA"),
		"192.0.2.0/24":   country("US", "NA"),
		"192.0.2.128/25": country("CA", "NA"),
		"2001:218::/32":  country("JP", "AS"),
		"198.51.100.0/24": {"registered_country": object{"iso_code": str("DE")},
			"traits": object{"is_satellite_provider": mmdbtype.Bool(true)}},
	},
	"city.mmdb": {
		"81.2.69.0/24": {
			"country":      object{"iso_code": str("GB"), "geoname_id": mmdbtype.Uint32(2635167)},
			"continent":    object{"code": str("EU")},
			"city":         object{"names": object{"de": str("London"), "en": str("London")}},
			"subdivisions": mmdbtype.Slice{object{"iso_code": str("ENG")}, object{"iso_code": str("LND")}},
			"location":     object{"latitude": mmdbtype.Float64(51.5142), "radius": mmdbtype.Uint16(10)},
		},
		"177.8.0.0/16": {
			"country":      object{"iso_code": str("BR")},
			"city":         object{"names": object{"en": str("São Paulo")}},
			"subdivisions": mmdbtype.Slice{object{"names": object{"en": str("São Paulo")}}},
		},
	},
	"asn.mmdb": {
		"81.2.69.0/24":   system(20712, "Andrews & Arnold Ltd"),
		"192.0.2.0/24":   system(64496, "Example Hosting"),
		"2001:218::/32":  system(2914, "NTT America, Inc."),
		"203.0.113.0/24": {"autonomous_system_organization": str("Nameless")},
	},
	"ipinfo.mmdb": {
		"81.2.69.0/24": {"asn": str("AS20712"), "as_name": str("Andrews & Arnold Ltd"),
			"country": str("United Kingdom"), "country_code": str("GB"),
			"continent": str("Europe"), "continent_code": str("EU")},
		"192.0.2.0/24": {"country": str("US"), "continent": str("NA"), "region": str("California"), "city": str("-")},
		"10.0.0.0/8":   {"country": str("ZZ"), "country_code": str("-")},
	},
}

func country(code, continent string) object {
	return object{"country": object{"iso_code": str(code), "names": object{"en": str("The land of " + code)}},
		"continent": object{"code": str(continent), "names": object{"en": str("A continent")}}}
}

func system(n uint32, name string) object {
	return object{"autonomous_system_number": mmdbtype.Uint32(n), "autonomous_system_organization": str(name)}
}

// database makes a file by a writer that others have written.
func database(t testing.TB, o mmdbwriter.Options, networks map[string]object) []byte {
	t.Helper()
	o.IncludeReservedNetworks, o.BuildEpoch = true, 1_700_000_000
	w, err := mmdbwriter.New(o)
	testutil.Must(t, err)
	for _, bits := range []string{"", "/25"} { // the shorter prefix first: a later one takes its part of it
		for text, record := range networks {
			if _, network, err := net.ParseCIDR(text); err != nil {
				t.Fatal(err)
			} else if strings.HasSuffix(text, "/25") == (bits != "") {
				testutil.Must(t, w.Insert(network, record))
			}
		}
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The files of internal/match/geo/mmdb/testdata are as the writer makes them, and another reader finds in them what
// edge finds.
func TestGeo_files(t *testing.T) {
	dir := filepath.Join("..", "..", "match", "geo", "mmdb", "testdata")
	for name, networks := range geoFiles {
		path := filepath.Join(dir, name)
		want := database(t, mmdbwriter.Options{
			DatabaseType: "Test-" + strings.TrimSuffix(name, ".mmdb"), RecordSize: 24,
			Description: map[string]string{"en": "made by edge's tests"},
		}, networks)
		if *updateGeo {
			testutil.Must(t, os.WriteFile(path, want, 0o644))
		}
		got := testutil.ReadFile(t, path)
		if !bytes.Equal(got, want) {
			t.Errorf("%s is old: go test -run Geo_files -update", path)
		}
		var asked []netip.Addr
		for network := range networks {
			asked = append(asked, around(netip.MustParsePrefix(network))...)
		}
		compareGeo(t, path, asked)
		compareMmdblookup(t, path, asked)
	}
}

// around returns the first and the last address of a prefix, and those beside it.
func around(p netip.Prefix) []netip.Addr {
	last := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	all := []netip.Addr{p.Masked().Addr(), end}
	for _, a := range []netip.Addr{p.Masked().Addr().Prev(), end.Next()} {
		if a.IsValid() {
			all = append(all, a)
		}
	}
	return all
}

// Networks at random, in trees of all forms.
func TestGeo_random(t *testing.T) {
	r := rand.New(rand.NewPCG(14, 3))
	for _, o := range []mmdbwriter.Options{
		{IPVersion: 4, RecordSize: 24}, {IPVersion: 6, RecordSize: 28}, {IPVersion: 6, RecordSize: 32},
		{IPVersion: 6, RecordSize: 28, DisableIPv4Aliasing: true},
	} {
		networks, asked := map[string]object{}, []netip.Addr{}
		for i := range 2000 {
			p := randomNetwork(r, o.IPVersion)
			code := []byte{byte('A' + i%26), byte('A' + i/26%25)}
			networks[p.String()] = object{"country": object{"iso_code": str(code)}}
			if i%3 == 0 {
				networks[p.String()]["autonomous_system_number"] = mmdbtype.Uint32(uint32(i))
			}
			asked = append(asked, around(p)...)
		}
		if o.DisableIPv4Aliasing {
			networks = map[string]object{"::/0": country("US", "NA"), "2a00::/16": country("DE", "EU")}
		}
		path := filepath.Join(t.TempDir(), "random.mmdb")
		o.DatabaseType = "random"
		testutil.Must(t, os.WriteFile(path, database(t, o, networks), 0o600))
		compareGeo(t, path, asked)
	}
}

func randomNetwork(r *rand.Rand, version int) netip.Prefix {
	if version == 6 && r.IntN(2) == 0 {
		b := [16]byte{0x2a, byte(r.UintN(4))}
		for i := 2; i < 8; i++ {
			b[i] = byte(r.UintN(256))
		}
		return netip.PrefixFrom(netip.AddrFrom16(b), 20+r.IntN(45)).Masked()
	}
	b := [4]byte{byte(1 + r.UintN(200)), byte(r.UintN(256)), byte(r.UintN(256)), byte(r.UintN(256))}
	return netip.PrefixFrom(netip.AddrFrom4(b), 10+r.IntN(23)).Masked()
}

// compareGeo asks edge's table and the library's own look-up.
func compareGeo(t *testing.T, path string, asked []netip.Addr) {
	t.Helper()
	theirs, err := maxminddb.Open(path)
	testutil.Must(t, err)
	defer theirs.Close() //nolint:errcheck // it is only read
	ours := table.NewMap(path, mmdb.Options(nil))
	update, err := ours.Prepare(table.Source{File: path})
	testutil.Must(t, err)
	update.Commit()
	for _, a := range asked {
		if theirs.Metadata.IPVersion == 4 && a.Is6() {
			continue
		}
		var record struct {
			Country struct {
				Code string `maxminddb:"iso_code"`
			} `maxminddb:"country"`
			City struct {
				Names map[string]string `maxminddb:"names"`
			} `maxminddb:"city"`
			ASN          uint32 `maxminddb:"autonomous_system_number"`
			Organization string `maxminddb:"autonomous_system_organization"`
		}
		if filepath.Base(path) == "ipinfo.mmdb" {
			var code string
			err = theirs.Lookup(a).DecodePath(&code, "country_code")
			record.Country.Code = strings.Trim(code, "-")
		} else {
			err = theirs.Lookup(a).Decode(&record)
		}
		testutil.Must(t, err)
		value, _ := ours.Addr(a)
		p := geo.Place(value)
		got := fmt.Sprintf("%s %s", p.Text(geo.Country), p.Text(geo.City))
		want := fmt.Sprintf("%s %s", record.Country.Code, record.City.Names["en"])
		if filepath.Base(path) == "ipinfo.mmdb" && record.Country.Code == "" {
			continue
		}
		if filepath.Base(path) != "ipinfo.mmdb" {
			got += fmt.Sprintf(" %d %s", p.Number(), p.Text(geo.Organization))
			want += fmt.Sprintf(" %d %s", record.ASN, record.Organization)
		}
		if got != want {
			t.Fatalf("%s: %v is %q, want %q", path, a, got, want)
		}
	}
}

// compareMmdblookup asks the program of libmaxminddb, where it is installed.
func compareMmdblookup(t *testing.T, path string, asked []netip.Addr) {
	t.Helper()
	if filepath.Base(path) != "country.mmdb" {
		return
	}
	program, err := exec.LookPath("mmdblookup")
	if err != nil {
		return
	}
	ours := table.NewMap(path, mmdb.Options(nil))
	update, err := ours.Prepare(table.Source{File: path})
	testutil.Must(t, err)
	update.Commit()
	for _, a := range asked {
		out, _ := exec.Command(program, "--file", path, "--ip", a.String(), "country", "iso_code").CombinedOutput()
		value, _ := ours.Addr(a)
		code := string(geo.Place(value).Text(geo.Country))
		if (code == "") == strings.Contains(string(out), "<utf8_string>") || !strings.Contains(string(out), code) {
			t.Errorf("%v is %q, mmdblookup says %s", a, code, out)
		}
	}
}
