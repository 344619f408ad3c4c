package battery

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
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

// counts has the number of cases that ran in each group, and how many of all are known to fail. guarded by mu.
var counts = struct {
	mu    sync.Mutex
	cases map[string]int
	known int
}{cases: map[string]int{}}

// judge runs a case of a section of an RFC, and fails its test for an error, unless that is known; then it fails when
// there is none.
func judge(t *testing.T, rfc string, f func() error) {
	t.Helper()
	if rfc == "" {
		t.Error("no section")
	}
	reason, isKnown := known[t.Name()]
	counts.mu.Lock()
	counts.cases[strings.Join(strings.SplitN(t.Name(), "/", 4)[:3], "/")]++
	if isKnown {
		counts.known++
	}
	counts.mu.Unlock()
	err := f()
	switch {
	case isKnown && err == nil:
		t.Errorf("passes: take it out of the list of what is known (%s)", reason)
	case isKnown:
		t.Logf("known: %s: %v", reason, err)
	case err != nil:
		t.Error(err)
	}
}

// twice runs a case in one piece, and then byte by byte where that makes sense: what a decoder makes of a message must
// not depend on where it was cut.
func twice(again bool, once func(bytewise bool) error) error {
	if err := once(false); err != nil || !again {
		return err
	}
	if err := once(true); err != nil {
		return fmt.Errorf("byte by byte: %w", err)
	}
	return nil
}

// runCases runs the groups of a test, and logs how many cases they have.
func runCases(t *testing.T, groups func(t *testing.T)) {
	t.Helper()
	testutil.Binary(t, "./cmd/edge") // before the clocks of the cases run
	t.Run("cases", groups)
	counts.mu.Lock()
	defer counts.mu.Unlock()
	all := 0
	var table strings.Builder
	for _, name := range slices.Sorted(maps.Keys(counts.cases)) {
		if group, mine := strings.CutPrefix(name, t.Name()+"/cases/"); mine {
			fmt.Fprintf(&table, "\n%-24s %4d cases", group, counts.cases[name])
			all += counts.cases[name]
		}
	}
	t.Logf("%s\n%-24s %4d cases, %d known", table.String(), "all", all, counts.known)
}

func TestBattery(t *testing.T) {
	runCases(t, func(t *testing.T) {
		for _, g := range groups {
			t.Run(g.name, g.run)
		}
	})
}

// known are the cases that fail today, by the names of their tests, each with its reason.
var known = map[string]string{}
