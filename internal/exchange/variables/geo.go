package variables

import (
	"github.com/edge-proxy/edge/internal/match/geo"
	"github.com/edge-proxy/edge/lang"
)

// Geo returns the variables of what databases say of a client's address. A text that names one which no database has
// is refused.
func Geo(databases geo.Databases) []lang.Variable {
	g := located{databases}
	asn := databases.Number()
	return []lang.Variable{
		g.text(geo.Country, "geo.country", "The country of `client.ip` by the databases of `[geo]`, as two letters "+
			"(ISO 3166-1); missing where none knows, as all of `geo.`", `geo.country in {"BR" "US"}`),
		g.text(geo.Continent, "geo.continent", "The continent: `AF`, `AN`, `AS`, `EU`, `NA`, `OC`, `SA`.",
			`geo.continent == "EU"`),
		g.text(geo.Region, "geo.region", "The code of the state or province (ISO 3166-2 without the country), or its "+
			"name where the database has no code.", `geo.country == "US" and geo.region == "CA"`),
		g.text(geo.City, "geo.city", "The city, in English.", `geo.city == "London"`),
		g.refused(geo.ASN, number("geo.asn", lang.Int, lang.Always,
			"The number of the autonomous system of `client.ip`.", `geo.asn in {64496 64511}`,
			func(s Subject) (int64, bool) {
				n := asn(s.ClientIP())
				return int64(n), n > 0
			})),
		g.text(geo.Organization, "geo.asn_org", "The organization of the autonomous system.",
			`geo.asn_org contains "Hosting"`),
	}
}

// located makes variables of databases.
type located struct{ geo.Databases }

// text is the variable of a field that is a text.
func (g located) text(f geo.Field, name, doc, example string) lang.Variable {
	find := g.Text(f)
	return g.refused(f, bytes(name, lang.Always, doc, example, func(s Subject) []byte { return find(s.ClientIP()) }))
}

// databaseFor are files that have a field.
var databaseFor = map[geo.Field]string{
	geo.Country: "GeoLite2-Country.mmdb", geo.Continent: "GeoLite2-Country.mmdb",
	geo.Region: "GeoLite2-City.mmdb", geo.City: "GeoLite2-City.mmdb",
	geo.ASN: "GeoLite2-ASN.mmdb", geo.Organization: "GeoLite2-ASN.mmdb",
}

// refused is v, which no text may name where no database has its field.
func (g located) refused(f geo.Field, v lang.Variable) lang.Variable {
	switch {
	case g.Fields().Has(f):
	case len(g.Databases) == 0:
		v.Refused = "there is no database for " + v.Name
		v.Remedy = `[geo] with databases = ["` + databaseFor[f] + `"]`
	default:
		v.Refused = "no database has " + f.String()
		v.Remedy = "add " + databaseFor[f] + " to databases of [geo]"
	}
	return v
}
