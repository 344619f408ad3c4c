package process

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/tls/certs"
)

const (
	watchEvery = 250 * time.Millisecond
	// watchShare bounds what looking costs, where a configuration has thousands of files: a look is followed by a pause
	// of so many times its duration.
	watchShare = 100
)

// watch notices changes of the files of a configuration: of their contents, of what a pattern of include stands for,
// and of where links lead. It looks instead of being told: so it sees files on network and FUSE file systems and in
// bind mounts, editors that rename, and the links of Kubernetes alike.
// Guarded by reloads.mu.
//
//	seen ── a change ──► latest ── the same at the next look ──► read, use
type watch struct {
	files  *config.Files // that were read last, also when they were wrong
	pages  []string      // further files that the last right configuration has read
	seen   view          // of these as they were opened
	latest view          // of the last look, where it differs
	end    chan struct{} // ends the goroutine; nil: there is none
}

// view is what files look like.
type view struct {
	stamps certs.Stamps
	globs  []string // what patterns stand for
}

func (v *view) equal(other *view) bool {
	return maps.Equal(v.stamps, other.stamps) && slices.Equal(v.globs, other.globs)
}

// use makes w watch files, which were just read. cfg is what they say; nil: they are wrong. before is a look at what
// was watched until now, of before they were read.
func (w *watch) use(files *config.Files, cfg *config.Config, before view) {
	if w.files = files; cfg != nil {
		w.pages = cfg.Language.Files()
		for _, page := range cfg.Files("page") {
			w.pages = append(w.pages, page.Path)
		}
	}
	w.seen, w.latest = w.look(), view{}
	for path := range w.seen.stamps {
		if stamp, known := before.stamps[path]; known {
			w.seen.stamps[path] = stamp
		}
	}
	w.seen.globs = nil
	for i := range files.Globs { // as the reading has found them
		w.seen.globs = append(append(w.seen.globs, files.Globs[i].Paths...), "")
	}
	for i := range files.Texts {
		// What changes after the file was opened is one more change. A pipe is another one as soon as it was read.
		if t := &files.Texts[i]; t.At != nil && t.At.Mode().IsRegular() {
			w.seen.stamps.Put(t.Path, t.At)
		}
	}
}

// look returns what the files look like now.
func (w *watch) look() view {
	if w.files == nil {
		return view{}
	}
	v := view{stamps: certs.StampsOf(slices.Concat(w.files.Paths(), w.pages))}
	for i := range w.files.Globs {
		paths, _ := w.files.Globs[i].Find() // the pattern was right when it was read
		v.globs = append(append(v.globs, paths...), "")
	}
	return v
}

// changed looks, and reports whether the files have changed and are not written to now: two looks saw the same.
func (w *watch) changed() bool {
	now := w.look()
	if now.equal(&w.seen) {
		w.latest = view{}
		return false
	}
	if !now.equal(&w.latest) {
		w.latest = now
		return false
	}
	w.seen = now
	return true
}

// set begins or ends to look every so often.
func (w *watch) set(on bool, look func(end <-chan struct{})) {
	if on == (w.end != nil) {
		return
	}
	if !on {
		close(w.end)
		w.end = nil
		return
	}
	w.end = make(chan struct{})
	go look(w.end)
}

// look applies changes of the files until end is closed.
func (r *reloads) look(end <-chan struct{}) {
	pause := time.NewTimer(watchEvery)
	defer pause.Stop()
	for {
		select {
		case <-end:
			return
		case <-pause.C:
		}
		pause.Reset(max(watchEvery, watchShare*r.lookOnce(end)))
	}
}

// lookOnce applies the files where they have changed, unless an upgrade is under way: a later look does it. It
// returns how long it took to look.
func (r *reloads) lookOnce(end <-chan struct{}) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-end:
		return 0
	default:
	}
	if r.upgrades.busy() {
		return 0
	}
	begun := time.Now()
	changed := r.watch.changed()
	took := time.Since(begun)
	if !changed {
		return took
	}
	o := r.read("watch")
	if errors.Is(o.Err, errUnderWay) { // it began meanwhile
		r.watch.seen = view{}
	}
	if r.watched != nil {
		r.events.sync() // it may print
		r.watched(o.Report, &o.Diff, o.Err)
	}
	return took
}

// stop ends the watch. It does not wait for a reload that is under way, which a slow disk may delay: that one ends with
// the Server.
func (r *reloads) stop() {
	if r.mu.TryLock() {
		defer r.mu.Unlock()
		r.watch.set(false, nil)
	}
}
