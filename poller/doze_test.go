package poller

import (
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func newAuto(t testing.TB) *epoll {
	t.Helper()
	made, err := NewEpoll(ParkAuto)
	testutil.Must(t, err)
	t.Cleanup(made.Shut)
	k := made.(*epoll)
	k.want = EventsMax
	return k
}

// drowsy makes k as it is after many short sleeps.
func drowsy(k *epoll) { k.nap = nap{short: dozeFrom, last: k.Now()} }

func TestDoze_onlyWhileSleepsAreShort(t *testing.T) {
	k := newAuto(t)
	var n nap
	for range dozeFrom - 1 {
		n.slept(shortMost)
	}
	k.nap = nap{short: n.short, last: k.Now()}
	if _, ok := k.doze(); ok {
		t.Error("dozes too early")
	}
	if n.slept(shortMost); n.short != dozeFrom {
		t.Errorf("%d short sleeps in a row, want %d", n.short, dozeFrom)
	}
	if n.slept(shortMost + 1); n.short != 0 {
		t.Error("a long sleep does not count")
	}
	for range 10 { // the machine may let another process on between the two readings of the clock
		drowsy(k)
		k.Wake()
		if got, ok := k.doze(); !ok || got != 1 || k.nap.short != dozeFrom {
			t.Fatalf("with an event: %d %v", got, ok)
		}
		if _, ok := k.doze(); ok {
			if k.nap.short != 0 {
				t.Error("a doze that was not short does not count")
			}
			return
		}
	}
	t.Skip("the machine is too busy to sleep on it")
}

// While the runtime has not had a sleep for long, the next one is its.
func TestDoze_runtimeLooks(t *testing.T) {
	k := newAuto(t)
	drowsy(k)
	k.nap.last -= runtimeEvery + 1
	if _, ok := k.doze(); ok || k.nap.short != dozeFrom { // 0 would say that it was for the yield
		t.Error(ok, k.nap.short)
	}
}

// Each of these keeps a drowsy Kernel from dozing for a while.
func TestDoze_notWhere(t *testing.T) {
	pipe := func(t *testing.T, k *epoll) (r, w FD) {
		r, w, _, e := k.Pipe(64 << 10)
		if e != 0 {
			t.Fatal(e)
		}
		t.Cleanup(func() { k.Close(r); k.Close(w) })
		return r, w
	}
	for name, does := range map[string]func(t *testing.T, k *epoll){
		"a connection comes": func(t *testing.T, k *epoll) {
			r, _ := pipe(t, k)
			if e := k.Add(r, 1); e != 0 {
				t.Fatal(e)
			}
		},
		"a read in bulk": func(t *testing.T, k *epoll) {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			testutil.Must(t, err)
			t.Cleanup(func() { k.Close(FD(pair[0])); k.Close(FD(pair[1])) })
			k.Write(FD(pair[0]), make([]byte, bulkLeast))
			if n, e := k.Read(FD(pair[1]), make([]byte, 2*bulkLeast)); n != bulkLeast || e != 0 {
				t.Fatal(n, e)
			}
		},
		"a splice": func(t *testing.T, k *epoll) {
			r, w := pipe(t, k)
			k.Splice(r, w, 10)
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newAuto(t)
			drowsy(k)
			does(t, k)
			if k.nap.short != 0 {
				t.Error(k.nap.short)
			}
			if _, ok := k.doze(); ok {
				t.Error("it dozes")
			}
		})
	}
}

// A goroutine that is ready goes first, and the next sleeps are the runtime's.
func TestDoze_lastOfAll(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	k := newAuto(t)
	for range 10 { // one yield of 61 comes back at once, that nobody waits for ever
		drowsy(k)
		var ran atomic.Bool
		go func() {
			spin(2 * time.Duration(yieldMost))
			ran.Store(true)
		}()
		_, ok := k.doze()
		if !ok && k.nap.short == 0 && ran.Load() {
			return
		}
		for !ran.Load() {
			runtime.Gosched()
		}
	}
	t.Error("it does not let the other run first, or dozes after it")
}

// A Kernel that never sleeps for long lets timers and goroutines of the runtime on, with a single processor too.
func TestDoze_letsOthersOn(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	k := newAuto(t)
	r, w, err := os.Pipe()
	testutil.Must(t, err)
	defer r.Close()
	defer w.Close()
	var done atomic.Bool
	go func() {
		defer done.Store(true)
		for range 50 {
			<-time.After(100 * time.Microsecond)
			go w.Write([]byte{1})
			if _, err := r.Read(make([]byte, 1)); err != nil { // by the runtime's poller
				t.Error(err)
			}
		}
	}()
	events := make([]Event, 8)
	for until := time.Now().Add(testutil.Patience); !done.Load(); {
		if time.Now().After(until) {
			t.Fatal("the others do not get on")
		}
		k.Wait(events, k.Now()+50_000)
	}
}

// A doze does not keep the garbage collector waiting.
func TestDoze_endsForTheCollector(t *testing.T) {
	k := newAuto(t)
	ended := make(chan int)
	go func() { ended <- rawEpollDoze(k.epfd, k.events[:], int(10*testutil.Patience/time.Millisecond)) }()
	began := time.Now()
	for n := 1; n > 0; {
		runtime.GC()
		select {
		case n = <-ended:
			if n >= 0 {
				t.Errorf("it ended with %d", n)
			}
		default:
		}
		if time.Since(began) > testutil.Patience {
			t.Fatal("the collector waited")
		}
	}
}

// BenchmarkEpoll_startDelay tells how late timers of the runtime run, one every 2 ms, beside a Kernel that never sleeps
// for longer than 50 µs. The percentiles are the result.
func BenchmarkEpoll_startDelay(b *testing.B) {
	for name, park := range map[string]Park{"auto": ParkAuto, "runtime": ParkRuntime, "syscall": ParkSyscall} {
		b.Run("park="+name, func(b *testing.B) {
			k, err := NewEpoll(park)
			if err != nil {
				b.Fatal(err)
			}
			var stop atomic.Bool
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for events := make([]Event, 8); !stop.Load(); spin(10 * time.Microsecond) {
					k.Wait(events, k.Now()+50_000)
				}
			}()
			late := make([]time.Duration, b.N)
			for i := range late {
				done := make(chan struct{})
				due := time.Now().Add(2 * time.Millisecond)
				time.AfterFunc(time.Until(due), func() { late[i] = time.Since(due); close(done) })
				<-done
			}
			stop.Store(true)
			<-ended
			k.Shut()
			slices.Sort(late)
			b.ReportMetric(float64(late[len(late)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(late[len(late)*99/100].Microseconds()), "p99-µs")
		})
	}
}
