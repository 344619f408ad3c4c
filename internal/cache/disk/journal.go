package disk

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
)

// Purged is something that was purged: a name of a kind, at a stamp, as the caller has them.
type Purged struct {
	Name, Stamp uint64
	Kind        uint32
}

// Everything is the Kind that stands for all records before a stamp.
const Everything = 1<<32 - 1

// A journal is a head and entries, numbers little endian: 8 bytes each for magic and seed; then for each entry name,
// stamp, kind, and a CRC-32C of these.
const (
	journalMagic = 0x32306c6e6a656463 // it is the version of all files of the folder
	journalHead  = 16
	journalEntry = 24
	journalMax   = 1 << 20 // entries from which on it is written anew
	journalKeep  = journalMax / 2
)

// journal has what was purged. Its goroutine writes it; any other one may add to it.
type journal struct {
	file *os.File // nil: it could not be written, and there is none
	size int      // entries in it

	mu    sync.Mutex
	added []Purged
	done  []func(error) // are told when all of added is synced
	over  bool          // no goroutine writes any more
	wake  chan struct{}
}

// SeedOf returns the seed of the folder at path, 0 where it has none.
func SeedOf(path string) uint64 {
	s := Store{opts: Options{Path: path}}
	var head [journalHead]byte
	defer s.closeFiles()
	if s.openFolder() != nil {
		return 0
	}
	f, err := s.open("journal", os.O_RDONLY)
	if err != nil {
		return 0
	}
	defer f.Close()
	if _, err := f.ReadAt(head[:], 0); err != nil || binary.LittleEndian.Uint64(head[:]) != journalMagic {
		return 0
	}
	return binary.LittleEndian.Uint64(head[8:])
}

// Append appends p as a journal has it.
func (p Purged) Append(dst []byte) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, p.Name)
	dst = binary.LittleEndian.AppendUint64(dst, p.Stamp)
	dst = binary.LittleEndian.AppendUint32(dst, p.Kind)
	return binary.LittleEndian.AppendUint32(dst, sum(dst[at:]))
}

// parseJournal returns the entries of a journal. Damage at its end is what a crash leaves: no caller was told that it
// is there. It reports false where there is other damage, or another seed.
func parseJournal(p []byte, seed uint64) (all []Purged, ok bool) {
	if len(p) < journalHead || binary.LittleEndian.Uint64(p) != journalMagic ||
		binary.LittleEndian.Uint64(p[8:]) != seed {
		return nil, false
	}
	damaged := false
	for p = p[journalHead:]; len(p) >= journalEntry; p = p[journalEntry:] {
		if binary.LittleEndian.Uint32(p[20:]) != sum(p[:20]) {
			damaged = true
			continue
		}
		if damaged {
			return nil, false
		}
		all = append(all, parsePurged(p))
	}
	return all, true
}

func parsePurged(p []byte) Purged {
	return Purged{binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:]), binary.LittleEndian.Uint32(p[16:])}
}

// shorten returns the last entry of each name, in the order of their stamps. Of very many, the older half gives way to
// an entry for everything before.
func shorten(all []Purged) (left []Purged) {
	last := make(map[Purged]uint64) // without its stamp
	for _, p := range all {
		stamp := p.Stamp
		p.Stamp = 0
		last[p] = max(last[p], stamp)
	}
	for p, stamp := range last {
		p.Stamp = stamp
		left = append(left, p)
	}
	slices.SortFunc(left, func(a, b Purged) int { return cmp.Compare(a.Stamp, b.Stamp) })
	if over := len(left) - journalKeep; over > 0 {
		left = append(left[over:], Purged{Kind: Everything, Stamp: left[over-1].Stamp})
	}
	return left
}

// rewriteJournal puts a new journal with all entries into the place of the old one.
func (s *Store) rewriteJournal(all []Purged) error {
	p := binary.LittleEndian.AppendUint64(nil, journalMagic)
	p = binary.LittleEndian.AppendUint64(p, s.opts.Seed)
	for _, one := range all {
		p = one.Append(p)
	}
	f, err := s.open("journal.new", os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	if _, err = f.Write(p); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = s.root.Rename("journal.new", "journal")
	}
	if err == nil {
		err = s.folder.Sync()
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	if j := &s.journal; j.file != nil {
		_ = j.file.Close()
	}
	s.journal.file, s.journal.size = f, len(all)
	return nil
}

// loadJournal reads the journal. It reports false where no journal can be believed.
func (s *Store) loadJournal() (all []Purged, ok bool) {
	p, err := s.read("journal")
	if err != nil {
		return nil, false
	}
	return parseJournal(p, s.opts.Seed)
}

// Purge writes down what was purged. done is called, on another goroutine, when it is on disk, or could not be written;
// nil: no caller waits for it. It reports false where the Store is closed.
func (s *Store) Purge(all []Purged, done func(error)) bool {
	j := &s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.over {
		return false
	}
	if j.added = append(j.added, all...); len(j.added) > journalMax { // the disk does not answer
		j.added = []Purged{{Kind: Everything, Stamp: j.added[len(j.added)-1].Stamp}}
	}
	if done != nil {
		j.done = append(j.done, done)
	}
	signal(j.wake)
	return true
}

// keepJournal writes the journal until the Store is closed.
func (s *Store) keepJournal() {
	defer s.ended.Done()
	j := &s.journal
	for open := true; open; {
		select {
		case <-j.wake:
		case <-s.closing:
			open = false
		}
		j.mu.Lock()
		added, done := j.added, j.done
		j.added, j.done, j.over = nil, nil, !open
		j.mu.Unlock()
		err := s.writeJournal(added, len(done) > 0)
		for _, f := range done {
			f(err)
		}
	}
	if j.file != nil {
		_ = j.file.Close()
	}
}

// writeJournal adds entries to the journal. Where that fails, it removes the journal: the next process finds an empty
// store.
func (s *Store) writeJournal(added []Purged, sync bool) error {
	j := &s.journal
	if len(added) == 0 && !sync || j.file == nil {
		return nil
	}
	var p []byte
	for _, one := range added {
		p = one.Append(p)
	}
	err := s.fault("write journal")
	if err == nil {
		_, err = j.file.WriteAt(p, journalHead+int64(j.size)*journalEntry)
	}
	if j.size += len(added); err == nil && sync {
		err = datasync(j.file)
	}
	if err == nil && j.size > journalMax {
		if all, ok := s.loadJournal(); ok {
			err = s.rewriteJournal(shorten(all))
		} else {
			err = errors.New("disk: the journal is damaged")
		}
	}
	if err == nil {
		return nil
	}
	_ = j.file.Close()
	j.file = nil
	s.counts.errors.Add(1)
	gone := s.root.Remove("journal")
	if gone == nil {
		gone = s.folder.Sync()
	}
	s.tell(fmt.Errorf("the journal of purges could not be written, so what is on disk will not be used after the next "+
		"start: %w", err))
	return gone
}
