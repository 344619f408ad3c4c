package disk

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// againFraction is the part of a segment that is written again at most when it is removed: what was asked for.
const againFraction = 10

// makeRoom begins another segment where the present one has no room for a record of n bytes.
func (s *Store) makeRoom(n int64) error {
	w := &s.writer
	if w.segment != nil && w.at+int64(len(w.batch))+n <= s.segmentSize() {
		return nil
	}
	if w.segment != nil {
		if err := s.flush(); err != nil {
			return err
		}
		s.seal()
	}
	need := max(n, s.segmentSize())
	again, entries, err := s.reclaimFor(need)
	if err != nil {
		return err
	}
	if w.segment, w.list, err = s.makeSegment(); err != nil {
		return err
	}
	w.at = 0
	w.add(again, entries)
	return nil
}

// makeSegment makes the segment that follows all others.
func (s *Store) makeSegment() (one *segment, list *os.File, err error) {
	w := &s.writer
	w.number++
	one = &segment{number: w.number}
	if err = s.fault("make"); err != nil {
		return nil, nil, err
	}
	if one.file, err = s.open(segmentName(w.number), os.O_RDWR|os.O_CREATE|os.O_EXCL); err != nil {
		return nil, nil, err
	}
	list, err = s.open(listName(w.number), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND)
	if err != nil {
		_ = one.file.Close()
		s.remove(w.number)
		return nil, nil, err
	}
	s.segments.add(one)
	return one, list, nil
}

// reclaimFor removes the oldest segments where there would be too many bytes with need bytes more, or too many records.
// It returns the records that are to be written again, and the places that they have there.
func (s *Store) reclaimFor(need int64) (again []byte, entries []entry, err error) {
	w := &s.writer
	need += s.promised.Load()
	if w.segment != nil {
		need += max(s.segmentSize()-w.at, 0)
	}
	for all := s.segments.all(); len(all) > 0 && (s.segments.bytes()+need > s.opts.Size || len(all) >= segmentsMax ||
		s.index.entries.Load() > s.opts.Memory/entryMax); all = all[1:] {
		if all[0] == w.segment { // the others are of Drafts
			if err = s.flush(); err != nil {
				return nil, nil, err
			}
			s.seal()
		}
		again, entries = s.reclaim(all[0], again, entries)
	}
	if free, err := s.space(); err != nil || free < need {
		return nil, nil, errors.Join(unix.ENOSPC, err)
	}
	return again, entries, nil
}

// add adds p to the batch, with records at places in it.
func (w *writer) add(p []byte, of []entry) {
	w.pad(pageSize)
	for _, e := range of {
		e.at += w.at + int64(len(w.batch))
		w.entries = append(w.entries, e)
	}
	w.batch = append(w.batch, p...)
}

// reclaim removes the oldest segment. What was asked for lately is added to again, up to a part of a segment, and to
// entries with its place in there.
func (s *Store) reclaim(one *segment, again []byte, entries []entry) (_ []byte, _ []entry) {
	most := s.segmentSize() / againFraction
	list, _ := s.read(listName(one.number))
	for ; len(list) >= entrySize; list = list[entrySize:] {
		e := parseEntry(list)
		if e.at < 0 || s.index.remove(e.hash, placeOf(one.number, e.at)) <= 0 {
			continue
		}
		p, h, err := one.whole(e.at, most-int64(len(again)))
		if err == nil && h.hash == e.hash {
			again = append(again, make([]byte, roundUp(int64(len(again)), h.align())-int64(len(again)))...)
			e.at = int64(len(again))
			again, entries = append(again, p...), append(entries, e)
		}
	}
	s.remove(one.number)
	s.segments.drop()
	return again, entries
}

func parseEntry(p []byte) (e entry) {
	e.hash, e.stamp = binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[16:])
	if e.at = int64(binary.LittleEndian.Uint64(p[8:])); e.at%unit != 0 || e.at>>(atBits+6) != 0 {
		e.at = -1
	}
	return e
}

// recover makes the index from the lists of all segments, the newest first.
func (s *Store) recover() {
	defer s.ended.Done()
	all := s.segments.all()
	for i := len(all) - 1; i >= 0; i-- {
		list, _ := s.read(listName(all[i].number))
		for end := len(list) / entrySize * entrySize; end > 0; end -= entrySize { // the last one under a key counts
			e := parseEntry(list[end-entrySize:])
			if e.at < 0 || e.at >= all[i].size.Load() || s.index.entries.Load() >= s.opts.Memory/entryMax {
				continue
			}
			s.index.put(e.hash, placeOf(all[i].number, e.at), true)
		}
		select {
		case <-s.closing:
			return
		default:
		}
	}
}

// last returns the greatest stamp of the newest segment.
func (s *Store) last() (last uint64) {
	all := s.segments.all()
	for i := len(all) - 1; i >= 0 && last == 0; i-- {
		list, _ := s.read(listName(all[i].number))
		for ; len(list) >= entrySize; list = list[entrySize:] {
			last = max(last, parseEntry(list).stamp)
		}
	}
	return last
}
