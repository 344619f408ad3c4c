package poller

import "runtime"

// To sleep in the poller of the runtime takes four calls of epoll, two switches of the goroutine and mostly a thread
// that stops and starts. Where the next event is only microseconds away that is as dear as the request it waits for.
// So under ParkAuto, while sleeps are short, the Kernel dozes: it waits in epoll_wait(2) by a raw call and keeps its
// processor (P), which no goroutine can use meanwhile. What makes that harmless:
//
//   - Goroutines that are ready go first, by a yield before each doze. Where one wanted to, it does not doze for
//     dozeFrom sleeps.
//   - It dozes for runtimeEvery at most until the runtime had a sleep again: then the runtime looks after timers and
//     sockets of its own, and an idle processor looks for work.
//   - A doze ends after dozeMost, and then at least dozeFrom sleeps are the runtime's.
//   - The signal by which the runtime stops a goroutine ends it at once: the garbage collector does not wait.
//
// It wakes some microseconds earlier than the runtime. That is good for a message, and bad for a stream of bytes: less
// of them has come at each wake. So bulk, and connections that come and go, keep it from dozing as well.
const (
	dozeFrom     = 16               // short sleeps in a row, with nothing against it between them
	dozeMost     = 5                // ms; one below the tick of the kernel sets the clock anew at each sleep
	shortMost    = int64(200_000)   // ns of a short sleep
	runtimeEvery = int64(1_000_000) // ns
	yieldMost    = int64(5_000)     // ns of a yield when no other thread wanted the processor
	bulkLeast    = 8 << 10          // bytes of one read
)

// nap knows what the last sleeps were like.
// Owned by its Kernel.
type nap struct {
	short int   // short sleeps in a row
	last  int64 // when the runtime had a sleep
	looks int   // how often the runtime asked in the present one; once: there was no need to sleep
}

// slept counts a sleep.
func (n *nap) slept(took int64) {
	if took > shortMost {
		n.short = 0
	} else if n.short < dozeFrom {
		n.short++
	}
}

// doze waits without the runtime, or reports that now it had better not.
func (k *epoll) doze() (n int, ok bool) {
	if k.nap.short < dozeFrom {
		return 0, false
	}
	if n := rawEpollPoll(k.epfd, k.events[:k.want]); n != 0 {
		return n, true
	}
	began := k.Now()
	if began-k.nap.last > runtimeEvery {
		return 0, false
	}
	runtime.Gosched()
	ready := k.Now()
	if ready-began > yieldMost {
		k.nap.short = 0
		return 0, false
	}
	n = rawEpollDoze(k.epfd, k.events[:k.want], dozeMost)
	k.nap.slept(k.Now() - ready)
	return n, true
}

// sleep waits in the poller of the runtime.
func (k *epoll) sleep() int {
	began := k.Now()
	k.nap.looks = 0
	// The only error is that the file was closed, by Shut.
	if err := k.conn.Read(k.poll); err != nil {
		return 0
	}
	now := k.Now()
	if k.nap.looks > 1 {
		k.nap.last = now
	}
	k.nap.slept(now - began)
	return k.got
}
