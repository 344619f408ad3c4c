package cache

import (
	"github.com/edge-proxy/edge/cache/disk"
	"github.com/edge-proxy/edge/engine"
)

// load has f take its answer from the disk. It reports false where too many wait for that.
func (f *fill) load() bool {
	z := f.front.zone
	d := z.disk.now.Load()
	if d == nil {
		return false
	}
	f.refs.Add(1)
	f.from = aDisk
	ok := z.loads.do(func() {
		r, b := d.Read(f.entry.key)
		f.reactor.Post(&engine.Task{Run: func(*engine.Reactor) { f.loaded(r, b) }})
	})
	if !ok {
		f.refs.Add(-1)
		f.from = aBackend
	}
	return ok
}

// loaded gives the followers what the disk has. Where that cannot be used at once, they ask the cache once more, which
// has it in memory by then, or has forgotten it.
func (f *fill) loaded(r record, b *disk.Body) {
	z, there := f.front.zone, f.state.Load() == asked
	if b != nil {
		if f.file = z.bodies.adopt(b); f.file != nil {
			r.setFile(f.file.number)
		}
	}
	switch {
	case !there: // f is over
	case len(r) > 0 && (r.file() != 0) == (f.file != nil) && f.takeLoaded(z.on(f.reactor), r):
		f.giveRecord(r[:r.headLen()], r, r.stamp(), r.confirmed())
	default:
		f.askAllAgain()
	}
	f.release()
}

// takeLoaded puts r, which was on disk, into the store. It reports whether r can be sent at once.
func (f *fill) takeLoaded(l *local, r record) bool {
	z, now, key := l.zone, l.zone.now(f.reactor), f.entry.key
	switch r.kind() {
	case isList:
		if r.until() <= now || !z.set(key, r) {
			z.forget(key)
		}
		return false
	case isAnswer:
		fresh := r.fresh()
		if r, _ = l.after(r, &f.subject, now); r == nil || fresh.Received > now { // or the clock was set back
			break
		}
		kept := z.set(key, r)
		if fresh = r.fresh(); shared(&fresh) && fresh.Left(now) > 0 {
			return l.zone.filling.Load() < l.zone.fillingMax
		} else if kept {
			return false
		}
	}
	z.forget(key)
	return false
}
