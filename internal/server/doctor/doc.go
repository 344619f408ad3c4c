// Package doctor looks at the machine with the eyes of a configuration, and says what would fail or be slow on it, and
// by which line that is mended: limits, sysctls, addresses, the cgroup, clocks, files.
//
// It is not a check of the configuration (package config), changes nothing on the machine, and sends nothing but
// look-ups of the names of backends.
//
// # How it works
//
//	Examine(host, config) ──► each of checks ──► Finding{Check, Level, What, Fix}
//
// A check is a function that reads the Host and adds findings. What cannot be read (no /proc, no right to it, a kernel
// without that file) is no finding: nothing is known then. Fix lines are complete commands or lines of a file; in a
// container they are lines for its engine, since a sysctl there is refused.
//
// # Levels
//
//	error    it fails, or a part of the clients is not served
//	warning  it fails or loses connections under load
//	note     an operator may want to know it
//
// Examine takes up to some seconds: it reads many files and looks names up.
package doctor
