package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// largeFile returns a configuration with so many routes and upstreams of two backends. version differs in one route and
// one backend.
func largeFile(routes, upstreams, version int) string {
	var b strings.Builder
	b.WriteString("global.worker_threads = 2\n" + quiet + "[http]\nlisten = \"127.0.0.1:0\"\n")
	for i := range upstreams {
		port := 20000 + i
		if i == 0 {
			port = 30000 + version
		}
		fmt.Fprintf(&b, "[upstreams.u%d]\n", i)
		fmt.Fprintf(&b, "backends = [{ address = \"127.0.0.1:%d\" }, { address = \"127.0.0.2:%d\" }]\n", port, 20000+i)
		b.WriteString("health_check = { path = \"/\", interval = \"1h\" }\n")
	}
	for i := range routes {
		path := i
		if i == 0 {
			path = routes + version
		}
		fmt.Fprintf(&b, "[[routes]]\nname = \"r%d\"\npattern = \"h%d.example.com/p%d/*\"\ndest = \"u%d\"\n",
			i, i%500, path, i%upstreams)
	}
	return b.String()
}

// watchTicks posts a task to each reactor, 5000 times a second, until stop is called, which returns how long they
// waited, sorted.
func watchTicks(s *Server) (stop func() []time.Duration) {
	end, ended := make(chan bool), make(chan []time.Duration)
	go func() {
		var waits []time.Duration
		for {
			select {
			case <-end:
				slices.Sort(waits)
				ended <- waits
				return
			case <-time.After(200 * time.Microsecond):
			}
			for _, r := range s.engine.Reactors() {
				begun, done := time.Now(), make(chan bool)
				r.Post(&engine.Task{Run: func(*engine.Reactor) {
					waits = append(waits, time.Since(begun))
					close(done)
				}})
				<-done
			}
		}
	}()
	return func() []time.Duration { close(end); return <-ended }
}

// A reload of 10 000 routes and 1 000 upstreams, in which one of each has changed, in a process that does nothing else.
func BenchmarkApply_tenThousandRoutes(b *testing.B) {
	texts := [][]byte{[]byte(largeFile(10000, 1000, 1)), []byte(largeFile(10000, 1000, 2))}
	load := func(i int) *config.Config {
		cfg, rep := config.Parse("large.toml", texts[i%2])
		if !rep.OK() {
			b.Fatal(rep.Errors)
		}
		return cfg
	}
	s, err := New(load(0), Options{})
	testutil.Must(b, err)
	defer s.Stop()
	testutil.Must(b, s.Start())
	stop := watchTicks(s)
	var parse, apply time.Duration
	i := 0
	for b.Loop() {
		i++
		begun := time.Now()
		cfg := load(i)
		parse += time.Since(begun)
		begun = time.Now()
		mustApply(b, s, cfg)
		apply += time.Since(begun)
	}
	waits := stop()
	b.ReportMetric(float64(parse.Milliseconds())/float64(i), "parse-ms")
	b.ReportMetric(float64(apply.Milliseconds())/float64(i), "apply-ms")
	b.ReportMetric(float64(waits[len(waits)*999/1000].Microseconds())/1000, "p99.9-ms")
	b.ReportMetric(float64(waits[len(waits)-1].Microseconds())/1000, "max-ms")
	b.ReportMetric(float64(s.engine.Stats().SlowestTick)/1e6, "slowest-tick-ms")
}
