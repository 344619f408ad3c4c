package metrics

import (
	"bytes"
	"math"
	"os"
	"runtime"
	runtimemetrics "runtime/metrics"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/base/build"
	"github.com/edge-proxy/edge/internal/observe"
)

// began is when the program began, as nearly as it can tell.
var began = time.Now()

// runtimeRows are values of the Go runtime, under the names that Prometheus' own client has for them.
var runtimeRows = []struct{ name, from, help string }{
	{"go_goroutines", "/sched/goroutines:goroutines", "Goroutines that there are."},
	{"go_gc_cycles_total", "/gc/cycles/total:gc-cycles", "Garbage collections that have ended."},
	{"go_memstats_alloc_bytes_total", "/gc/heap/allocs:bytes", "Bytes allocated on the heap so far."},
	{"go_memstats_heap_alloc_bytes", "/memory/classes/heap/objects:bytes", "Bytes in objects on the heap."},
	{"go_memstats_heap_idle_bytes", "/memory/classes/heap/free:bytes", "Bytes of the heap that are free."},
	{"go_memstats_heap_released_bytes", "/memory/classes/heap/released:bytes", "Bytes given back to the system."},
	{"go_memstats_sys_bytes", "/memory/classes/total:bytes", "Bytes that the runtime has from the system."},
	{"go_memory_limit_bytes", "/gc/gomemlimit:bytes", "The limit that the collector keeps to."},
}

// registerProgram lists what is known of the program and of its process. What the system does not tell, such as all of
// /proc where there is none, is left out.
func registerProgram(r *observe.Registry) {
	info := []observe.Label{{Name: "version", Value: build.Version()}, {Name: "commit", Value: build.Commit()},
		{Name: "go", Value: runtime.Version()}}
	r.Gauge("edge_build_info", "1; the labels say which program runs.", func() float64 { return 1 }, info...)
	r.Gauges("go_threads", "Threads of the process.", status("Threads:", 1))
	for _, v := range runtimeRows {
		read := runtimeValue(v.from)
		if (&row{name: v.name}).counts() {
			r.CounterFunc(v.name, v.help, func() uint64 { return uint64(read()) })
		} else {
			r.Gauge(v.name, v.help, read)
		}
	}
	r.Gauge("go_gomaxprocs", "Threads that may run Go code at a time.",
		func() float64 { return float64(runtime.GOMAXPROCS(0)) })
	r.Counters("process_cpu_seconds_total", "Processor time of the process, user and system.", cpuSeconds)
	r.Gauge("process_start_time_seconds", "When the process began, as Unix time.",
		func() float64 { return float64(began.UnixMilli()) / 1000 })
	r.Gauges("process_resident_memory_bytes", "Memory of the process that is in RAM.", status("VmRSS:", 1024))
	r.Gauges("process_virtual_memory_bytes", "Address space of the process.", status("VmSize:", 1024))
	r.Gauges("process_open_fds", "Descriptors that are open.", openDescriptors)
	r.Gauges("process_max_fds", "Descriptors that the process may open.", descriptorLimit)
}

// runtimeValue returns what reads a value of the runtime; a value that this version of Go does not know is 0.
func runtimeValue(name string) func() float64 {
	var mu sync.Mutex
	sample := []runtimemetrics.Sample{{Name: name}}
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		runtimemetrics.Read(sample)
		if v := &sample[0].Value; v.Kind() == runtimemetrics.KindUint64 && v.Uint64() < math.MaxInt64 {
			return float64(v.Uint64())
		}
		return 0
	}
}

// yields is a part of observe.Registry.Gauges.
type yields = func(yield func(value float64, labels ...observe.Label))

// status returns what yields a number of /proc/self/status, times unit; nothing where it cannot be read.
func status(field string, unit float64) yields {
	return func(yield func(float64, ...observe.Label)) {
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			return
		}
		_, rest, found := bytes.Cut(text, []byte("\n"+field))
		words := bytes.Fields(rest)
		if !found || len(words) == 0 {
			return
		}
		if n, err := strconv.ParseUint(string(words[0]), 10, 63); err == nil {
			yield(float64(n) * unit)
		}
	}
}

func cpuSeconds(yield func(float64, ...observe.Label)) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) == nil {
		yield(float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9)
	}
}

// openDescriptors yields how many descriptors are open. Linux 6.2 has the number as the size of the folder; older ones
// have to list it.
func openDescriptors(yield func(float64, ...observe.Label)) {
	const folder = "/proc/self/fd"
	if info, err := os.Stat(folder); err == nil && info.Size() > 0 {
		yield(float64(info.Size()))
		return
	}
	if list, err := os.ReadDir(folder); err == nil {
		yield(float64(len(list) - 1)) // without the descriptor of the folder
	}
}

func descriptorLimit(yield func(float64, ...observe.Label)) {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) == nil {
		yield(float64(l.Cur))
	}
}
