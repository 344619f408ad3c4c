// Package sketch estimates how often hashes were seen of late, for the policies of tinyufo: a count-min sketch of 4-bit
// counters, all four of a hash in one cache line.
//
// It is not exact and not safe for several goroutines: the shard that has it guards it with its mutex.
//
//	var s sketch.Sketch
//	s.Extend(entries)             // 8 bytes for each, in blocks of 64
//	s.Period = 10 * entries       // counts until all are halved
//	s.Add(hash, 1)
//	s.Estimate(hash)              // 0 … Max
//
// Estimates are never too small but for the halving, and seldom too large: an Add raises only the least of the four
// counters. The halving goes on in steps of a few blocks with each count, so that no caller pays for all of it. Extend
// may be called again, with more entries: what was counted stays.
//
// Sources: TinyLFU (Einziger, Friedman and Manes 2017); conservative update (Estan and Varghese 2002); the layout of a
// block is taken from Caffeine.
package sketch
