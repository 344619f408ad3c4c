// Package mmdb reads databases in the MaxMind DB format into tables for package geo.
//
// It answers no question by itself. A file is read once, into a map of package table: each of its networks leads to a
// geo.Place, and places that say the same are one. Nothing of the file stays in memory. It is not mapped either: a
// program that truncates a mapped file kills the process that reads it.
//
//	GeoLite2-City.mmdb                          table.Map
//	┌──────┬────────────────────────────┐       ┌─────────────────┐
//	│ tree │ records: names in 8        │  ──►  │ 81.2.69.0/24 ───┼──► Place: GB, EU, ENG, London
//	│      │ languages, coordinates, …  │       │ 81.2.70.0/23 ───┼──┘
//	└──────┴────────────────────────────┘       └─────────────────┘
//
// A record may have the form of MaxMind's own databases, which DB-IP and IP2Location use too, or the flat one of
// IPinfo. What a database has is found by reading all of it, not by its name: see geo.Fields.
//
// # Life cycle
//
// Options are the options of a table.Map, which is prepared, committed and refreshed as any other. The Marks of its
// Stats are the geo.Fields. A Refresh keeps the old content where the new one lacks fields that it has: a country that
// is asked for does not go missing because another database was put in the place of that one.
//
// # Threads
//
// To read a file is work for a worker: some seconds for a city database.
//
// # Limits
//
// A file has 512 MiB at most, and a tree of 16 777 216 nodes; what a build takes is counted in the Budget. Addresses of
// IPv6 that have one of IPv4 inside (6to4, Teredo) are not taken for that.
package mmdb
