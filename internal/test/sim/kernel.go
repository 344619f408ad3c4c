package sim

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/poller"
)

// Kernel is one reactor's view of a World: an epoll set, and calls on the descriptors that all kernels share.
// Owned by its reactor, except Wake.
//
//	f is in ready, once  <=>  f.watcher == k && f.queued
//	asleep  =>  until != 0
type Kernel struct {
	w      *World
	index  int
	ready  []*file
	calls  Calls
	wakes  atomic.Int64
	woken  atomic.Bool
	asleep bool // the reactor has nothing to do before until, an edge or a Wake
	until  int64
	shut   bool
}

var _ poller.Kernel = (*Kernel)(nil)

// firstFD is the lowest descriptor given out, as in a process with the standard three.
const firstFD = 3

// advancesMax bounds how often one Wait moves the clock, should the test's own events go on for ever.
const advancesMax = 64

// file is what a descriptor stands for: an end of a connection, a door, or one of the two of a pipe.
type file struct {
	fd      poller.FD
	end     *end
	door    *door
	pipe    *pipe
	watcher *Kernel // nil: not registered
	token   poller.Token
	queued  bool
}

// Now reads the simulated clock.
func (k *Kernel) Now() int64 {
	k.calls.Now++
	return k.w.now
}

// Wait reports what is ready, some of it and in any order. When nothing is, it moves the clock to the next
// event of the World. It never blocks, so it may report nothing before until when another reactor has work.
func (k *Kernel) Wait(dst []poller.Event, until int64) int {
	w := k.w
	k.calls.Wait++
	w.advance(w.now+w.rng.Int64N(int64(w.Net.TickCost)+1), true)
	if until == math.MaxInt64 {
		until = -1
	}
	k.asleep, k.until = until != 0, until
	for range advancesMax {
		if slices.ContainsFunc(w.kernels, (*Kernel).runnable) || !w.tick() {
			break
		}
	}
	if k.woken.Swap(false) || until > 0 && until <= w.now {
		k.asleep = false
	}
	n := k.take(dst)
	if n > 0 {
		k.asleep = false
		w.trace.add(k, "wait", poller.NoFD, n, 0)
	}
	w.check()
	return n
}

// Wake ends the sleep of Wait. Safe for any goroutine.
func (k *Kernel) Wake() {
	k.wakes.Add(1)
	k.woken.Store(true)
}

// Shut takes the kernel out of the World: its reactor does not wait any more. Descriptors stay open.
func (k *Kernel) Shut() {
	if k.shut {
		k.w.misuse("kernel %d is shut twice", k.index)
	}
	k.shut = true
	for _, f := range k.w.files {
		if f != nil && f.watcher == k {
			f.watcher, f.queued = nil, false
		}
	}
	k.ready = nil
}

// Listen opens a listening socket.
func (k *Kernel) Listen(a poller.Addr, o *poller.ListenOptions) (poller.FD, poller.Addr, error) {
	k.calls.Listen++
	if o == nil {
		o = &poller.ListenOptions{}
	}
	d := &door{w: k.w, addr: a, opts: *o}
	d.opts.Backlog = cmp.Or(d.opts.Backlog, backlogDefault)
	if errno := k.w.bind(d); errno != 0 {
		return poller.NoFD, a, os.NewSyscallError("bind", errno)
	}
	f := k.w.open(&file{door: d})
	d.files = append(d.files, f)
	k.w.trace.add(k, "listen", f.fd, 0, 0)
	return f.fd, d.addr, nil
}

// Adopt takes over a descriptor that a kernel of the same World gave out, and that none watches.
func (k *Kernel) Adopt(fd poller.FD, o *poller.ListenOptions) (poller.Addr, error) {
	k.calls.Adopt++
	k.w.trace.add(k, "adopt", fd, 0, 0)
	f := k.file(fd, "adopt")
	switch {
	case f == nil:
		return poller.Addr{}, os.NewSyscallError("adopt", syscall.EBADF)
	case f.watcher != nil:
		k.w.misuse("fd %d is adopted while a reactor watches it", fd)
	case (f.door != nil) != (o != nil) || f.door != nil && f.door.port != nil:
		return poller.Addr{}, os.NewSyscallError("adopt", syscall.EINVAL)
	}
	if f.door == nil {
		if f.end.dead || f.end.connecting {
			return poller.Addr{}, os.NewSyscallError("getpeername", syscall.ENOTCONN)
		}
		return f.end.remote, nil
	}
	d := f.door
	d.opts.DeferAccept, d.mute = o.DeferAccept, false
	if d.opts.Backlog = o.Backlog; d.opts.Backlog == 0 {
		d.opts.Backlog = backlogDefault
	}
	return d.addr, nil
}

// Duplicate returns a second descriptor of a listening socket, or a UDP socket.
func (k *Kernel) Duplicate(fd poller.FD) (poller.FD, syscall.Errno) {
	k.calls.Duplicate++
	f := k.file(fd, "dup")
	switch {
	case f == nil:
		return poller.NoFD, syscall.EBADF
	case f.door == nil:
		k.w.misuse("a second descriptor of fd %d, which does not listen", fd)
		return poller.NoFD, syscall.EINVAL
	}
	again := k.w.open(&file{door: f.door})
	f.door.files = append(f.door.files, again)
	k.w.trace.add(k, "dup", fd, int(again.fd), 0)
	return again.fd, 0
}

// Accept takes the next waiting connection.
func (k *Kernel) Accept(l poller.FD) (poller.FD, poller.Addr, syscall.Errno) {
	k.calls.Accept++
	fd, a, errno := k.accept(l)
	k.w.trace.add(k, "accept", l, int(fd), errno)
	return fd, a, errno
}

func (k *Kernel) accept(l poller.FD) (poller.FD, poller.Addr, syscall.Errno) {
	f := k.file(l, "accept")
	switch {
	case f == nil:
		return poller.NoFD, poller.Addr{}, syscall.EBADF
	case f.door == nil:
		return poller.NoFD, poller.Addr{}, syscall.EINVAL
	case len(f.door.waiting) == 0:
		return poller.NoFD, poller.Addr{}, syscall.EAGAIN
	case k.w.chance(k.w.Faults.AcceptFull):
		return poller.NoFD, poller.Addr{}, syscall.EMFILE
	}
	e := f.door.take()
	if k.w.chance(k.w.Faults.AcceptAborted) {
		e.abort()
		return poller.NoFD, poller.Addr{}, syscall.ECONNABORTED
	}
	e.file = k.w.open(&file{end: e})
	return e.file.fd, e.remote, 0
}

// SetIntake changes which connections l takes.
func (k *Kernel) SetIntake(l poller.FD, i poller.Intake) {
	k.calls.SetIntake++
	k.w.trace.add(k, "intake", l, int(i), 0)
	f := k.file(l, "intake")
	if f == nil || f.door == nil || f.door.port != nil {
		k.w.misuse("intake of fd %d, which is no listening socket", l)
		return
	}
	d := f.door
	d.opts.DeferAccept = i == poller.IntakeSpeaking
	if d.addr.IsUnix() {
		d.refuses = d.refuses || i == poller.IntakeBegun
		return
	}
	d.mute = i == poller.IntakeBegun
}

// SetBacklog changes how many connections wait at l.
func (k *Kernel) SetBacklog(l poller.FD, n int) {
	k.w.trace.add(k, "backlog", l, n, 0)
	f := k.file(l, "backlog")
	if f == nil || f.door == nil || f.door.port != nil {
		k.w.misuse("backlog of fd %d, which is no listening socket", l)
		return
	}
	f.door.opts.Backlog = cmp.Or(n, backlogDefault)
}

// ConnectsBegun does not know.
func (k *Kernel) ConnectsBegun(...poller.FD) bool { return true }

// Connect begins a connection.
func (k *Kernel) Connect(a poller.Addr, o *poller.ConnectOptions) (poller.FD, syscall.Errno) {
	k.calls.Connect++
	fd, errno := k.connect(a, o)
	k.w.trace.add(k, "connect", fd, 0, errno)
	return fd, errno
}

func (k *Kernel) connect(a poller.Addr, o *poller.ConnectOptions) (poller.FD, syscall.Errno) {
	w := k.w
	e := w.newEnd(a.IsUnix())
	e.local, e.remote = w.ephemeral(a), a
	if o != nil && o.Bind.IsValid() {
		e.local.IP = addrPort(o.Bind, e.local.IP.Port())
	}
	if a.IsUnix() {
		if errno := w.connectUnix(e); errno != 0 {
			return poller.NoFD, errno
		}
		e.file = w.open(&file{end: e})
		return e.file.fd, 0
	}
	if w.chance(w.Faults.ConnectUnreachable) {
		return poller.NoFD, syscall.ENETUNREACH
	}
	e.file = w.open(&file{end: e})
	switch d := w.doorAt(a); {
	case w.chance(w.Faults.ConnectRefused):
		w.after(w.delay(), func() { e.fail(syscall.ECONNREFUSED) })
	case w.chance(w.Faults.ConnectTimeout):
		w.after(int64(synTimeout), func() { e.fail(syscall.ETIMEDOUT) })
	case d != nil && d.room() && w.chance(w.Net.ConnectNow):
		w.join(e, d, 0)
		return e.file.fd, 0
	default:
		w.after(w.delay(), func() { w.syn(e) })
	}
	return e.file.fd, syscall.EINPROGRESS
}

// SockError takes the pending error.
func (k *Kernel) SockError(fd poller.FD) syscall.Errno {
	k.calls.SockError++
	e := k.end(fd, "getsockopt")
	if e == nil {
		return syscall.EBADF
	}
	return e.takeError()
}

// AckNow does nothing but look at fd: nothing is delayed.
func (k *Kernel) AckNow(fd poller.FD) {
	k.calls.AckNow++
	k.end(fd, "setsockopt")
}

// LocalAddr is the address of our end.
func (k *Kernel) LocalAddr(fd poller.FD) poller.Addr {
	k.calls.LocalAddr++
	switch f := k.file(fd, "getsockname"); {
	case f == nil:
		return poller.Addr{}
	case f.door != nil:
		return f.door.addr
	default:
		return f.end.local
	}
}

// Read reads what has arrived. As with the real kernel the count is -1 beside an error.
func (k *Kernel) Read(fd poller.FD, p []byte) (int, syscall.Errno) {
	k.calls.Read++
	k.w.drift()
	if q := k.pipe(fd); q != nil {
		return q.read(p)
	}
	e := k.end(fd, "read")
	if e == nil {
		return -1, syscall.EBADF
	}
	n, errno := e.read(p)
	k.w.trace.add(k, "read", fd, n, errno)
	return n, errno
}

// Write writes what the socket has room for.
func (k *Kernel) Write(fd poller.FD, p []byte) (int, syscall.Errno) {
	k.calls.Write++
	k.w.drift()
	e := k.end(fd, "write")
	if e == nil {
		return -1, syscall.EBADF
	}
	n, errno := e.write(p)
	k.w.trace.add(k, "write", fd, n, errno)
	return n, errno
}

// WriteLast is Write, and what the socket took whole leaves with FIN.
func (k *Kernel) WriteLast(fd poller.FD, p []byte) (int, syscall.Errno) {
	if e := k.end(fd, "write"); e != nil {
		e.corked = true
		defer func() { e.corked = false }()
	}
	return k.Write(fd, p)
}

// Writev writes what the socket has room for.
func (k *Kernel) Writev(fd poller.FD, bufs [][]byte) (int, syscall.Errno) {
	k.calls.Writev++
	k.w.drift()
	e := k.end(fd, "writev")
	if e == nil {
		return -1, syscall.EBADF
	}
	if len(bufs) > poller.IOVMax {
		k.w.misuse("writev of %d buffers", len(bufs))
		return -1, syscall.EINVAL
	}
	n, errno := e.write(bufs...)
	k.w.trace.add(k, "writev", fd, n, errno)
	return n, errno
}

// Add registers fd and reports at the next Wait what holds already.
func (k *Kernel) Add(fd poller.FD, t poller.Token) syscall.Errno {
	k.calls.Add++
	k.w.trace.add(k, "add", fd, int(t.Slot()), 0)
	f := k.file(fd, "add")
	if f == nil {
		return syscall.EBADF
	}
	if f.watcher != nil {
		k.w.misuse("fd %d is added twice", fd)
		return syscall.EEXIST
	}
	f.watcher, f.token = k, t
	if f.poll() != 0 {
		f.edge()
	}
	return 0
}

// Del takes fd out.
func (k *Kernel) Del(fd poller.FD) syscall.Errno {
	k.calls.Del++
	k.w.trace.add(k, "del", fd, 0, 0)
	f := k.file(fd, "del")
	if f == nil {
		return syscall.EBADF
	}
	if f.watcher == nil {
		return syscall.ENOENT
	}
	f.unwatch()
	return 0
}

// CloseWrite sends FIN after what was written.
func (k *Kernel) CloseWrite(fd poller.FD) syscall.Errno {
	k.calls.CloseWrite++
	e := k.end(fd, "shutdown")
	if e == nil {
		return syscall.EBADF
	}
	errno := e.closeWrite()
	k.w.trace.add(k, "shutdown", fd, 0, errno)
	return errno
}

// Close closes fd: with FIN, or with RST when it held unread bytes. The number is free at once.
func (k *Kernel) Close(fd poller.FD) {
	k.calls.Close++
	k.w.trace.add(k, "close", fd, 0, 0)
	if e := k.release(fd, "close"); e != nil {
		e.close()
	}
}

// Reset closes fd with RST.
func (k *Kernel) Reset(fd poller.FD) {
	k.calls.Reset++
	k.w.trace.add(k, "reset", fd, 0, 0)
	if e := k.release(fd, "reset"); e != nil {
		e.reset()
	}
}

// release frees the number fd. It returns the end of a connection that this was; a listening socket is closed.
func (k *Kernel) release(fd poller.FD, call string) *end {
	f := k.file(fd, call)
	if f == nil {
		return nil
	}
	f.unwatch()
	k.w.files[fd] = nil
	switch {
	case f.door != nil:
		f.door.release(f)
		return nil
	case f.pipe != nil:
		return nil
	}
	f.end.file = nil
	return f.end
}

// Index is the number of the kernel's reactor.
func (k *Kernel) Index() int { return k.index }

// Calls returns the counts so far.
func (k *Kernel) Calls() Calls {
	c := k.calls
	c.Wake = int(k.wakes.Load())
	return c
}

// take moves ready files to dst, in seeded order, and now and then leaves some or all for later. What holds is looked
// up now: a file of which nothing holds any more is dropped.
func (k *Kernel) take(dst []poller.Event) int {
	rng := k.w.rng
	rng.Shuffle(len(k.ready), func(i, j int) { k.ready[i], k.ready[j] = k.ready[j], k.ready[i] })
	limit := len(dst)
	if rng.IntN(8) == 0 {
		limit = min(limit, rng.IntN(len(k.ready)+1))
	}
	n, seen := 0, 0
	for seen < len(k.ready) && n < limit {
		f := k.ready[seen]
		seen++
		f.queued = false
		if r := f.poll(); r != 0 {
			dst[n] = poller.Event{Token: f.token, Ready: r}
			n++
		}
	}
	k.ready = k.ready[:copy(k.ready, k.ready[seen:])]
	return n
}

// runnable reports whether the reactor would do something if it had its turn, or is doing it.
func (k *Kernel) runnable() bool {
	return !k.shut && (!k.asleep || len(k.ready) > 0 || k.woken.Load() || k.until > 0 && k.until <= k.w.now)
}

func (k *Kernel) describe() string {
	state := "awake"
	switch {
	case k.shut:
		state = "shut"
	case k.asleep && k.until < 0:
		state = "asleep"
	case k.asleep:
		state = fmt.Sprintf("asleep until %v", time.Duration(k.until-clockStart))
	}
	return fmt.Sprintf("%s, %d ready, woken %v, calls %+v", state, len(k.ready), k.woken.Load(), k.Calls())
}

// file finds what fd stands for. Only the reactor that registered it may ask.
func (k *Kernel) file(fd poller.FD, call string) *file {
	if fd < 0 || int(fd) >= len(k.w.files) || k.w.files[fd] == nil {
		k.w.misuse("%s of fd %d, which is not open, by reactor %d", call, fd, k.index)
		return nil
	}
	f := k.w.files[fd]
	if f.watcher != nil && f.watcher != k {
		k.w.misuse("%s of fd %d by reactor %d, while reactor %d owns it", call, fd, k.index, f.watcher.index)
	}
	return f
}

func (k *Kernel) end(fd poller.FD, call string) *end {
	f := k.file(fd, call)
	if f == nil {
		return nil
	}
	if f.end == nil {
		k.w.misuse("%s of fd %d, which is no connection", call, fd)
	}
	return f.end
}

// open gives f the lowest free descriptor.
func (w *World) open(f *file) *file {
	for fd := firstFD; fd < len(w.files); fd++ {
		if w.files[fd] == nil {
			f.fd, w.files[fd] = poller.FD(fd), f
			return f
		}
	}
	f.fd = poller.FD(len(w.files))
	w.files = append(w.files, f)
	return f
}

// tick moves the clock to the next event, or to the end of a reactor's sleep if that is earlier.
func (w *World) tick() bool {
	next, ok := w.next()
	for _, k := range w.kernels {
		if !k.shut && k.until > 0 && (!ok || k.until < next) {
			next, ok = k.until, true
		}
	}
	if ok {
		w.advance(max(next, w.now), true)
	}
	return ok
}

// edge puts f on the ready list of its kernel: something happened to it.
func (f *file) edge() {
	if f.watcher == nil || f.queued {
		return
	}
	f.queued = true
	f.watcher.ready = append(f.watcher.ready, f)
}

func (f *file) unwatch() {
	if k := f.watcher; k != nil && f.queued {
		for i, r := range k.ready {
			if r == f {
				k.ready = append(k.ready[:i], k.ready[i+1:]...)
				break
			}
		}
	}
	f.watcher, f.queued = nil, false
}

// poll reports what holds now.
func (f *file) poll() poller.Ready {
	switch {
	case f.end != nil:
		return f.end.poll()
	case f.pipe != nil:
		return 0
	case f.door.port != nil:
		return f.door.port.poll()
	}
	if len(f.door.waiting) > 0 {
		return poller.CanRead
	}
	return 0
}

func (f *file) describe() string {
	owner := "nobody's"
	if f.watcher != nil {
		owner = fmt.Sprintf("reactor %d's, queued %v", f.watcher.index, f.queued)
	}
	if f.pipe != nil {
		return fmt.Sprintf("a pipe with %d/%d", f.pipe.len(), f.pipe.max)
	}
	if f.door != nil && f.door.port != nil {
		p := f.door.port
		return fmt.Sprintf("UDP %s, %d unread, out %d/%d, full %v, %s",
			f.door.addr, len(p.in), p.out, p.outMax, p.full, owner)
	}
	if f.door != nil {
		return fmt.Sprintf("listens on %s, %d waiting, %s", f.door.addr, len(f.door.waiting), owner)
	}
	return fmt.Sprintf("%s, %s", f.end, owner)
}
