// Package warm is a whole exchange through the proxy on a kernel that costs next to nothing: one client and one origin,
// both connections warm, played inside the simulated kernel's wait. It is for the test that counts the calls and
// allocations of a request, and for the benchmarks that show its user time.
//
//	client ── down ── proxy ── up ── origin       pump plays both ends
//
// Ownership: a Rig belongs to one goroutine, which drives the reactor by Exchange.
package warm
