// Package rawio holds the system calls of the benchmark's origin and relay floor: non-blocking
// sockets, edge-triggered epoll, and the loop of a Server around them.
//
// It is not the engine and shares no line with it: the floor is what the engine is measured
// against, so it must not get faster or slower when the engine changes.
//
// Calls are raw: the scheduler does not hear of them, which is right only because none of them can
// block (every descriptor is non-blocking, every wait has a timeout of 0). Sleeping is done in one
// of two ways, chosen by Park:
//
//	ParkRuntime  the epoll descriptor is itself pollable: it is handed to the runtime's
//	             netpoller, which puts the goroutine to sleep when there is nothing
//	ParkThread   a locked OS thread blocks in epoll_wait
//
// Threads and ownership: an Epoll and the descriptors in it belong to the one goroutine that calls
// Wait; Stop is safe for any goroutine. User data is {generation, slot}, never a pointer.
//
// Limits: eventsMax events a wait; the listen backlog is what the kernel allows, 4096 at most.
package rawio
