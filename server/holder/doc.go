// Package holder finds the processes that listen on an address, to name them where that address is wanted: in the error
// of a listener, and by edge doctor.
//
// It is not for listening or connecting: it reads /proc/net/tcp, tcp6 and unix for sockets, and /proc/PID/fd for the
// processes that have them open. Without /proc nothing is found.
//
// # Limits
//
// A search ends after 3 s, and reads the first 8 MiB of a table: the kernel begins with the sockets that listen.
//
// Sockets of other network namespaces are not seen, those of other users only by root.
//
// # Threads
//
// All functions are safe for any goroutine. They read many files, so they do not belong on a reactor.
package holder
