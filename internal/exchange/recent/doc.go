// Package recent remembers the last requests of a proxy: what became of each, when, at which backends, and how long its
// parts took. It lets an operator ask what happened to one request. Connections of services below HTTP are remembered
// in the same way.
//
// It is not an access log: it has neither methods nor paths, is in memory alone, and forgets.
//
//	                      ┌─► all: the last N
//	Next ─► *Record ─► Put┤
//	                      └─► bad: the last N that failed, were tried again, or were slow
//
// # What a record is
//
// 128 bytes without pointers, which the garbage collector does not look at. Names are numbers of observe.Tag, failures
// are numbers of a Reason, and times are offsets from the beginning.
//
// # Life cycle, threads and ownership
//
// Rings belong to one reactor, which writes and reads them. Reasons are safe for any goroutine, and their numbers hold
// as long as the process lives.
//
// # Limits
//
// Rings have two times N records, made at once. There are 127 reasons; later ones are all the same one.
package recent
