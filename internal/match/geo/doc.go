// Package geo looks up which country, city or network an address belongs to, in tables that were read from databases.
//
// It reads no file: package internal/match/geo/mmdb does, with a module of others. Package proxy imports this package
// alone, so a program that links a proxy links no reader of databases.
//
// A database is a map of package table: each network leads to a Place, the bytes of all that is known of it. A look-up
// is a look-up in a table, tens of nanoseconds.
//
// # Life cycle
//
// The reader of a file makes each Place by AppendPlace, puts it into a table.Map and tells which Fields there are.
// Databases are asked one after another, and give functions that find one field.
//
// # Threads and memory
//
// Databases are for any goroutine, reactors above all. A Place is immutable and stays valid when its map is swapped;
// look-ups allocate nothing.
//
// # Limits
//
// A text has 255 bytes, more are cut off.
package geo
