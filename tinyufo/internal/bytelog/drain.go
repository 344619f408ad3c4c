package bytelog

// drainStep is how many bytes of a log are taken out under one hold of the mutex.
const drainStep = 1 << 20

// drained is a copy of a record that was taken out.
type drained struct {
	record
	uses int
}

// drain is Shards.Drain for one log of a shard. It returns false when the function has.
func (s *shard) drain(log int, now func() uint32, yield func(k, v []byte, uses int) bool) bool {
	r := &s.logs[log]
	s.mu.Lock()
	kept := r.tail // from here on the kernel has not got memory back
	s.mu.Unlock()
	var found []drained
	for more := true; more; {
		time := now() // not under the mutex: the caller's clock may use the cache
		s.mu.Lock()
		found, more = s.take(r, found[:0])
		kept = r.release(kept)
		s.check()
		s.mu.Unlock()
		for _, one := range found {
			if (one.expiry() == 0 || one.expiry() > time) && !yield(one.key(), one.value(), one.uses) {
				return false
			}
		}
	}
	return true
}

// take takes the oldest entries of a log out and appends them to found. more reports whether there may be others.
func (s *shard) take(r *ring, found []drained) (_ []drained, more bool) {
	for taken := 0; taken < drainStep; {
		place, rec, ok := r.first()
		if !ok {
			return found, false
		}
		hash := s.hasher.of(rec.key())
		if at := s.slotOf(hash, place); at.words != nil {
			found = append(found, drained{append(record(nil), rec...), at.load().uses()})
			s.forget(at, hash)
			s.counts.Deletions++
		}
		r.drop(rec)
		taken += len(rec)
	}
	return found, true
}

// release gives the memory of what was dropped since the tail was at an offset to the kernel, unless something was
// written to it already. It returns from where on the kernel has not got it.
func (r *ring) release(kept uint64) uint64 {
	n := r.tail - kept
	if n > r.size-(r.head-r.tail) {
		return r.tail
	}
	fence() // no location points to it: see ring
	from := kept % r.size
	if to := from + n; to > r.size {
		releaseMemory(r.bytes[from:])
		return r.tail - uint64(releaseMemory(r.bytes[:to-r.size]))
	}
	return r.tail - uint64(releaseMemory(r.bytes[from:from+n]))
}
