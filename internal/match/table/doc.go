// Package table holds the named lists and maps that conditions and templates ask: is this address in list.office,
// what does map.country say for it. A List is of addresses and prefixes, or of texts. A Map leads from one of these
// to texts.
//
// It is no cache and no database: what a table has comes from a file or from the configuration, all of it at once,
// and a change of one entry builds the table anew. It watches no file and starts no goroutine. The caller asks
// Refresh when it is time to look.
//
// # Life cycle
//
// A handle, List or Map, is made once by NewList or NewMap and outlives the generations of its content. Prepare reads a
// Source and builds a generation from it, which no reader sees yet. Commit swaps it in by one atomic store. So a
// reload of a configuration prepares all its tables first, and commits them when nothing can fail any more. When
// Prepare fails, the handle goes on with what it has. A source with the content of the current generation is not built
// again.
//
// # Threads and memory
//
// Look-ups are for any goroutine, reactors above all: no lock, no allocation, no shared word is written. Prepare and
// Refresh are for workers, one at a time for each handle. They do their work in pieces with pauses between them
// (internal/base/yield), so that event loops get a processor.
//
// What is large lies in memory that the garbage collector does not see:
//
//	handle ── atomic pointer ──► generation (Go heap)
//	                                ├─ ranges of IPv4, of IPv6: sorted bounds, and an index or lines     mapped
//	                                ├─ texts: slots of the hash table, and the keys                      mapped
//	                                └─ values: pieces of 256 KiB at most, without pointers               Go heap
//
// The mapped part goes back to the kernel when the collector has found that nothing refers to the generation. A look-up
// keeps its generation alive until it has read what it needs. A value of a Map is Go memory: it stays valid for as
// long as a caller has it, and must not be written. It keeps its piece alive.
//
// A generation that was replaced waits for the next collection. A handle asks for one before it builds while an older
// generation of its own has mapped memory. So a table rarely has more than three: current, old and in work.
//
// # Files
//
// One entry a line. Blanks around it, empty lines, CRLF and a byte order mark are ignored. A comment begins with # at
// the start of a line or after a blank. A text that has blanks at its ends, a #, or a quote first stands in quotes
// and is written as a basic string of TOML. A line of a map is a key, blanks, a value; only the key ends at a blank.
//
//	# office.txt            # country.txt                # staff.txt
//	10.0.0.0/8              2.16.0.0/13  DE              alice   admin
//	192.0.2.7  # printer    2001:db8::/32 "N/A"          "a b"   reads only # the value ends here
//
// IPv4 addresses in IPv6 form are IPv4 addresses. Prefixes may overlap and repeat; in a map the longest prefix that has
// the address wins. In a map one key with two values is an error. Errors name file, line and column. Up to 20 are
// reported.
//
// # Limits
//
// Options bounds the bytes of a file, the entries and the memory of a table; a Budget bounds the memory of many. What
// a table will need is estimated from the number of its entries before it is built. A key or a value has 65535 bytes
// at most.
package table
