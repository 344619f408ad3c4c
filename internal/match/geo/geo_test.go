package geo_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/match/geo"
	"github.com/edge-proxy/edge/internal/match/table"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// database knows one network.
func database(t testing.TB, network string, texts [geo.ASN]string, asn uint32) geo.Database {
	t.Helper()
	place, has := geo.AppendPlace(nil, &texts, asn)
	m := table.NewMap(network, table.Options{})
	u, err := m.Prepare(table.Source{Inline: []table.Entry{{Key: network, Value: string(place)}}})
	if err != nil {
		t.Fatal(err)
	}
	u.Commit()
	return geo.Database{Map: m, Fields: has}
}

// A database that lacks the address or the field leaves the answer to the next one.
func TestDatabases_areAskedInTurn(t *testing.T) {
	city := database(t, "192.0.2.0/24", [geo.ASN]string{geo.City: "Ottawa"}, 64496)
	all := geo.Databases{city,
		database(t, "192.0.2.0/25", [geo.ASN]string{geo.Country: "US", geo.City: "Boston"}, 0),
		database(t, "192.0.0.0/16", [geo.ASN]string{geo.Country: "CA", geo.City: "Toronto"}, 64497)}
	if city.Fields != 1<<geo.City|1<<geo.ASN || all.Fields() != 1<<geo.Country|city.Fields {
		t.Errorf("they have %s, the first one %s", all.Fields(), city.Fields)
	}
	for address, want := range map[string]struct {
		country, city string
		asn           uint32
	}{
		"192.0.2.1":          {"US", "Ottawa", 64496},
		"::ffff:192.0.2.128": {"CA", "Ottawa", 64496},
		"192.0.3.1":          {"CA", "Toronto", 64497},
		"203.0.113.1":        {},
	} {
		a := netip.MustParseAddr(address)
		country, city, asn := all.Text(geo.Country)(a), all.Text(geo.City)(a), all.Number()(a)
		if string(country) != want.country || string(city) != want.city || asn != want.asn {
			t.Errorf("%s is in %s, %s, AS%d, want %v", address, country, city, asn, want)
		}
	}
}

func TestDatabases_allocateNothing(t *testing.T) {
	all := geo.Databases{database(t, "192.0.2.0/24", [geo.ASN]string{}, 64496),
		database(t, "192.0.2.0/24", [geo.ASN]string{geo.Country: "US"}, 0)}
	country, asn := all.Text(geo.Country), all.Number()
	a := netip.MustParseAddr("192.0.2.1")
	if n := testutil.Allocs(100, func() { country(a); asn(a) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A text is cut between two characters.
func TestAppendPlace_cuts(t *testing.T) {
	place, _ := geo.AppendPlace(nil, &[geo.ASN]string{geo.City: strings.Repeat("é", 200)}, 7)
	city, asn := geo.Place(place).Text(geo.City), geo.Place(place).Number()
	if string(city) != strings.Repeat("é", 127) || asn != 7 {
		t.Errorf("%q, %d", city, asn)
	}
}
