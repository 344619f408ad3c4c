// Package fips has a process begin again in the FIPS 140-3 mode of Go, which is chosen by GODEBUG before any code runs.
// It computes nothing itself: the module is crypto/fips140, and what a TLS handshake may then use is tlsconn's.
//
// Enter is called by main, once, before the process has listeners, threads of its own or files that a second start
// would open again.
package fips
