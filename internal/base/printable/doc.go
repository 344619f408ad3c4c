// Package printable shows texts of others on a terminal: what the terminal would obey, hide or take for a line of its
// own is shown as an escape of Go.
//
// Hosts, paths and names reach an operator from clients and from other processes. A control character in one of them
// could change what the terminal shows, its title, or what it sends. The package does not parse escape sequences:
// whatever strconv.IsPrint does not take is shown, bytes that are no UTF-8 among it.
//
// A backslash stays as it is, so a text that has the letters of an escape looks like one.
package printable
