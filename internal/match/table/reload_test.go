package table_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/match/table"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// during measures by how much a timer of 1 ms is late while work is done, again and again, as the clock of an idle
// event loop. It returns the 99th percentile, the largest, and the share above 2 ms.
func during(work func()) (p99, most time.Duration, above float64) {
	const each = time.Millisecond
	var late []time.Duration
	var ends atomic.Bool
	var ended sync.WaitGroup
	ended.Go(func() {
		timer := time.NewTimer(0)
		for due := time.Now(); !ends.Load(); {
			<-timer.C
			now := time.Now()
			late = append(late, now.Sub(due))
			due = now.Add(each)
			timer.Reset(each)
		}
	})
	work()
	ends.Store(true)
	ended.Wait()
	slices.Sort(late)
	n := len(late)
	for _, d := range late {
		if d > 2*time.Millisecond {
			above++
		}
	}
	return late[n*99/100], late[n-1], 100 * above / float64(n)
}

// BenchmarkReload_millionPrefixes says by how much ticks are late while a list is reloaded, and while nothing is done
// for as long: what both have in common comes from the machine.
func BenchmarkReload_millionPrefixes(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	var text bytes.Buffer
	for range 1_000_000 {
		v := random.Uint32()
		fmt.Fprintf(&text, "%d.%d.%d.0/24\n", v>>24, v>>16&255, v>>8&255)
	}
	path := filepath.Join(b.TempDir(), "list.txt")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	l := table.NewList("x", table.Options{})
	var took time.Duration
	var p99, most, above, idleP99, idleMost, idleAbove float64
	for n := 0; b.Loop(); n++ {
		reload := func() {
			more := []table.Entry{{Key: fmt.Sprintf("::%x", n+1)}}
			u, err := l.Prepare(table.Source{File: path, Inline: more})
			if err != nil {
				b.Fatal(err)
			}
			u.Commit()
			took = u.Stats.Took
		}
		first, largest, many := during(reload)
		p99, most, above = max(p99, first.Seconds()*1e3), max(most, largest.Seconds()*1e3), above+many
		first, largest, many = during(func() {
			end := time.Now().Add(took)
			isOver := func() bool { return time.Now().After(end) }
			testutil.Eventually(b, took+testutil.Patience, isOver, "the time has passed")
		})
		idleP99, idleMost = max(idleP99, first.Seconds()*1e3), max(idleMost, largest.Seconds()*1e3)
		idleAbove += many
	}
	b.ReportMetric(p99, "ms-p99")
	b.ReportMetric(most, "ms-max")
	b.ReportMetric(above/float64(b.N), "%-over-2ms")
	b.ReportMetric(idleP99, "ms-p99-idle")
	b.ReportMetric(idleMost, "ms-max-idle")
	b.ReportMetric(idleAbove/float64(b.N), "%-over-2ms-idle")
	b.ReportMetric(took.Seconds()*1e3, "ms-took")
}
