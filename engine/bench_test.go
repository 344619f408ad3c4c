package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

var loopback = poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}

// What the engine itself costs: everything but system calls.
func BenchmarkReactor_echo(b *testing.B) {
	for _, conns := range []int{1, 64, 1000} {
		for _, size := range []int{128, 16 << 10} {
			b.Run(fmt.Sprintf("conns=%d/size=%d", conns, size), func(b *testing.B) {
				r, l, fds := loopEcho(b, conns, echoAll{})
				p := make([]byte, size)
				l.Pump = func() {
					for _, fd := range fds {
						s := l.Sock(fd)
						s.Sent = s.Sent[:0]
						l.Inject(fd, p)
					}
				}
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for n := 0; n < b.N; n += conns { // an operation is one echo
					r.Tick()
				}
			})
		}
	}
}

// The same over real sockets of this process: the client's calls are in it too.
func BenchmarkReactor_echoSockets(b *testing.B) {
	const conns = 64
	for name, park := range map[string]poller.Park{"runtime": poller.ParkRuntime, "syscall": poller.ParkSyscall} {
		b.Run("park="+name, func(b *testing.B) {
			_, l := startEchoAll(b, Options{Reactors: 1, Park: park})
			clients := make([]net.Conn, conns)
			for i := range clients {
				clients[i] = dialBench(b, l.Addr())
			}
			p := make([]byte, 128)
			b.ReportAllocs()
			b.SetBytes(int64(len(p)))
			for n := 0; n < b.N; n += conns {
				for _, c := range clients {
					c.Write(p)
				}
				for _, c := range clients {
					if _, err := io.ReadFull(c, p); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func startEchoAll(tb testing.TB, o Options) (*Engine, *Listener) {
	tb.Helper()
	e, err := New(o)
	testutil.Must(tb, err)
	l, err := e.Listen(ListenOptions{Addr: loopback}, func(*Conn) Handler { return echoAll{} })
	testutil.Must(tb, err)
	e.Start()
	tb.Cleanup(e.Stop)
	return e, l
}

func dialBench(tb testing.TB, a poller.Addr) net.Conn {
	tb.Helper()
	c, err := net.Dial("tcp", a.IP.String())
	testutil.Must(tb, err)
	tb.Cleanup(func() { c.Close() })
	return c
}

// A post and its run, with and without others that post.
func BenchmarkMailbox_post(b *testing.B) {
	b.Run("alone", func(b *testing.B) {
		var m mailbox
		t := &Task{}
		b.ReportAllocs()
		for b.Loop() {
			m.post(t)
			m.take()
		}
	})
	b.Run("contended", func(b *testing.B) {
		var m mailbox
		var stop atomic.Bool
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for !stop.Load() {
				if m.take() == nil {
					runtime.Gosched()
				}
			}
		}()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				m.post(&Task{})
			}
		})
		stop.Store(true)
		<-ended
	})
}

// From one reactor to another that sleeps, and back.
func BenchmarkReactor_postRoundTrip(b *testing.B) {
	e, _ := startEchoAll(b, Options{Reactors: 2})
	from, to := e.reactors[0], e.reactors[1]
	there, back := &Task{}, &Task{}
	done := make(chan struct{})
	left := b.N
	there.Run = func(*Reactor) { from.Post(back) }
	back.Run = func(*Reactor) {
		if left--; left == 0 {
			close(done)
			return
		}
		to.Post(there)
	}
	b.ReportAllocs()
	b.ResetTimer()
	to.Post(there)
	<-done
}

func BenchmarkConn_setTimeout(b *testing.B) {
	r, _, _ := loopEcho(b, 1, echoAll{})
	c := r.slots[1].conn
	b.ReportAllocs()
	for b.Loop() {
		r.now += 1000
		c.SetTimeout(time.Minute) // later each time: the wheel is not touched
	}
}

func BenchmarkReactor_armDisarm(b *testing.B) {
	r, _, _ := loopEcho(b, 1, echoAll{})
	t := &Timer{Run: func(*Reactor) {}}
	b.ReportAllocs()
	for b.Loop() {
		r.Arm(t, r.now+int64(time.Second))
		r.Disarm(t)
	}
}

func BenchmarkOffload_roundTrip(b *testing.B) {
	e, _ := startEchoAll(b, Options{Reactors: 1})
	r := e.reactors[0]
	done := make(chan struct{})
	left := b.N
	j := &Job{Do: func(context.Context) {}}
	j.Done.Run = func(r *Reactor) {
		if left--; left == 0 {
			close(done)
		} else if err := r.Offload(j); err != nil {
			b.Error(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	r.Post(&Task{Run: func(r *Reactor) {
		if err := r.Offload(j); err != nil {
			b.Error(err)
		}
	}})
	<-done
}

// BenchmarkReactor_startDelay tells how late an ordinary goroutine starts while no reactor ever sleeps. An operation is
// two starts; the percentiles are the result.
func BenchmarkReactor_startDelay(b *testing.B) {
	reactors := runtime.GOMAXPROCS(0)
	for _, procs := range []int{reactors, reactors + 1} {
		b.Run(fmt.Sprintf("reactors=%d/procs=%d", reactors, procs), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			e, _ := startEchoAll(b, Options{Reactors: reactors})
			var stop atomic.Bool
			for _, r := range e.reactors {
				busy := &Task{}
				busy.Run = func(r *Reactor) {
					for until := r.kernel.Now() + 20_000; r.kernel.Now() < until; {
					}
					if !stop.Load() {
						r.Post(busy)
					}
				}
				r.Post(busy)
			}
			report(b, "", startedByReactor(e.reactors[0], b.N))
			report(b, "timer-", startedByTimer(b.N))
			stop.Store(true)
		})
	}
}

// startedByReactor starts n goroutines from a callback of r, one every 2 ms.
func startedByReactor(r *Reactor, n int) []time.Duration {
	delays := make(chan time.Duration, n)
	starter, left := &Timer{}, n
	starter.Run = func(r *Reactor) {
		begun := time.Now()
		go func() { delays <- time.Since(begun) }()
		if left--; left > 0 {
			r.Arm(starter, r.Now()+int64(2*time.Millisecond))
		}
	}
	r.Post(&Task{Run: func(r *Reactor) { r.Arm(starter, r.Now()) }})
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = <-delays
	}
	return all
}

// startedByTimer starts n goroutines from timers of the Go runtime, one every 2 ms.
func startedByTimer(n int) []time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		done := make(chan struct{})
		due := time.Now().Add(2 * time.Millisecond)
		time.AfterFunc(time.Until(due), func() {
			all[i] = time.Since(due)
			close(done)
		})
		<-done
	}
	return all
}

func report(b *testing.B, how string, all []time.Duration) {
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), how+"p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), how+"p99-µs")
}

// serverEnv makes a run of the test binary an echo server: "reactors procs".
const serverEnv = "EDGE_BENCH_ECHO_SERVER"

// BenchmarkReactors_number is what one echo costs a server process, by number of reactors and of Ps. The load comes
// from this process; the server's processor time is read from the kernel.
func BenchmarkReactors_number(b *testing.B) {
	for _, tc := range []struct{ reactors, procs int }{{1, 1}, {1, 2}, {2, 2}, {2, 3}} {
		b.Run(fmt.Sprintf("reactors=%d/procs=%d", tc.reactors, tc.procs), func(b *testing.B) {
			pid, addr := echoServer(b, tc.reactors, tc.procs)
			load := newEchoLoad(b, addr, 64)
			load.run(2000)
			before := processTime(b, pid)
			b.ResetTimer()
			load.run(b.N)
			b.StopTimer()
			b.ReportMetric(float64(processTime(b, pid)-before)/float64(b.N), "server-ns/op")
		})
	}
}

// echoServer runs this binary once more, as a server.
func echoServer(b *testing.B, reactors, procs int) (pid int, addr poller.Addr) {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestServeForBench$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", serverEnv, reactors, procs))
	in, err := cmd.StdinPipe()
	testutil.Must(b, err)
	out, err := cmd.StdoutPipe()
	testutil.Must(b, err)
	testutil.Must(b, cmd.Start())
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	var where string
	if _, err := fmt.Fscanln(out, &where); err != nil {
		b.Fatal(err)
	}
	return cmd.Process.Pid, poller.Addr{IP: netip.MustParseAddrPort(where)}
}

// TestServeForBench is the process that BenchmarkReactors_number starts. It serves until its input ends.
func TestServeForBench(t *testing.T) {
	v := os.Getenv(serverEnv)
	if v == "" {
		t.Skip("not started by the bench")
	}
	var reactors, procs int
	if _, err := fmt.Sscan(v, &reactors, &procs); err != nil {
		t.Fatal(err)
	}
	runtime.GOMAXPROCS(procs)
	_, l := startEchoAll(t, Options{Reactors: reactors})
	fmt.Println(l.Addr())
	io.Copy(io.Discard, os.Stdin)
}

func processTime(b *testing.B, pid int) int64 {
	b.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil { // MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)
		b.Fatal(err)
	}
	return ts.Nano()
}

// echoLoad asks over many connections at once, each with one message under way.
type echoLoad struct {
	b  *testing.B
	fd []int
}

func newEchoLoad(b *testing.B, to poller.Addr, conns int) *echoLoad {
	l := &echoLoad{b: b}
	sa := &syscall.SockaddrInet4{Port: int(to.IP.Port()), Addr: to.IP.Addr().As4()}
	for range conns {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		testutil.Must(b, err)
		b.Cleanup(func() { syscall.Close(fd) })
		testutil.Must(b, syscall.Connect(fd, sa))
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		l.fd = append(l.fd, fd)
	}
	return l
}

func (l *echoLoad) run(n int) {
	p := make([]byte, 128)
	for done := 0; done < n; done += len(l.fd) {
		for i, fd := range l.fd {
			binary.LittleEndian.PutUint64(p, uint64(done+i))
			syscall.Write(fd, p)
		}
		for i, fd := range l.fd {
			if m, err := syscall.Read(fd, p); m != len(p) || err != nil ||
				binary.LittleEndian.Uint64(p) != uint64(done+i) {
				l.b.Fatalf("%d bytes, %v", m, err)
			}
		}
	}
}
