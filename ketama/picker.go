package ketama

import "iter"

// Picker is what Ring, Ring64 and Maglev have in common, for programs that let their users choose. With and Without are
// not in it: they return the type that they belong to.
//
// A key or a function that is passed through an interface goes to the heap, because the compiler does not know what it
// is passed to. Where that counts, call one of the three types, or make the function once.
type Picker interface {
	// Pick returns the index of the server of a key, or -1 when there is no server.
	Pick(key []byte) int
	// PickString is Pick for a string.
	PickString(key string) int

	// Hash returns the hash of a key, as the methods below take it.
	Hash(key []byte) uint64
	// HashString is Hash for a string.
	HashString(key string) uint64

	// At returns the index of the server of a hash, or -1 when there is no server.
	At(h uint64) int
	// Walk returns the servers in the order in which they follow a hash, each once.
	Walk(h uint64) iter.Seq[int]
	// PickFunc returns the first server of Walk that ok accepts, or -1.
	PickFunc(h uint64, ok func(i int) bool) int
	// PickBounded returns the first server of Walk that has less load than b allows it.
	PickBounded(h uint64, b Bound, load func(i int) int) int

	// Len returns the number of servers.
	Len() int
	// Server returns server i.
	Server(i int) Server
}
