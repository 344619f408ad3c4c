package interop

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const (
	greeting     = "hello"
	faultConnect = 500 * time.Millisecond // timeouts.connect
)

// What a greeter is told by its environment: where it listens, and how many connections may wait to be accepted. For
// further ones the kernel drops SYN, so that connections to a process that is stopped time out.
const (
	greeterAddr  = "EDGE_GREETER"
	greeterQueue = "EDGE_GREETER_QUEUE"
)

// runGreeter is a backend that greets each connection and ends it.
func runGreeter() {
	l, err := net.Listen("tcp", os.Getenv(greeterAddr))
	if err != nil {
		panic(err)
	}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		panic(err)
	}
	queue, _ := strconv.Atoi(os.Getenv(greeterQueue))
	raw.Control(func(fd uintptr) { unix.Listen(int(fd), queue) }) //nolint:errcheck // the test tells
	fmt.Println("ready")
	for {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		io.WriteString(c, greeting) //nolint:errcheck // the client may have left
		c.Close()                   //nolint:errcheck // the same
	}
}

func startGreeter(t *testing.T, addr, queue string) *testutil.Process {
	t.Helper()
	p := startChild(t, "greeter", greeterAddr+"="+addr, greeterQueue+"="+queue)
	p.WaitLine("ready")
	return p
}

// callers are clients that open one connection after the other at a proxy.
type callers struct {
	asked, failed atomic.Int64
	longest       atomic.Int64 // nanoseconds
}

const callersMax = 32

func (c *callers) String() string {
	return fmt.Sprintf("%d of %d failed, the longest took %v", c.failed.Load(), c.asked.Load(),
		time.Duration(c.longest.Load()).Round(time.Millisecond))
}

// call runs the clients until stop is closed. A connection fails that does not bring the greeting.
func (c *callers) call(addr string, stop chan struct{}, running *sync.WaitGroup) {
	for range callersMax {
		running.Go(func() {
			for tick := time.NewTicker(20 * time.Millisecond); ; {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				ok, waited := greeted(addr)
				if !ok {
					c.failed.Add(1)
				}
				c.asked.Add(1)
				for took := int64(waited); ; {
					if was := c.longest.Load(); took <= was || c.longest.CompareAndSwap(was, took) {
						break
					}
				}
			}
		})
	}
}

// greeted reports whether a proxy brings the greeting, and how long that took from the connection to the proxy on: what
// comes before is up to the kernel, which repeats a SYN that found no room after a second.
func greeted(addr string) (ok bool, waited time.Duration) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return false, 0
	}
	began := time.Now()
	defer conn.Close()                                  //nolint:errcheck // it has served
	conn.SetDeadline(time.Now().Add(testutil.Patience)) //nolint:errcheck // the read tells
	got, err := io.ReadAll(conn)
	return err == nil && string(got) == greeting, time.Since(began)
}

// A backend is killed, one is stopped, and one is killed again and again. Clients of edge get another backend, and none
// hangs for more than twice the time to connect. HAProxy has the same backends at the same time, and its figures are
// logged.
func TestServices_faults(t *testing.T) {
	addrs, queues := make([]string, 4), [...]string{"1000", "4", "1000", "1000"}
	greeters := make([]*testutil.Process, len(addrs))
	var servers, backends strings.Builder
	for i := range addrs {
		addrs[i] = testutil.FreeAddr(t)
		greeters[i] = startGreeter(t, addrs[i], queues[i])
		fmt.Fprintf(&servers, "\nserver b%d %s", i, addrs[i])
		fmt.Fprintf(&backends, "{ address = %q },", addrs[i])
	}
	f := &fronts{t: t}
	other := f.section("127.0.0.1", "", "balance roundrobin\nretries 3\noption redispatch\ntimeout connect 500ms\n"+
		"default-server check inter 100ms fall 2 rise 1%s", servers.String())
	f.haproxy()
	e := startEdge(t, "[services.relay]\ntype = \"tcp\"\nlisten = \"127.0.0.1:0\"\ndest = \"greeters\"\n"+
		"[upstreams.greeters]\nbackends = [%s]\ntimeouts.connect = %q\n"+
		"health_check = { interval = \"100ms\", timeout = \"100ms\", fall = 2, rise = 1 }\n",
		backends.String(), faultConnect.String())
	service := e.WaitLine(`"msg":"listening".*"listener":"relay".*"address":"([^"]+)"`)[1]

	byEdge, byHAProxy := &callers{}, &callers{}
	var running sync.WaitGroup
	stop := make(chan struct{})
	byEdge.call(service, stop, &running)
	byHAProxy.call(other.String(), stop, &running)
	deaths := 0
	die := func(i int, down time.Duration) {
		deaths++
		greeters[i].Signal(syscall.SIGKILL)
		lasts(t, down)
		greeters[i] = startGreeter(t, addrs[i], queues[i])
		lasts(t, 50*time.Millisecond)
	}
	report := func(what string) { t.Logf("%s: edge %v; HAProxy %v", what, byEdge, byHAProxy) }
	lasts(t, 200*time.Millisecond)
	die(0, time.Second)
	report("after the kill")
	greeters[1].Signal(syscall.SIGSTOP)
	lasts(t, faultConnect*3/2)
	greeters[1].Signal(syscall.SIGCONT)
	lasts(t, 200*time.Millisecond)
	report("after the stop")
	for range 10 {
		die(2, 50*time.Millisecond)
	}
	close(stop)
	running.Wait()
	report("after ten kills")
	// A connection that stands at a backend that dies is lost, as its bytes may have been used. On a busy machine more
	// than a fair share of them stand there, of HAProxy as well. Its rate is the measure: edge is asked more often.
	byRate := byHAProxy.failed.Load() * byEdge.asked.Load() / max(byHAProxy.asked.Load(), 1)
	most := max(int64(deaths*callersMax/len(addrs)), byRate*3/2)
	if byEdge.failed.Load() > most {
		t.Errorf("%v, want at most %d failures", byEdge, most)
	}
	if most := 2*faultConnect + time.Second; byEdge.longest.Load() > int64(most) { // and what a busy machine adds
		t.Errorf("%v, want at most %v", byEdge, most)
	}
}

func lasts(t *testing.T, d time.Duration) {
	began := time.Now()
	testutil.Eventually(t, testutil.Patience, func() bool { return time.Since(began) >= d })
}
