package warm

import (
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// Crowd is a proxy with many clients, each of which asks again when it has its answer. It shows, beside a Rig, how much
// longer an exchange takes whose connections the caches of the processor have lost.
type Crowd struct {
	*Rig
	kernel *crowdKernel
}

// NewCrowd makes a Crowd of n clients that send Small.
func NewCrowd(t testing.TB, n int) *Crowd {
	t.Helper()
	k := &crowdKernel{
		Loop: sim.NewLoop(), ready: make([]poller.FD, 2*n), mem: make([]byte, (2*n+2*door)*touched),
	}
	g := &Crowd{&Rig{Loop: k.Loop, kernel: k}, k}
	e, service := g.build(t, &proxy.Listener{}, all(nil))
	k.OnConnect = func(fd poller.FD, _ poller.Addr) { k.sock(fd).up = true }
	g.listen(t, e, session.NewServer(e, service, session.ServerOptions{}).Accept)
	for i := range n {
		fd := g.down // that listen has made
		if i > 0 {
			fd = g.Loop.Offer(door, poller.Addr{IP: clientAddr})
		}
		k.arrive(fd, smallRequest)
		g.reactor.Tick()
	}
	g.Exchanges(20 * n)
	return g
}

// Exchanges runs the reactor until the clients have got n more answers, or some more.
func (g *Crowd) Exchanges(n int) {
	for end := g.Trips + n; g.Trips < end; g.Trips = g.kernel.trips {
		g.reactor.Tick()
	}
}

// crowdKernel tells of sockets in the order in which they have become ready. In each call it touches memory of the
// socket, as the real one does.
type crowdKernel struct {
	*sim.Loop
	socks []crowdSock // by descriptor
	ready []poller.FD // a ring
	first int         // of ready
	count int         // of ready
	mem   []byte      // touched bytes for each socket
	trips int         // answers that clients have got
}

// crowdSock is a socket of a crowdKernel.
type crowdSock struct {
	token poller.Token
	in    []byte // to be read
	added bool
	up    bool // to the origin
}

// touched is how much memory of a socket a call touches, about.
const touched = 2 << 10

func (k *crowdKernel) sock(fd poller.FD) *crowdSock {
	for int(fd) >= len(k.socks) {
		k.socks = append(k.socks, crowdSock{})
	}
	return &k.socks[fd]
}

// arrive makes p readable at fd.
func (k *crowdKernel) arrive(fd poller.FD, p []byte) {
	s := k.sock(fd)
	if s.in = p; s.added {
		k.push(fd)
	}
}

func (k *crowdKernel) push(fd poller.FD) {
	k.ready[(k.first+k.count)%len(k.ready)] = fd
	k.count++
}

func (k *crowdKernel) touch(fd poller.FD) {
	m := k.mem[int(fd)*touched:][:touched]
	for i := 0; i < len(m); i += 64 {
		m[i]++
	}
}

// Add registers fd.
func (k *crowdKernel) Add(fd poller.FD, t poller.Token) syscall.Errno {
	s := k.sock(fd)
	if s.token, s.added = t, true; s.in != nil {
		k.push(fd)
	}
	return k.Loop.Add(fd, t)
}

// Wait tells of the sockets that are ready, and of the events of the Loop. It does not sleep: the clock does not jump.
func (k *crowdKernel) Wait(dst []poller.Event, _ int64) (n int) {
	for n = k.Loop.Wait(dst, 0); n < len(dst) && k.count > 0; n++ {
		dst[n] = poller.Event{Token: k.socks[k.ready[k.first]].token, Ready: poller.CanRead | poller.CanWrite}
		k.first = (k.first + 1) % len(k.ready)
		k.count--
	}
	return n
}

// Read reads all bytes that have arrived.
func (k *crowdKernel) Read(fd poller.FD, p []byte) (int, syscall.Errno) {
	s := &k.socks[fd]
	k.touch(fd)
	n := copy(p, s.in)
	if s.in = nil; n == 0 {
		return 0, syscall.EAGAIN
	}
	return n, 0
}

// Write takes a whole message: the origin answers it, and a client asks again.
func (k *crowdKernel) Write(fd poller.FD, p []byte) (int, syscall.Errno) {
	k.touch(fd)
	if k.sock(fd).up {
		k.arrive(fd, answer)
	} else {
		k.trips++
		k.arrive(fd, smallRequest)
	}
	return len(p), 0
}

var smallRequest = []byte(Small)
