package interop

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// farNet is a network device at whose other end is this machine itself, far away: what is sent to farPeer comes back
// from there to farHost. The addresses of a packet change places for it, which no checksum sees.
//
//	from a server:  queue of a bottleneck ──► loss ──► half of the round trip
//	to it:                                             half of the round trip
type farNet struct {
	tun     *os.File
	servers atomic.Pointer[[]uint16] // their ports
	rate    float64                  // bytes a second
	queue   time.Duration            // that the bottleneck holds
	trip    time.Duration
	loss    float64
}

const (
	farHost = "10.213.99.1"
	farPeer = "10.213.99.2"
)

// newFarNet makes the device. It needs root.
func newFarNet(t *testing.T) *farNet {
	t.Helper()
	const name = "edge-far0"
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("no devices can be made: %v", err)
	}
	request, err := unix.NewIfreq(name)
	testutil.Must(t, err)
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		t.Skipf("no devices can be made: %v", err)
	}
	f := &farNet{tun: os.NewFile(uintptr(fd), name)} // the poller would see an error for ever if it were no device yet
	t.Cleanup(func() { _ = f.tun.Close() })
	for _, args := range [][]string{
		{"addr", "add", farHost + "/24", "dev", name},
		{"link", "set", name, "up", "mtu", "1500", "txqueuelen", "10000"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	f.servers.Store(new([]uint16))
	return f
}

// inFlight is a packet that arrives at a time.
type inFlight struct {
	at time.Time
	b  []byte
}

// run passes packets on until the device is closed.
func (f *farNet) run() {
	down, up := make(chan inFlight, 1<<14), make(chan inFlight, 1<<14)
	defer close(down)
	defer close(up)
	for _, way := range []chan inFlight{down, up} {
		go func() {
			for p := range way {
				<-time.After(time.Until(p.at))
				_, _ = f.tun.Write(p.b)
			}
		}()
	}
	free := time.Now() // when the bottleneck has sent all that it has
	for {
		b := make([]byte, 2048)
		n, err := f.tun.Read(b)
		if err != nil {
			return
		}
		if b = b[:n]; n < 28 || b[0] != 0x45 {
			continue
		}
		from := binary.BigEndian.Uint16(b[20:])
		for i := range 4 {
			b[12+i], b[16+i] = b[16+i], b[12+i]
		}
		now := time.Now()
		if !slices.Contains(*f.servers.Load(), from) {
			up <- inFlight{now.Add(f.trip / 2), b}
			continue
		}
		if free.Before(now) {
			free = now
		}
		if free.Sub(now) > f.queue || rand.Float64() < f.loss {
			continue
		}
		free = free.Add(time.Duration(float64(n) / f.rate * 1e9))
		down <- inFlight{free.Add(f.trip / 2), b}
	}
}

// zeros is a body without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// cubicServer sends zeros to each client, with the kernel's CUBIC.
func cubicServer(t *testing.T) (addr string) {
	t.Helper()
	listen := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		_ = c.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic")
		})
		return err
	}}
	l, err := listen.Listen(t.Context(), "tcp4", farHost+":0")
	testutil.Must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, zeros{})
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// received counts what comes from r in ten seconds, in bits a second. Three seconds before that it has to begin.
func received(t *testing.T, r io.Reader) float64 {
	t.Helper()
	b, sum := make([]byte, 64<<10), 0
	begin := time.Now()
	from := begin.Add(3 * time.Second)
	for {
		n, err := r.Read(b)
		testutil.Must(t, err)
		switch now := time.Now(); {
		case now.After(from.Add(10 * time.Second)):
			return float64(sum) * 8 / 10
		case now.After(from):
			sum += n
		}
	}
}

// The goodput of an answer over HTTP/3 beside the goodput over TCP with the CUBIC of the kernel, one after the other in
// the same network: medians of three rounds. EDGE_SOAK=1, as root.
func TestHTTP3_goodputBesideTCP(t *testing.T) {
	if os.Getenv("EDGE_SOAK") == "" {
		t.Skip("takes eleven minutes: EDGE_SOAK=1")
	}
	f := newFarNet(t)
	origin := serveOrigin(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, zeros{})
	}))
	e := startEdge(t, "[[listeners]]\nname = \"far\"\nlisten = %q\ntls = true\nprotocols = [\"h1\", \"h2\", \"h3\"]\n"+
		"[[routes]]\npattern = \"/\"\ndest = \"web\"\n[upstreams.web]\nbackends = [{ address = %q }]\n",
		farHost+":0", origin)
	far := e.WaitLine(`"msg":"listening".*"listener":"far".*"address":"([^"]+)"`)[1]
	tcp := cubicServer(t)
	f.servers.Store(&[]uint16{uint16(port(t, far)), uint16(port(t, tcp))})
	go f.run()
	atPeer := func(addr string) string { return fmt.Sprintf("%s:%d", farPeer, port(t, addr)) }

	overTCP := func() float64 {
		c, err := net.Dial("tcp4", atPeer(tcp))
		testutil.Must(t, err)
		defer c.Close() //nolint:errcheck // was read
		return received(t, c)
	}
	overHTTP3 := func() float64 {
		x := &http3.Transport{TLSClientConfig: e.client("h3")}
		defer x.Close() //nolint:errcheck // was read
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "GET", "https://"+atPeer(far)+"/", nil)
		testutil.Must(t, err)
		resp, err := x.RoundTrip(r)
		testutil.Must(t, err)
		return received(t, resp.Body)
	}
	f.rate = 100e6 / 8
	for _, f.trip = range []time.Duration{20 * time.Millisecond, 80 * time.Millisecond} {
		for _, c := range []struct{ loss, queue float64 }{{0, 1}, {0, 0.2}, {0.01, 1}, {0.03, 1}} {
			f.loss, f.queue = c.loss, time.Duration(c.queue*float64(f.trip))
			var all [2][]float64
			for range 3 {
				all[0], all[1] = append(all[0], overHTTP3()), append(all[1], overTCP())
			}
			slices.Sort(all[0])
			slices.Sort(all[1])
			ours, theirs := all[0][1]/1e6, all[1][1]/1e6
			t.Logf("%v, a queue of %g round trips, loss %g %%: %.2f Mbit/s, TCP %.2f: %.2f (%.2g, %.2g)", f.trip,
				c.queue, 100*c.loss, ours, theirs, ours/theirs, all[0], all[1])
			if ours < 0.9*theirs {
				t.Errorf("less than 0.9 of TCP")
			}
		}
	}
}
