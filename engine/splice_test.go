package engine_test

import (
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
)

// piping is a kernel that splices as onSplice says.
type piping struct {
	poller.Kernel
	open     int // ends of pipes
	onPipe   syscall.Errno
	onSplice func(from, to poller.FD, n int) (int, syscall.Errno)
}

// Descriptors of its one pipe.
const pipeOut, pipeIn poller.FD = 1000, 1001

func (k *piping) Pipe(size int) (r, w poller.FD, got int, e syscall.Errno) {
	if k.onPipe != 0 {
		return poller.NoFD, poller.NoFD, 0, k.onPipe
	}
	k.open += 2
	return pipeOut, pipeIn, size, 0
}

func (k *piping) Splice(from, to poller.FD, n int) (int, syscall.Errno) {
	return k.onSplice(from, to, n)
}

func (k *piping) Read(fd poller.FD, p []byte) (int, syscall.Errno) {
	if fd == pipeOut {
		return copy(p, "in the pipe"), 0
	}
	return k.Kernel.Read(fd, p)
}

func (k *piping) Close(fd poller.FD) {
	if fd >= pipeOut {
		k.open--
		return
	}
	k.Kernel.Close(fd)
}

// splicing is a relay of one direction, which splices as soon as it may.
type splicing struct {
	script
	splice engine.Splice
	to     *engine.Conn
}

func (h *splicing) OnData(c *engine.Conn, in []byte) int {
	h.to.Write(in)
	c.Splice(&h.splice, h.to, 1<<20, h)
	return len(in)
}

func (h *splicing) OnSpliced(int, int, bool) {}

const spliceRead = "0123456789abcdef" // a full read

// piped makes a rig with two connections, of which from is spliced to the other.
func piped(t *testing.T) (g *rig, k *piping, from, to *engine.Conn, fromFD, toFD poller.FD) {
	g = newRig(t, engine.Options{ReadSize: len(spliceRead), SpliceMin: 1})
	k = &piping{Kernel: g.loop}
	g.kernel.Kernel = k
	h := &splicing{}
	to, toFD = g.open(&script{})
	from, fromFD = g.open(h)
	h.to = to
	return g, k, from, to, fromFD, toFD
}

// A profile of system calls refuses what it does not list: with EPERM, mostly. The bytes are copied then, also those
// that are in a pipe already.
func TestSplice_refusedIsCopied(t *testing.T) {
	for _, e := range []syscall.Errno{
		syscall.ENOSYS, syscall.EINVAL, syscall.EPERM, syscall.EACCES, syscall.EOPNOTSUPP,
	} {
		for _, refused := range []string{"pipe", "pull", "push"} {
			g, k, from, _, fromFD, toFD := piped(t)
			asked := 0
			k.onSplice = func(_, to poller.FD, _ int) (int, syscall.Errno) {
				asked++
				if to == pipeIn && refused == "push" {
					return len("in the pipe"), 0
				}
				return -1, e
			}
			want := spliceRead + spliceRead + spliceRead
			switch refused {
			case "pipe":
				k.onPipe = e
			case "push":
				want = spliceRead + "in the pipe" + spliceRead + spliceRead
			}
			for range 3 {
				g.inject(fromFD, spliceRead)
			}
			g.ticks(2)
			if got := g.sent(toFD); got != want || !from.Open() || !from.Reading() || asked > 2 {
				t.Errorf("%v of %s: %q was sent, open %v, %d splices asked for", e, refused, got, from.Open(), asked)
			}
		}
	}
}

// A pipe is refused for a while: descriptors or memory ran out. It is asked for again.
func TestSplice_withoutPipesIsCopied(t *testing.T) {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		g, k, _, _, fromFD, toFD := piped(t)
		k.onPipe = e
		spliced := false
		k.onSplice = func(poller.FD, poller.FD, int) (int, syscall.Errno) { spliced = true; return -1, syscall.EAGAIN }
		g.inject(fromFD, spliceRead)
		g.inject(fromFD, spliceRead)
		if got := g.sent(toFD); got != spliceRead+spliceRead || spliced {
			t.Errorf("%v: %q was sent, spliced %v", e, got, spliced)
		}
		k.onPipe = 0
		g.inject(fromFD, spliceRead)
		g.inject(fromFD, spliceRead)
		if !spliced {
			t.Errorf("%v: no pipe is asked for any more", e)
		}
	}
}

// The destination breaks while a pipe waits for it, and bytes of its peer lie unread, so that it is not closed at once:
// the source is read again.
func TestSplice_endsWhenItsDestinationTakesNoMore(t *testing.T) {
	g, k, from, to, fromFD, toFD := piped(t)
	k.onSplice = func(_, to poller.FD, n int) (int, syscall.Errno) {
		if to == pipeIn {
			return n, 0
		}
		return -1, syscall.EAGAIN
	}
	g.inject(fromFD, spliceRead)
	g.inject(fromFD, spliceRead)
	if from.Reading() || k.open != 2 {
		t.Fatalf("no splice waits: reading %v, %d ends of pipes", from.Reading(), k.open)
	}
	g.on(func() { to.PauseRead() })
	g.inject(toFD, "unread")
	g.kernel.onWrite = func(poller.FD, []byte) (int, syscall.Errno) { return -1, syscall.EPIPE }
	g.on(func() { to.Write([]byte("more")) })
	g.loop.Drained(toFD)
	g.ticks(3)
	if !from.Reading() || k.open != 0 {
		t.Errorf("reading %v, %d ends of pipes", from.Reading(), k.open)
	}
}

// One socket is refused, as sockets of some families are: its connection is copied from then on, without another try,
// and others are spliced all the same.
func TestSplice_refusalIsOfOneConnection(t *testing.T) {
	for _, refused := range []string{"pull", "push"} {
		g, k, from, to, fromFD, toFD := piped(t)
		asked, others := 0, 0
		k.onSplice = func(r, w poller.FD, _ int) (int, syscall.Errno) {
			switch {
			case r == fromFD && refused == "pull", w == toFD:
				asked++
				return -1, syscall.EINVAL
			case r == fromFD:
				return len("in the pipe"), 0
			case w == pipeIn:
				others++
			}
			return -1, syscall.EAGAIN
		}
		var other splicing
		var otherFD poller.FD
		other.to, _ = g.open(&script{})
		_, otherFD = g.open(&other)
		for range 4 {
			g.inject(fromFD, spliceRead)
		}
		for range 2 {
			g.inject(otherFD, spliceRead)
		}
		if asked != 1 || others == 0 || !from.Open() || !to.Open() {
			t.Errorf("%s: %d splices of the refused socket, %d of another", refused, asked, others)
		}
	}
}
