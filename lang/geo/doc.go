// Package geo reads databases in the MaxMind DB format: which country, city or network an address belongs to.
//
// It answers no question by itself. A file is read once, into a map of package table: each of its networks leads to a
// Place, and places that say the same are one. So a look-up is that of a table, tens of nanoseconds, and nothing of
// the file stays in memory. It is not mapped either: a program that truncates a mapped file kills the process that
// reads it.
//
//	GeoLite2-City.mmdb                          table.Map
//	┌──────┬────────────────────────────┐       ┌─────────────────┐
//	│ tree │ records: names in 8        │  ──►  │ 81.2.69.0/24 ───┼──► Place: GB, EU, ENG, London
//	│      │ languages, coordinates, …  │       │ 81.2.70.0/23 ───┼──┘
//	└──────┴────────────────────────────┘       └─────────────────┘
//
// A record may have the form of MaxMind's own databases, which DB-IP and IP2Location use too, or the flat one of
// IPinfo. What a database has is found by reading all of it, not by its name: see Fields.
//
// # Life cycle
//
// Options are those of a table.Map. It is prepared, committed and refreshed as any other:
//
//	m := table.NewMap("GeoLite2-Country.mmdb", geo.Options(budget))
//	u, err := m.Prepare(table.Source{File: path})
//	u.Commit()
//	value, found := m.Addr(client)
//	country := geo.Place(value).Text(geo.Country)
//
// A Refresh keeps the old content where the new one lacks fields that it has: a country that is asked for does not go
// missing because somebody has put another database in the place of that one.
//
// # Threads and memory
//
// To read a file is work for a worker: some seconds for a city database. A Place is immutable and stays valid; look-ups
// allocate nothing.
//
// # Limits
//
// A file has 512 MiB at most, and a tree of 16 777 216 nodes; what a build takes is counted in the Budget. A text has
// 255 bytes, more are cut off. Addresses of IPv6 that have one of IPv4 inside (6to4, Teredo) are not taken for that.
package geo
