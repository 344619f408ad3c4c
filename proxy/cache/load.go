package cache

import (
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/cache/disk"
	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/session"
)

// load begins to read the answer of f from the disk. It reports false where too many wait for that.
func (f *fill) load() bool {
	z := f.front.zone
	d := z.disk.now.Load()
	if d == nil || z.loads.Full() {
		return false
	}
	var r record
	var b *disk.Body
	loaded := f.later(func(error) { f.loaded(r, b) })
	f.from = aDisk
	z.loads.Do(func() {
		r, b = d.Read(f.entry.key)
		loaded(nil)
	})
	return true
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

// beginDraft begins to write the body of f, whose head is there, to disk while it comes. It reports false where that
// cannot be. The backend waits until there is room.
func (f *fill) beginDraft() bool {
	z := f.front.zone
	d := z.disk.now.Load()
	if d == nil {
		return false
	}
	l := z.on(f.reactor)
	l.renewed = record(append(l.renewed[:0], f.bytes...)).appendFile(0, f.length)
	one := &draft{disk: d.Draft(f.store, l.renewed, f.stamp, f.length)}
	if f.file = z.bodies.onDisk(&one.disk.Body, 2*draftPiece); f.file == nil {
		return false
	}
	f.file.draft = one
	ok := one.disk.Begin(f.later(f.placed))
	if !ok {
		f.refs.Add(-1) // it is not called
	}
	return ok
}

// later returns a function that any goroutine may call once: it has run called on the reactor of f, to which there is a
// reference until then.
func (f *fill) later(run func(error)) func(error) {
	f.refs.Add(1)
	return func(err error) {
		f.reactor.Post(&engine.Task{Run: func(*engine.Reactor) {
			run(err)
			f.release()
		}})
	}
}

// placed is told whether the disk has room for the body. Followers but the first know nothing of f until then.
func (f *fill) placed(err error) {
	if f.state.Load() != asked { // it is over
		return
	}
	if w := f.first; err != nil {
		f.unstore(policy.ReasonCrowd)
		if w != nil && w.until > 0 { // the head promised it a part, and now comes the whole
			w.fail(session.Truncated, nil)
		}
	} else {
		f.file.place()
		f.publish(filling)
	}
	f.fork.Resume()
}

// add takes a part of the body, and returns of how many bytes: none before there is room, and so not the end either.
func (f *fill) add(p []byte, end bool) (n int) {
	d := f.draft()
	if f.state.Load() != filling {
		return 0
	}
	n = min(len(p), draftPiece-len(d.came))
	d.came = append(d.came, p[:n]...)
	d.ended = end && n == len(p)
	f.forward()
	return n
}

// forward writes the bytes that came, unless a write is on its way, or ends f.
func (f *fill) forward() {
	d := f.draft()
	n := len(d.came)
	if !d.ended {
		n -= n % disk.Block
	}
	switch {
	case len(d.going) > 0:
	case n > 0:
		d.going, d.came = d.came[:n], append(d.going, d.came[n:]...)
		d.disk.Write(d.going, f.later(f.wrote))
	case d.ended:
		f.finish(stored)
	}
}

// wrote gives followers the bytes that were written.
func (f *fill) wrote(err error) {
	if f.state.Load() != filling {
		return
	}
	if err != nil {
		f.fork.Cancel()
		f.Reset(session.Cancelled)
		return
	}
	d := f.draft()
	f.mark.Add(int64(len(d.going)))
	d.going = d.going[:0]
	f.publish(filling)
	f.forward()
	if w := f.first; w != nil {
		w.feed()
	} else {
		f.exceed()
	}
	f.fork.Resume()
}
