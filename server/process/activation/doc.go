// Package activation takes over the descriptors that the supervisor of a service has opened for it, as
// sd_listen_fds(3) of systemd describes it: they are those from 3 on, and the environment says how many, for which
// process, and what each one is called.
//
//	LISTEN_PID      the process that they are for
//	LISTEN_FDS      how many there are
//	LISTEN_FDNAMES  their names, with ":" between them; systemd 227 and later
//
// It knows neither what a descriptor is nor what it is for: package server looks at sockets.
//
// # Strictness
//
// A variable that is wrong is an error. A service that ignored it would open its addresses itself, or fail to, and no
// message would say why. Variables that are for another process are an error of their own, ErrOther: a caller may go on
// without them.
//
// # Life cycle
//
// Take is called once, before the process starts another one: it removes the variables from the environment, and has
// the descriptors closed on exec. A parent that starts the service as its child calls HandOn in place of it. The child
// cannot find its own number in LISTEN_PID, which was written before the child existed. So it gets EDGE_LISTEN_PARENT
// with that of the parent.
//
// # Threads and ownership
//
// The caller owns the descriptors. Both functions change the environment, so they belong to the start of a process.
package activation
