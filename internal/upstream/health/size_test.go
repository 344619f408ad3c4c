package health

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// What is kept for each member, beside its connection.
func TestProbe_size(t *testing.T) {
	if got := unsafe.Sizeof(probe{}); got > 384 {
		t.Errorf("a probe has %d bytes", got)
	}
}

// 10 000 members that are checked cost less than 1 KiB each: the probe, its timer, its place in the table of its Watch.
func TestWatch_bytesOfAMember(t *testing.T) {
	const members = 10000
	e, err := engine.New(engine.Options{Reactors: 2})
	testutil.Must(t, err)
	e.Start()
	defer e.Stop()
	list := make([]backend.Spec, members)
	for i := range list {
		list[i].Address = fmt.Sprintf("10.0.%d.%d:80", i/250, i%250)
	}
	set := backend.NewSet(list...)
	o := Options{Timeout: time.Second, Rules: Rules{Interval: 24 * time.Hour, Fast: 1, Down: 1, Rise: 1, Fall: 1}}
	before := heap()
	w := NewMonitor(e).Watch(set, o)
	for _, r := range e.Reactors() { // all have begun
		done := make(chan bool)
		r.Post(&engine.Task{Run: func(*engine.Reactor) { close(done) }})
		<-done
	}
	used := (heap() - before) / members
	t.Logf("%d bytes a member", used)
	if used > 1024 {
		t.Errorf("%d bytes a member", used)
	}
	w.Stop()
	runtime.KeepAlive(set)
}

func heap() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
