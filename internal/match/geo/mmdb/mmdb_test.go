package mmdb_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/match/geo"
	"github.com/edge-proxy/edge/internal/match/geo/mmdb"
	"github.com/edge-proxy/edge/internal/match/table"
)

// load reads a database of testdata, which internal/test/interop writes.
func load(t testing.TB, name string) geo.Database {
	t.Helper()
	path := filepath.Join("testdata", name)
	m := table.NewMap(path, mmdb.Options(nil))
	u, err := m.Prepare(table.Source{File: path})
	if err != nil {
		t.Fatal(err)
	}
	u.Commit()
	return geo.Database{Map: m, Fields: geo.Fields(u.Stats.Marks)}
}

// told is all that databases say of an address, with commas.
func told(all geo.Databases, address string) string {
	a := netip.MustParseAddr(address)
	var list []string
	for f := range geo.ASN {
		list = append(list, string(all.Text(f)(a)))
	}
	if n := all.Number()(a); n != 0 {
		list = append(list, "AS", string(rune('0'+n%10)))
	}
	return strings.TrimRight(strings.Join(list, ","), ",")
}

func TestOptions_reads(t *testing.T) {
	country, city := load(t, "country.mmdb"), load(t, "city.mmdb")
	asn, flat := load(t, "asn.mmdb"), load(t, "ipinfo.mmdb")
	for _, c := range []struct {
		all           geo.Databases
		address, want string
	}{
		{geo.Databases{country}, "81.2.69.142", "GB,EU"},
		{geo.Databases{country}, "::ffff:81.2.69.142", "GB,EU"},
		{geo.Databases{country}, "2001:218::1", "JP,AS"},
		{geo.Databases{country}, "192.0.2.127", "US,NA"},
		{geo.Databases{country}, "192.0.2.128", "CA,NA"},
		{geo.Databases{country}, "10.0.0.1", ""},
		{geo.Databases{country}, "198.51.100.1", ""}, // registered in a country is not in it
		{geo.Databases{country}, "::1", ""},
		{geo.Databases{city}, "81.2.69.1", "GB,EU,ENG,London"},
		{geo.Databases{city}, "177.8.0.1", "BR,,São Paulo,São Paulo"},
		{geo.Databases{asn}, "81.2.69.1", ",,,,Andrews & Arnold Ltd,AS,2"},
		{geo.Databases{asn}, "203.0.113.1", ",,,,Nameless"},
		{geo.Databases{flat}, "81.2.69.1", "GB,EU,,,Andrews & Arnold Ltd,AS,2"},
		{geo.Databases{flat}, "192.0.2.1", "US,NA,California"},
		{geo.Databases{flat}, "10.0.0.1", ""},
		{geo.Databases{asn, country}, "192.0.2.200", "CA,NA,,,Example Hosting,AS,6"},
		{geo.Databases{city, country}, "177.8.0.1", "BR,SA,São Paulo,São Paulo"},
		{geo.Databases{city, country}, "177.9.0.1", "BR,SA"},
		{nil, "81.2.69.1", ""},
	} {
		if got := told(c.all, c.address); got != c.want {
			t.Errorf("%s is %q, want %q", c.address, got, c.want)
		}
	}
	if got := asn.Fields.String(); got != "names of autonomous systems, numbers of autonomous systems" {
		t.Errorf("the fields are %s", got)
	}
	if country.Fields.Has(geo.City) || !city.Fields.Has(geo.City) {
		t.Error("cities are in the wrong database")
	}
}

func TestOptions_refuses(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join("testdata", "city.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	for want, text := range map[string]string{
		"no database in the MaxMind DB format": "10.0.0.0/8 DE\n",
		"MaxMind DB format":                    "",
		"invalid":                              string(whole[:len(whole)/2]) + string(whole[len(whole)*3/4:]),
	} {
		path := filepath.Join(t.TempDir(), "x.mmdb")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := table.NewMap("x", mmdb.Options(nil)).Prepare(table.Source{File: path})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Neither another database nor a broken one takes the place of what is asked.
func TestOptions_refresh(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.mmdb")
	replace := func(name string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(path+".new", text, 0o600), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	replace("country.mmdb")
	m := table.NewMap("x", mmdb.Options(table.NewBudget(1<<30)))
	u, err := m.Prepare(table.Source{File: path})
	if err != nil {
		t.Fatal(err)
	}
	u.Commit()
	all := geo.Databases{{Map: m, Fields: geo.All}}
	replace("asn.mmdb")
	if _, err := m.Refresh(); err == nil || !strings.Contains(err.Error(), "it has no countries, continents any more") {
		t.Errorf("an ASN database was taken for countries: %v", err)
	}
	if got := told(all, "81.2.69.1"); got != "GB,EU" {
		t.Errorf("%q", got)
	}
	replace("city.mmdb")
	if _, err := m.Refresh(); err != nil {
		t.Fatal(err)
	}
	if got := told(all, "81.2.69.1"); got != "GB,EU,ENG,London" {
		t.Errorf("%q", got)
	}
}

// Bytes of a file never panic, and never take more than a moment.
func FuzzOptions(f *testing.F) {
	for _, name := range []string{"country.mmdb", "city.mmdb", "asn.mmdb", "ipinfo.mmdb"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(_ *testing.T, text []byte) {
		d, err := mmdb.Options(nil).Decode(text)
		if err != nil {
			return
		}
		n := 0
		_ = d.Each(func(p netip.Prefix, value []byte) error {
			if !p.IsValid() || len(value) == 0 {
				panic("an entry without a prefix or a value")
			}
			for f := range geo.ASN {
				geo.Place(value).Text(f)
			}
			geo.Place(value).Number()
			if n++; n > d.EntriesMax() {
				return errors.New("more than there can be")
			}
			return nil
		})
	})
}
