package observe

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"log/slog"
	"math/bits"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	ringBytesDefault = 256 << 10
	ringBytesMin     = 64 << 10 // more than two records of RecordMax
	ringBytesMax     = 1 << 30
	flushDefault     = time.Second
	closeWaitDefault = 5 * time.Second

	// Lines are gathered until there are three quarters of a batch of them, and then written in pieces. Each time
	// that a write finds the runtime's monitor asleep it wakes it, for up to 50 looks at the process
	// within some milliseconds: with one write for each 64 KiB that took 3 % of a core and more.
	batchBytes = 2 << 20
	pieceBytes = 64 << 10

	// reportEvery is how often the event log may hear of the same trouble.
	reportEvery = time.Minute
)

// The states of a writer. Producers only ever turn dozing and asleep into awake.
const (
	awake  uint32 = iota // at work; looks at every ring again before it sleeps
	dozing               // sleeps until the timer; only a ring that fills is worth waking it
	asleep               // sleeps without a timer, nothing lies anywhere: the first line wakes it
	closed               // has ended
)

var (
	// ErrClosed says that the Sink was closed before.
	ErrClosed = errors.New("observe: sink is closed")
	// ErrCloseWait says that the output did not take what was left within Options.CloseWait.
	ErrCloseWait = errors.New("observe: output did not take the last lines in time")
	// ErrNoPath says that the output has no path that could be opened again.
	ErrNoPath = errors.New("observe: output is not a file opened by path")
)

// Sink is an output with one goroutine that writes to it. Safe for any goroutine.
type Sink struct {
	// Loaded by every producer for every line, stored about twice a second.
	state atomic.Uint32
	wake  chan struct{} // room for one

	rings atomic.Pointer[[]*Ring] // copied on write, guarded by mu
	lines atomic.Pointer[Lines]   // nil until Lines is called
	mu    sync.Mutex
	drops []*atomic.Uint64 // of all rings; guarded by mu

	path      string // empty: Reopen has no meaning
	ringBytes int
	flush     time.Duration
	closeWait time.Duration
	quit      chan struct{}
	quitOnce  sync.Once
	done      chan struct{}
	reopen    chan change

	written atomic.Uint64
	writes  atomic.Uint64
	lost    atomic.Uint64
	errors  atomic.Uint64
	told    atomic.Uint64

	writer writer // owned by the writing goroutine
}

// writer is the state that only the writing goroutine touches.
type writer struct {
	out    io.Writer
	framed bool     // out takes frames of records, not lines
	file   *os.File // out, when it is to be closed
	batch  []byte   // gathered lines
	poured []byte   // being written, or room for the next batch
	size   int      // capacity of batch and of poured, but for a longer line
	turn   int      // index of the producer to gather from next
	torn   bool     // out took a part of a line and then failed
	broken bool     // the last write failed
	events *slog.Logger
	notice func(dropped, refused uint64, err error) []byte
	name   string

	dropped    uint64 // lines of Lines that were dropped before what is gathered next
	gap        bool   // some of them between that and what was gathered: a notice comes there
	err        error  // the error of the last failed write
	toldErrors uint64
	toldLost   uint64
	toldDrops  uint64
	told       time.Time
}

// change asks the writer to write what was appended, and to go on with file unless it is nil.
type change struct {
	file *os.File
	done chan struct{}
}

// Stats are the counters of a Sink since Open.
type Stats struct {
	Bytes   uint64 // taken by the output
	Writes  uint64 // calls
	Dropped uint64 // lines that found no room in their ring
	Lost    uint64 // lines that the output refused
	Errors  uint64 // failed calls
	Told    uint64 // dropped and lost lines that a Notice in the output has told of
}

// Open opens the output and starts the writer, which runs until Close.
func Open(o Options) (*Sink, error) {
	batch := batchBytes
	if o.BatchBytes > 0 {
		batch = max(o.BatchBytes, pieceBytes)
	}
	w := writer{
		out: o.Writer, name: cmp.Or(o.Path, "writer"), events: cmp.Or(o.Events, slog.Default()), notice: o.Notice,
		batch: make([]byte, 0, batch), poured: make([]byte, 0, batch), size: batch,
	}
	path := ""
	if o.Records != nil {
		w.out, w.framed = recordsOnly{o.Records}, true
	} else if w.out == nil {
		switch w.name = o.Path; o.Path {
		case "", "stdout":
			w.name, w.out = "stdout", os.Stdout
		case "stderr":
			w.out = os.Stderr
		default:
			file, err := OpenFile(o.Path)
			if err != nil {
				return nil, err
			}
			path, w.out, w.file = o.Path, file, file
		}
	}
	size := ringBytesDefault
	if o.RingBytes > 0 {
		size = 1 << bits.Len(uint(min(max(o.RingBytes, ringBytesMin), ringBytesMax)-1))
	}
	s := &Sink{
		path: path, ringBytes: size, writer: w,
		flush: cmp.Or(max(o.Flush, 0), flushDefault), closeWait: cmp.Or(max(o.CloseWait, 0), closeWaitDefault),
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		reopen: make(chan change),
	}
	s.rings.Store(new([]*Ring))
	go s.run()
	return s, nil
}

// Ring makes a ring for one more producer. It lives as long as the Sink.
func (s *Sink) Ring() *Ring {
	r := newRing(s, s.ringBytes)
	s.mu.Lock()
	defer s.mu.Unlock()
	rings := append(append([]*Ring(nil), *s.rings.Load()...), r)
	s.rings.Store(&rings)
	s.drops = append(s.drops, r.dropped)
	return r
}

// Reopen opens the path again after the file was renamed, and returns when the writer has let go
// of the old one. When the path cannot be opened the old file stays in use. Waits at most
// Options.CloseWait for an output that hangs.
func (s *Sink) Reopen() error {
	if s.path == "" {
		return ErrNoPath
	}
	file, err := OpenFile(s.path)
	if err != nil {
		return err
	}
	taken, err := s.ask(file)
	if !taken {
		_ = file.Close()
	}
	return err
}

// Sync returns when what was appended before has been handed to the output. Waits at most Options.CloseWait.
func (s *Sink) Sync() error {
	_, err := s.ask(nil)
	return err
}

// ask makes the writer write what was appended, and go on with file unless it is nil. It reports whether the writer
// has taken over file.
func (s *Sink) ask(file *os.File) (taken bool, err error) {
	wait := time.NewTimer(s.closeWait)
	defer wait.Stop()
	c := change{file: file, done: make(chan struct{})}
	select {
	case s.reopen <- c:
	case <-s.done:
		return false, ErrClosed
	case <-wait.C:
		return false, ErrCloseWait
	}
	select {
	case <-c.done:
		return true, nil
	case <-wait.C:
		return true, ErrCloseWait
	}
}

// Close writes what lies in the rings and ends the writer. The producers stop before: what they
// append later is dropped and counted, what they append meanwhile may be either. Returns
// ErrCloseWait when the output hangs.
func (s *Sink) Close() error {
	s.quitOnce.Do(func() { close(s.quit) })
	wait := time.NewTimer(s.closeWait)
	defer wait.Stop()
	select {
	case <-s.done:
		return nil
	case <-wait.C:
		return ErrCloseWait
	}
}

// Stats reads the counters.
func (s *Sink) Stats() Stats {
	st := Stats{
		Bytes:  s.written.Load(),
		Writes: s.writes.Load(),
		Lost:   s.lost.Load(),
		Errors: s.errors.Load(),
		Told:   s.told.Load(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.drops {
		st.Dropped += n.Load()
	}
	if l := s.lines.Load(); l != nil {
		st.Dropped += l.dropped.Load()
	}
	return st
}

// rouse wakes the writer from state, unless another producer does.
func (s *Sink) rouse(state uint32) {
	if state == closed || !s.state.CompareAndSwap(state, awake) {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default: // a wake-up that was not needed still lies there and will do
	}
}

// run is the writer. It sleeps in two ways, see the states, and never beyond the time of flush
// while something waits to be written.
func (s *Sink) run() {
	defer close(s.done)
	timer := time.NewTimer(s.flush)
	ready := make(chan struct{})
	close(ready)
	for due := true; ; {
		state := dozing
		found, full := s.gather()
		switch {
		case due && !found && !full && len(s.writer.batch) == 0:
			state = asleep
			timer.Stop()
		case due || full:
			s.pour(true)
			timer.Reset(s.flush)
		}
		due = state == asleep // the next record comes after a pause
		s.report(false)
		s.state.Store(state)
		var again chan struct{}
		if s.wanted(state) {
			again = ready // no sleep, but quit and reopen get their turn
		}
		select {
		case <-again:
		case <-s.wake:
		case <-timer.C:
			due = true
		case c := <-s.reopen:
			s.change(c)
		case <-s.quit:
			s.end()
			return
		}
		s.state.Store(awake)
	}
}

// wanted reports whether a producer appended something before it could see the new state.
func (s *Sink) wanted(state uint32) bool {
	for _, r := range *s.rings.Load() {
		if n := r.holds(); n > 0 && (state == asleep || n >= r.size/4) {
			return true
		}
	}
	if l := s.lines.Load(); l != nil {
		n := l.holds()
		return n > 0 && (state == asleep || n >= l.max/4)
	}
	return false
}

// change writes what lies in the rings to the old file, since it was appended before the change.
func (s *Sink) change(c change) {
	defer close(c.done)
	w := &s.writer
	s.drain()
	if c.file == nil {
		return
	}
	if err := w.file.Close(); err != nil {
		s.failed(err)
	}
	w.out, w.file, w.torn, w.broken = c.file, c.file, false, false
}

func (s *Sink) end() {
	s.state.Store(closed)
	for s.drain() {
	}
	if s.writer.file != nil {
		if err := s.writer.file.Close(); err != nil {
			s.failed(err)
		}
	}
	s.report(true)
	s.free()
}

// free lets go of all room for lines: counters keep s for as long as they are read.
func (s *Sink) free() {
	s.writer.batch, s.writer.poured = nil, nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rings.Store(new([]*Ring))
	if l := s.lines.Load(); l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.waiting, l.taken, l.at = nil, nil, 0
	}
}

// drain writes what was gathered and what the producers have, and reports whether there was anything. What is appended
// meanwhile may be left: the rounds are as many as all rings take, and Lines with a gap and a long line in each half.
func (s *Sink) drain() (found bool) {
	rounds := 6 + (len(*s.rings.Load())+2)*s.ringBytes/s.writer.pourBytes()
	for full := true; full && rounds > 0; rounds-- {
		var some bool
		some, full = s.gather()
		found = found || some
		s.pour(false)
	}
	return found
}

// producer is a Ring or Lines, as the writer sees it.
type producer interface {
	peek() []byte
	advance(n int)
}

// gather takes lines from the producers, as many as fit. The next call goes on with the ring that had to wait. It
// reports whether it found any, and whether it is time to write them.
func (s *Sink) gather() (found, full bool) {
	w := &s.writer
	rings := *s.rings.Load()
	for range rings {
		r := rings[w.turn%len(rings)]
		for range 2 { // on both sides of the end of the ring
			some, left := w.take(r)
			if left {
				return true, true
			}
			if !some {
				break
			}
			found = true
		}
		w.turn = (w.turn + 1) % len(rings)
	}
	if l := s.lines.Load(); l != nil {
		some, left := w.takeLines(l)
		if found = found || some; left {
			return found, true
		}
	}
	return found, len(w.batch) >= w.pourBytes()
}

// takeLines gathers from l up to where lines were dropped: the notice comes there, before anything else is gathered.
func (w *writer) takeLines(l *Lines) (found, left bool) {
	for range 2 { // the rest of what it took before, and what waits
		if w.gap {
			break
		}
		some, left := w.take(l)
		if left {
			return true, true
		}
		found = found || some
		if l.at == len(l.taken) && l.seen != w.dropped {
			w.dropped, w.gap = l.seen, true
		}
	}
	return found, w.gap
}

// take gathers what p has in one piece, as far as there is room. It reports whether p had anything, and whether some of
// it has to wait for the next batch.
func (w *writer) take(p producer) (found, left bool) {
	lines := p.peek()
	if len(lines) == 0 {
		return false, false
	}
	whole := lines
	if room := cap(w.batch) - len(w.batch); len(lines) > room {
		whole = w.wholeWithin(lines, room)
	}
	if len(whole) == 0 && len(w.batch) > 0 {
		return true, true
	}
	if len(whole) == 0 { // one line is more than all the room
		whole = lines
	}
	w.batch = append(w.batch, whole...)
	p.advance(len(whole))
	return true, len(whole) < len(lines)
}

// wholeWithin returns the lines, or frames, at the begin of p that are within room bytes.
func (w *writer) wholeWithin(p []byte, room int) []byte {
	if !w.framed {
		return p[:bytes.LastIndexByte(p[:room], '\n')+1]
	}
	at := 0
	for n := FrameLen(p); n > 0 && at+n <= room; n = FrameLen(p[at:]) {
		at += n
	}
	return p[:at]
}

// count returns how many lines, or frames, are in p.
func (w *writer) count(p []byte) (n uint64) {
	if !w.framed {
		return uint64(bytes.Count(p, []byte{'\n'}))
	}
	for len(p) > 0 {
		p, n = p[max(FrameLen(p), 1):], n+1
	}
	return n
}

// pourBytes is how many bytes are enough to write them.
func (w *writer) pourBytes() int { return w.size / 4 * 3 }

// pour writes what was gathered, in pieces of whole lines. With meanwhile others get their turn between
// two of them, and what they append is gathered for the next time, so that no ring overflows while a
// slow output takes all this.
func (s *Sink) pour(meanwhile bool) {
	w := &s.writer
	lines, dropped := w.batch, w.dropped
	w.batch, w.poured, w.gap = w.poured[:0], lines, false
	for len(lines) > 0 {
		p := lines
		if len(p) > pieceBytes && !w.framed {
			if whole := w.wholeWithin(p, pieceBytes); len(whole) > 0 {
				p = whole
			}
		}
		s.write(p)
		if lines = lines[len(p):]; meanwhile && len(lines) > 0 {
			runtime.Gosched()
			s.gather()
		}
	}
	if cap(w.poured) > 2*w.size { // a long line went through
		w.poured = make([]byte, 0, w.size)
	}
	s.tell(dropped)
}

// recordsOnly is a RecordWriter as the output of a Sink.
type recordsOnly struct{ RecordWriter }

// Write writes whole frames.
func (r recordsOnly) Write(p []byte) (int, error) { return r.WriteRecords(p) }

// write hands whole lines to the output. Lines that it refuses are counted and lost: keeping them
// would only fill the rings.
func (s *Sink) write(p []byte) {
	n := s.put(p)
	if s.writer.framed { // a module may count a part of a frame
		n = len(s.writer.wholeWithin(p, n))
	}
	s.lost.Add(s.writer.count(p[n:]))
}

// put hands whole lines to the output and returns how many bytes it took.
func (s *Sink) put(p []byte) int {
	if len(p) == 0 {
		return 0
	}
	w := &s.writer
	w.broken = true
	if w.torn { // so that only one line is damaged
		if n, err := w.out.Write([]byte{'\n'}); n != 1 {
			s.failed(cmp.Or(err, io.ErrShortWrite))
			return 0
		}
		w.torn = false
	}
	n, err := w.out.Write(p)
	n = min(max(n, 0), len(p))
	s.writes.Add(1)
	s.written.Add(uint64(n))
	if n == len(p) && err == nil {
		w.broken = false
		return n
	}
	w.torn = n > 0 && p[n-1] != '\n' && !w.framed
	s.failed(cmp.Or(err, io.ErrShortWrite))
	return n
}

func (s *Sink) failed(err error) {
	s.errors.Add(1)
	s.writer.err = err
}

// tell writes a notice of the lines that are missing in the output, dropped of them for want of room, unless it has
// told of them before. An output that failed just now would lose it as well.
func (s *Sink) tell(dropped uint64) {
	w := &s.writer
	lost := s.lost.Load()
	if w.notice == nil || w.broken || dropped == w.toldDrops && lost == w.toldLost {
		return
	}
	err := w.err
	if lost == w.toldLost {
		err = nil // an old one
	}
	line := w.notice(dropped-w.toldDrops, lost-w.toldLost, err)
	if s.put(line) == len(line) {
		w.toldDrops, w.toldLost = dropped, lost
		s.told.Store(dropped + lost)
	}
}

// report tells the event log the failures since its last report, at most once a minute, except at
// the end.
func (s *Sink) report(last bool) {
	w := &s.writer
	if w.notice != nil {
		return
	}
	st := s.Stats()
	if st.Errors == w.toldErrors && st.Dropped == w.toldDrops {
		return
	}
	now := time.Now()
	if !last && !w.told.IsZero() && now.Sub(w.told) < reportEvery {
		return
	}
	if st.Errors != w.toldErrors {
		w.events.Error("log output cannot be written", "output", w.name, "err", w.err,
			"errors", st.Errors-w.toldErrors, "lost", st.Lost-w.toldLost)
	}
	if st.Dropped != w.toldDrops {
		w.events.Warn("log output is too slow", "output", w.name, "dropped", st.Dropped-w.toldDrops)
	}
	w.toldErrors, w.toldLost, w.toldDrops, w.told = st.Errors, st.Lost, st.Dropped, now
}
