package observe

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// bare writes lines without a time.
func bare(out *buffer) slog.Handler {
	return slog.NewTextHandler(out, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})
}

func TestNewLogger_jsonUnlessTerminal(t *testing.T) {
	var out bytes.Buffer
	var level slog.LevelVar
	log := NewLogger(&level, &out)
	log.Debug("hidden")
	level.Set(slog.LevelDebug)
	log.Debug("shown", "a", 1)
	if got := out.String(); strings.Contains(got, "hidden") || !strings.Contains(got, `"msg":"shown","a":1}`) {
		t.Errorf("got %s", got)
	}
}

func TestLimited_countsWhatItSuppressed(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var out buffer
		log := slog.New(NewLimited(bare(&out), 2))
		for i := range 5 {
			log.Info("refused", "i", i)
			log.Warn("refused", "i", i)
		}
		pass(time.Second)
		log.With("a", 1).Info("refused", "i", 5)
		want := `level=INFO msg=refused i=0
level=WARN msg=refused i=0
level=INFO msg=refused i=1
level=WARN msg=refused i=1
level=INFO msg=refused a=1 i=5 suppressed=3
`
		if got := out.text(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestLimited_otherLinesBringTheCount(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var out buffer
		log := slog.New(NewLimited(bare(&out), 1))
		log.Warn("refused")
		log.Warn("refused")
		pass(3 * time.Second)
		log.WithGroup("g").Info("other", "a", 1)
		want := "level=WARN msg=refused\nlevel=WARN msg=refused suppressed=1\nlevel=INFO msg=other g.a=1\n"
		if got := out.text(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestLimited_boundsItsKinds(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var out buffer
		h := NewLimited(bare(&out), 1)
		log := slog.New(h)
		for i := range 2 * kindsMax {
			log.Info(fmt.Sprint("line ", i))
		}
		if n := len(h.shared.kinds); n != kindsMax+1 {
			t.Errorf("%d kinds, want %d and one for the rest", n, kindsMax)
		}
		pass(3 * time.Second)
		log.Info("later")
		if n := len(h.shared.kinds); n != 1 {
			t.Errorf("%d kinds left, want 1", n)
		}
		if !strings.Contains(out.text(), fmt.Sprintf("msg=\"other lines\" suppressed=%d\n", kindsMax-1)) {
			t.Error("the count of the rest was not told")
		}
	})
}

func TestLimited_anyGoroutine(t *testing.T) {
	var out buffer
	h := NewLimited(bare(&out), 10)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				slog.New(h).Info("line")
			}
		})
	}
	wg.Wait()
	suppressed := h.shared.kinds[kind{slog.LevelInfo, "line"}].suppressed
	for _, told := range strings.Split(out.text(), "suppressed=")[1:] {
		var n uint64
		if _, err := fmt.Sscan(told, &n); err != nil {
			t.Fatal(err)
		}
		suppressed += n
	}
	if n := strings.Count(out.text(), "\n"); uint64(n)+suppressed != 2000 {
		t.Errorf("%d lines and %d suppressed, want 2000 in all", n, suppressed)
	}
}
