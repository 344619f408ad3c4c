// Package lockdown gives up what a serving process does not need: it limits files and TCP ports by Landlock, and system
// calls by seccomp, for the process and all that it starts.
//
// It is not a sandbox for a program of others, and it does not replace the user, the unit of systemd or the container
// that edge runs in: what one of them denies stays denied.
//
// # Life cycle
//
//	Of ─► Needs.Rules ─► Rules.Enforce ─► Lock ─► Judge, of each configuration that comes
//	                                       └─► Variable ─► Inherited, in the process that an upgrade starts
//
// Nothing is taken back: the kernel has no call for it. A process that an upgrade starts has the same lock, which its
// environment describes, and adds none of its own: Landlock nests at most 16 deep.
//
// # What holds
//
// Landlock knows files by their place below a folder. So the folder of a file is opened to the process and not the file
// alone: an editor that saves by a rename makes another file. Only files that stand in a folder of the root, as
// /etc/hosts does, are opened alone. TCP ports can be bound where a listener has them (from ABI 4, Linux 6.7);
// connections to anywhere are allowed, because backends change. Programs can be executed from the folder of edge's own
// program where that folder has no other programs.
//
// The system calls are a list of those that Go's runtime, its network packages and edge make, for amd64 and arm64. All
// others fail with EPERM.
//
// # Threads and ownership
//
// Enforce holds for all threads of the process: Landlock by syscall.AllThreadsSyscall, which a program with cgo does
// not have, seccomp by SECCOMP_FILTER_FLAG_TSYNC. It is called once, by any goroutine. Needs and Rules belong to their
// maker; a Lock is immutable.
package lockdown
