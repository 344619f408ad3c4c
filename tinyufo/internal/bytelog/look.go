package bytelog

// look is Shards.Get for all candidates.
func (s *shard) look(dst []byte, hash uint64, key []byte) (value []byte, expiry uint32, ok bool) {
	if raceDetector {
		return s.lookLocked(dst, hash, key)
	}
	x := s.index.Load()
	home := x.home(hash)
	for other := range uint64(2) {
		words := &x.lines[home^other]
		tags := words[0].Load()
		for m := candidates(tags, hash); m != 0; m &= m - 1 {
			word := &words[wordOf(m)]
			l := location(word.Load())
			if (uint64(l)^hash)>>tagShift != 0 {
				continue
			}
			value, expiry, ok = s.read(dst, l, key)
			fence()
			now := location(word.Load())
			if (now^l).place() != 0 || l.place() == 0 || s.index.Load() != x {
				return s.lookLocked(dst, hash, key)
			}
			if ok {
				if now.uses() < usesMax {
					word.CompareAndSwap(uint64(now), uint64(now)+oneUse)
				}
				return value, expiry, true
			}
		}
		if tags>>elsewhereShift == 0 {
			break
		}
	}
	return dst, 0, false
}

// read appends the value of what may be a record with key.
func (s *shard) read(dst []byte, l location, key []byte) (value []byte, expiry uint32, ok bool) {
	rec := record(s.memory[l.position():])
	h := rec.header()
	end := h.valueAt() + h.valueSize()
	if end > uint64(len(rec)) || string(rec[h.keyAt():h.valueAt()]) != string(key) {
		return dst, 0, false
	}
	if h.keyAt() != headerSize {
		expiry = order.Uint32(rec[headerSize:])
	}
	return append(dst, rec[h.valueAt():end]...), expiry, true
}

// lookLocked is look under the mutex: nothing is moved meanwhile.
func (s *shard) lookLocked(dst []byte, hash uint64, key []byte) (value []byte, expiry uint32, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.locate(hash, key)
	if at.words == nil {
		return dst, 0, false
	}
	l := at.load()
	if l.uses() < usesMax {
		at.words[at.word].CompareAndSwap(uint64(l), uint64(l)+oneUse)
	}
	return s.read(dst, l, key)
}
