package server

import (
	"runtime"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// heapBytes returns what is reachable.
func heapBytes() int64 {
	var m runtime.MemStats
	for range 3 { // objects with finalizers go after the second one
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A service and an upstream that a reload takes away and another brings back leave nothing once the counters were read.
func TestReload_removedPartsLeaveNothing(t *testing.T) {
	testutil.OnlyPlain(t)
	plain := quiet + "[http]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:204\"\n"
	more := plain + `
[services.db]
type = "tcp"
listen = "127.0.0.1:0"
dest = "db"
[upstreams.db]
backends = [{ address = "127.0.0.1:1" }]
health_check = { path = "/", interval = "1h" }
[[routes]]
pattern = "/db/*"
dest = "db"
`
	s := start(t, Options{}, "%s", plain)
	reload := func(times int) {
		for range times {
			apply(t, s, "%s", more)
			apply(t, s, "%s", plain)
		}
	}
	left := func() int64 {
		s.Registry() // what was not in use before such a round, and had no connections in it, is over
		return heapBytes()
	}
	const times, most = 200, 2 << 10
	reload(20)
	before := left()
	reload(times)
	testutil.Eventually(t, testutil.Patience, func() bool { // what the last ones have replaced ends on other goroutines
		return (left()-before)/times <= most
	}, "each reload leaves at most %d bytes", most)
}
