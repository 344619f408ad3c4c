// Package holder finds the processes that listen on an address, to name them where that address is wanted: in the error
// of a listener, by edge doctor, and by edge status where others share the addresses of the process.
//
// It is not for listening or connecting: it reads /proc/net/tcp, tcp6, udp, udp6 and unix for sockets, and
// /proc/PID/fd for the processes that have them open. Without /proc nothing is found.
//
// # Limits
//
// A search ends after 3 s, and reads the first 8 MiB of a table. Of TCP it reads no further than the sockets that
// listen, which come first.
//
// Sockets of other network namespaces are not seen, sockets of other users only by root. The functions read many files,
// so they do not belong on a reactor.
package holder
