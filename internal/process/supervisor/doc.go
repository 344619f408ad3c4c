// Package supervisor has both sides between a service and its supervisor: what a service tells it by sd_notify(3), see
// NotifySocket; the descriptors that it has opened for the service, see Descriptor; and Run, the supervisor where there
// is no other one: process 1 of a container.
//
// Run starts the service, hands signals on to it, collects the processes that no other process waits for, and ends
// with the exit code of the service. It does not start the service again: that is for the engine that runs the
// container.
//
//	engine ── signals ──► Run ── signals ──► the service ── starts ──► its next binary
//	                       ▲  └── collects whatever has no parent any more ──┘      │
//	                       └────────────────── MAINPID, by sd_notify ───────────────┘
//
// An upgrade replaces the process of the service by a child of its own, and says so by MAINPID. Signals go to that one
// from then on: the old one drains, and a second signal would cut it. The service ends when all processes that were
// named so have ended.
//
// # Threads and ownership
//
// Run takes over the process: its signals, its children and GOMAXPROCS. Once per process, from main. ProgramPages is
// for the service too, and safe for any goroutine.
//
// # Limits
//
// It is made for little memory, 6 MiB resident at most: one thread of Go, no configuration, no log. What it has to say
// it writes to stderr.
package supervisor
