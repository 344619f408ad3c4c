package battery

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.Main(m)) }

// groups run side by side, each on an edge process of its own.
var groups = []struct {
	name string
	run  func(t *testing.T)
}{
	{"lengthAndCoding", lengthAndCodingCases},
	{"transferEncoding", transferEncodingCases},
	{"contentLength", contentLengthCases},
	{"lineEnds", lineEndsCases},
	{"fields", fieldsCases},
	{"requestLine", requestLineCases},
	{"target", targetCases},
	{"host", hostCases},
	{"chunked", chunkedCases},
	{"extensions", extensionsCases},
	{"trailers", trailersCases},
	{"hopByHop", hopByHopCases},
	{"originStatusLine", originStatusLineCases},
	{"originHead", originHeadCases},
	{"originBody", originBodyCases},
	{"originOrder", originOrderCases},
	{"originIdle", originIdleCases},
	{"originBeforeTheRequest", originBeforeTheRequestCases},
	{"originNever", originNeverCases},
	{"byteByByte", byteByByteCases},
	{"cutAnywhere", cutAnywhereCases},
	{"late", lateCases},
	{"limits", limitsCases},
	{"leavers", leaversCases},
	{"abandoned", abandonedCases},
	{"greedy", greedyCases},
	{"pipelined", pipelinedCases},
	{"silent", silentCases},
}

// counts are the cases that ran, by group, and those of them that are known to fail. guarded by mu.
var counts struct {
	mu    sync.Mutex
	cases map[string]int
	known map[string]int
}

func count(group string, known bool) {
	counts.mu.Lock()
	defer counts.mu.Unlock()
	counts.cases[group]++
	if known {
		counts.known[group]++
	}
}

func TestBattery(t *testing.T) {
	testutil.Binary(t, "./cmd/edge") // before the clocks of the cases run
	counts.cases, counts.known = map[string]int{}, map[string]int{}
	t.Run("cases", func(t *testing.T) {
		for _, g := range groups {
			t.Run(g.name, g.run)
		}
	})
	var names []string
	all, failing := 0, 0
	for name, n := range counts.cases {
		names = append(names, name)
		all, failing = all+n, failing+counts.known[name]
	}
	sort.Strings(names)
	var table strings.Builder
	for _, name := range names {
		fmt.Fprintf(&table, "\n%-24s %4d cases, %d known", name, counts.cases[name], counts.known[name])
	}
	t.Logf("%s\n%-24s %4d cases, %d known", table.String(), "all", all, failing)
}
