package certs

import (
	"io/fs"
	"os"
	"syscall"
	"time"
)

// stamp tells one content of a file from another without reading it.
type stamp struct {
	dev, inode  uint64
	size, mtime int64
	ctime       int64
}

// stamps are the times and sizes of certificate, key and response. A file that is not there has none.
type stamps [3]stamp

func (f *Files) stamps() (all stamps) {
	for i, path := range []string{f.Cert, f.Key, f.OCSP} {
		if path != "" {
			all[i] = stampOf(path)
		}
	}
	return all
}

func stampOf(path string) stamp {
	at, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stampIn(at)
}

func stampIn(at fs.FileInfo) stamp {
	s := stamp{size: at.Size(), mtime: at.ModTime().UnixNano()}
	if st, ok := at.Sys().(*syscall.Stat_t); ok {
		s.dev, s.inode, s.ctime = uint64(st.Dev), st.Ino, ctime(st)
	}
	return s
}

// Change is what a look at the files found about one pair.
type Change struct {
	Files Files
	Now   *Certificate // the certificate that is presented now
	Err   error        // the files are wrong, and Now is what was before; or an OCSP response is too old
}

// Look compares all files with what was read of them, swaps what changed, and reports it. A certificate of an Authority
// is made anew when its time has come.
// A pair that is wrong is reported by the second look in a row that finds it so, since its files do not change in one
// step, and looked at again by each further one.
func (s *Set) Look(now time.Time) []Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	var changes []Change
	swapped := false
	for _, p := range s.pairs {
		c, changed := p.look(now)
		swapped = swapped || changed && c.Err == nil
		if changed {
			changes = append(changes, c)
		}
	}
	if swapped {
		for _, g := range s.groups {
			g.index()
		}
	}
	return changes
}

// look is the part of Look for one pair. Set.mu is held.
func (p *pair) look(now time.Time) (c Change, changed bool) {
	at := p.files.stamps()
	old := p.present.Load()
	due := p.files.Authority != nil && p.files.Authority.aged(old.Leaf, now)
	if at == p.seen && p.wrong == 0 && !due {
		if old.TLS.OCSPStaple == nil || old.stapleUntil.IsZero() || now.Before(old.stapleUntil) {
			return c, false
		}
		next := *old
		next.TLS.OCSPStaple, next.StapleErr = nil, &Error{PartOCSP, p.files.OCSP, ErrOCSPOld}
		p.present.Store(&next)
		return Change{p.files, &next, next.StapleErr}, true
	}
	if at != p.seen {
		p.seen, p.wrong = at, 0
	}
	next, err := Load(&p.files, now)
	if err != nil {
		if p.wrong++; p.wrong != 2 {
			return c, false
		}
		next := *old
		next.FilesErr = err
		p.present.Store(&next)
		return Change{p.files, &next, err}, true
	}
	p.wrong = 0
	p.present.Store(next)
	return Change{Files: p.files, Now: next}, true
}

// Watch looks at the files, if there are any, every so often and tells what changed, until Stop. tell runs on the
// goroutine of Watch. The set that pairs were taken over from is to be stopped before.
func (s *Set) Watch(every time.Duration, tell func(Change)) {
	s.mu.Lock()
	for _, g := range s.groups { // that set may have swapped one of them since, and made its own names anew
		g.index()
	}
	none := len(s.pairs) == 0
	s.mu.Unlock()
	if none {
		return
	}
	s.stop, s.ended = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(s.ended)
		ticks := time.NewTicker(every)
		defer ticks.Stop()
		for {
			select {
			case <-s.stop:
				return
			case now := <-ticks.C:
				for _, c := range s.Look(now) {
					tell(c)
				}
			}
		}
	}()
}

// Stop ends Watch and waits until it has. Without Watch it does nothing.
func (s *Set) Stop() {
	if s.stop != nil {
		close(s.stop)
		<-s.ended
		s.stop = nil
	}
}
