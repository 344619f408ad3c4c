// Package target decides where requests may go that name their own destination.
//
// A destination such as "http://{header:X-Tenant}.svc.internal:8080" is filled in by each request. A client must not be
// able to reach anything else by it: that would be server-side request forgery (CWE-918). This package has the rules
// alone. It resolves no name and opens no connection: package internal/server/dynamic does, by these rules.
//
//	Template   text with variables      ─ Append ─►  text that a client had a part in
//	           that text                ─ Append ─►  its one canonical form, or an error
//	List       which of these forms may be asked for, and which addresses their names may have
//
// # One reading
//
// What this package reads as a name no other parser may read as an address, or as another name. So it accepts little:
// a scheme, a name of letters, digits, "-", "_" and dots or an IP address as net/netip has it, and a port. User, path,
// query, fragment, percent signs, blanks, backslashes and all bytes above 0x7f are errors. So is a name whose last
// label is a number, since libraries of C read 127.1, 0x7f.1, 0177.0.0.1 and 2130706433 as IPv4 addresses.
//
// # Addresses
//
// Each address that a name has is judged by List.CheckAddr: those that are not on the public Internet are refused
// unless a CIDR of the list has them. So are IPv6 addresses that carry such an IPv4 address inside. The addresses that
// were judged are to be connected to, without another look-up: a name may have other ones a moment later (rebinding).
//
// # Threads and limits
//
// Template and List are immutable: safe for any goroutine. A text has 320 bytes, a name 253, a label of it 63. A
// template has 16 parts, a list 256 entries. Append allocates nothing, but for an IP address.
package target
