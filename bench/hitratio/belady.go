package hitratio

import (
	"container/heap"
	"sort"
)

// Optimum is the number of hits of the best possible cache of capacity entries over keys: Belady's MIN with bypass. The
// key whose next use is the farthest is dropped, the key that just came included, so it bounds every policy, those that
// refuse keys included.
func Optimum(keys []uint64, capacity int) int {
	next := nextUses(keys)
	held := make([]bool, len(keys)) // by the time of the next use of a key
	var uses farthest               // those times, and some that are over
	count, hits := 0, 0
	for i := range keys {
		if held[i] {
			held[i] = false
			count--
			hits++
		}
		if next[i] == len(keys) {
			continue
		}
		held[next[i]] = true
		heap.Push(&uses, next[i])
		for count++; count > capacity; {
			if last := heap.Pop(&uses).(int); held[last] {
				held[last] = false
				count--
			}
		}
	}
	return hits
}

// farthest is a heap of times, the last one first.
type farthest struct{ sort.IntSlice }

// Less is for package heap.
func (f farthest) Less(i, j int) bool { return f.IntSlice[i] > f.IntSlice[j] }

// Push is for package heap.
func (f *farthest) Push(x any) { f.IntSlice = append(f.IntSlice, x.(int)) }

// Pop is for package heap.
func (f *farthest) Pop() any {
	last := f.IntSlice[f.Len()-1]
	f.IntSlice = f.IntSlice[:f.Len()-1]
	return last
}

// nextUses says for each access when its key comes again, len(keys) for never.
func nextUses(keys []uint64) []int {
	next := make([]int, len(keys))
	last := make(map[uint64]int)
	for i := len(keys) - 1; i >= 0; i-- {
		next[i] = len(keys)
		if at, ok := last[keys[i]]; ok {
			next[i] = at
		}
		last[keys[i]] = i
	}
	return next
}
