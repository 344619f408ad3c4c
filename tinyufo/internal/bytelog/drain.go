package bytelog

// drainStep is how many bytes of a log are taken out under one hold of the mutex.
const drainStep = 1 << 20

// drained are copies of records that were taken out, and the hits that they count.
type drained struct {
	records []record
	uses    []int
	memory  []byte // of the records
}

// drain is Shards.Drain for one log of a shard. It uses the memory of d. It returns false when the function has.
func (s *shard) drain(log int, d *drained, now func() uint32, yield func(k, v []byte, uses int) bool) bool {
	r := &s.logs[log]
	s.mu.Lock()
	kept := r.tail // from here on the kernel has not got memory back
	s.mu.Unlock()
	for more := true; more; {
		time := now() // not under the mutex: the caller's clock may use the cache
		s.mu.Lock()
		more = s.take(r, d)
		kept = r.release(kept)
		s.check()
		s.mu.Unlock()
		for i, rec := range d.records {
			if (rec.expiry() == 0 || rec.expiry() > time) && !yield(rec.key(), rec.value(), d.uses[i]) {
				return false
			}
		}
	}
	return true
}

// take makes d the oldest entries of a log, which it takes out. It reports whether there may be others.
func (s *shard) take(r *ring, d *drained) (more bool) {
	d.records, d.uses, d.memory = d.records[:0], d.uses[:0], d.memory[:0]
	for taken := 0; taken < drainStep; {
		place, rec, ok := r.first()
		if !ok {
			return false
		}
		hash := s.hasher.of(rec.key())
		if at := s.slotOf(hash, place); at.words != nil {
			d.memory = append(d.memory, rec...)
			d.records = append(d.records, d.memory[len(d.memory)-len(rec):])
			d.uses = append(d.uses, at.load().uses())
			s.forget(at, hash)
			s.counts.Deletions++
		}
		r.drop(rec)
		taken += len(rec)
	}
	return true
}

// release gives the memory from the offset kept to the tail, whose records were dropped, back to the kernel, unless a
// new record lies there already. It returns the offset from which on the kernel has got no memory back.
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
